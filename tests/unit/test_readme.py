"""The documents against the code: examples, commands, links. Nothing in them is run here."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import typer

import server_utils
from server_utils import (
    DynamoServerManager,
    NIMServerManager,
    SGLangServerManager,
    TransformersServerManager,
    TritonServerManager,
    VLLMServerManager,
)
from server_utils.backends import openai, server_manager
from server_utils.cli.main import app
from server_utils.servers.launch import Launch, ServerStatus
from unit.test_layering import LAYERS, MODULES, PACKAGES, RANK, package_of

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CHANGELOG = ROOT / "CHANGELOG.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PICTURES = sorted((ROOT / "docs").glob("*.svg"))
FIRST_HOURS = sorted((ROOT / "csp").glob("*/README.md"))
# The gallery is made from the notebooks, which have tests of their own.
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "gallery" not in page.parts]
DOCUMENTS = [README, CONTRIBUTING, CHANGELOG, ROOT / "CURSED_KNOWLEDGE.md", *PAGES, *FIRST_HOURS]
documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
WITH_PYTHON = [document for document in DOCUMENTS if "```python\n" in document.read_text()]
pictures = pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
with_python = pytest.mark.parametrize("document", WITH_PYTHON, ids=lambda path: path.name)

ENGINES = (
    DynamoServerManager,
    NIMServerManager,
    SGLangServerManager,
    TransformersServerManager,
    TritonServerManager,
    VLLMServerManager,
)
MANAGERS = {each.__name__: each for each in ENGINES}

# What a method takes beyond its signature: where its **options go. What only the engine knows is named here.
COLUMN = set(inspect.signature(TritonServerManager._request).parameters) - {"self"}
QUESTION = set(inspect.signature(VLLMServerManager._request).parameters) - {"self"}
FIELDS = QUESTION | {"temperature", "structured_outputs", "max_tokens"}
START = set(server_manager.MANAGER_OPTIONS)
OPTIONS = {
    DynamoServerManager: {"generate": FIELDS, "start_servers": START | {"max_model_len"}},
    NIMServerManager: {"chat": FIELDS, "start_servers": START},
    SGLangServerManager: {"generate": FIELDS, "start_servers": START | {"max_model_len", "mem_fraction_static"}},
    TransformersServerManager: {"chat": FIELDS, "generate": FIELDS, "start_servers": START | {"dtype"}},
    TritonServerManager: {"tensors": COLUMN, "embed": COLUMN, "make_predict_fn": COLUMN, "start_servers": START},
    VLLMServerManager: {
        "generate": FIELDS,
        "chat": FIELDS,
        "start_servers": START | {"max_model_len", "gpu_memory_utilization", "revision", "task"},
    },
}

# What the documents have to show; else the checks of their examples may see nothing, and pass.
SHOWN = {
    DynamoServerManager: {"start_servers", "generate"},
    NIMServerManager: {"start_servers", "chat"},
    SGLangServerManager: {"start_servers", "generate"},
    TransformersServerManager: {"start_servers", "chat"},
    TritonServerManager: {"start_servers", "embed", "tensors", "status", "run", "progress", "stop_servers"},
    VLLMServerManager: {"start_servers", "generate", "chat", "run", "host_to_http_url"},
}


def blocks(document, language):
    """The blocks of a language, or those of none for ""."""
    every = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
    return [text for named, text in every if named == language]


def tree(document):
    """All Python of a document as one module: later blocks use the names of earlier ones."""
    return ast.parse("\n".join(blocks(document, "python")))


def imports(module):
    """Name in the document -> the object. The engine's packages, which are in the sealed environment, are left out."""
    found = {}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in {"server_utils", "pyspark"}:
            source = importlib.import_module(node.module)
            found |= {alias.asname or alias.name: getattr(source, alias.name) for alias in node.names}
    return found


def managers(module):
    """The names that a document gives to managers, each with its class."""
    for node in ast.walk(module):
        if isinstance(node, ast.withitem) and (kind := manager_of(node.context_expr)):
            yield node.optional_vars.id, kind
        elif isinstance(node, ast.Assign) and (kind := manager_of(node.value)):
            yield node.targets[0].id, kind


def manager_of(node):
    """The class of manager that is made here, if one is."""
    return MANAGERS.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def used_of_managers(document):
    """(class, attribute, call or None), block by block: a later one may give a name to another manager."""
    known = {}
    for block in map(ast.parse, blocks(document, "python")):
        known |= dict(managers(block))
        for name, kind in known.items():
            yield from ((kind, attribute, call) for attribute, call in attributes(block, {name}))


def attributes(module, names):
    """Attributes of these names, with the call if it is one."""
    called = {id(node.func): node for node in ast.walk(module) if isinstance(node, ast.Call)}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
            yield node.attr, called.get(id(node))


def servers_of_status(module):
    """The loop variables of `for server in servers.status()`."""
    for node in ast.walk(module):
        if isinstance(node, ast.For) and ast.unparse(node.iter).endswith(".status()"):
            yield node.target.id


def check_call(function, call, *, bound, options=()):
    """Refuse arguments that the function does not take."""
    keywords = {keyword.arg for keyword in call.keywords if keyword.arg}
    signature = inspect.signature(function)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()):
        unknown = keywords - set(signature.parameters) - set(options)
        assert not unknown, f"{ast.unparse(call)}: there is no option {unknown}"
    arguments = [*([None] if bound else []), *call.args]
    signature.bind_partial(*arguments, **dict.fromkeys(keywords))


@with_python
def test_the_python_of_a_document_compiles(document):
    for block in blocks(document, "python"):
        compile(block, document.name, "exec")


@with_python
def test_what_a_document_imports_is_there_and_takes_the_arguments_shown(document):
    module = tree(document)
    known = imports(module)
    assert any(getattr(found, "__module__", "").startswith("server_utils") for found in known.values())
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in MANAGERS or node.func.id in known, f"{node.func.id} is not imported"
            if node.func.id in known:
                check_call(known[node.func.id], node, bound=False)


@with_python
def test_managers_have_what_a_document_uses_of_them(document):
    for kind, name, call in used_of_managers(document):
        found = getattr(kind, name)
        if call:
            check_call(found, call, bound=True, options=OPTIONS[kind].get(name, ()))


def test_the_documents_show_what_managers_do():
    used = {(kind, name) for document in WITH_PYTHON for kind, name, _ in used_of_managers(document)}
    for kind, names in SHOWN.items():
        assert {(kind, name) for name in names} <= used


def test_the_example_of_a_backend_calls_what_managers_have():
    calls = [(name, call) for name, call in attributes(tree(CONTRIBUTING), {"self"}) if call]
    assert calls
    for name, call in calls:
        check_call(getattr(openai.OpenAIServerManager, name), call, bound=True)


def test_servers_have_what_the_documents_read_of_them():
    read = [name for module in map(tree, WITH_PYTHON) for name, _ in attributes(module, set(servers_of_status(module)))]
    assert read
    for name in read:
        assert name in ServerStatus.__dataclass_fields__ or hasattr(ServerStatus, name), name


@documents
def test_what_a_document_names_in_passing_exists(document):
    """`servers.embed`, `ServerStartError`, `hang_timeout_s=`: in the text between the examples."""
    words = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL))
    for word in words:
        if method := re.match(r"servers\.(\w+)", word):
            assert any(hasattr(kind, method[1]) for kind in MANAGERS.values()), word
        if re.fullmatch(r"\w+Error", word) and not hasattr(builtins, word):
            assert word in server_utils.__all__, word
        if re.fullmatch(r"(hang_timeout|stop_grace|start_timeout)_s|max_restarts", word):
            assert word in Launch.__dataclass_fields__, word


@documents
def test_the_commands_of_a_document_exist(document):
    text = document.read_text()
    of_run = set(re.findall(r"^    (\w+)\) ", (ROOT / "run").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= of_run
    assert set(re.findall(r"\./run ([a-z]\w*)", text)) - {"commands"} <= of_run
    for line in re.findall(r"(?:spark-sidecar|\./run(?= demo)) ([^`#\n]+)", text):
        for platform in ("databricks", "dataproc"):
            check_command(line.replace("PLATFORM", platform).split())


def check_command(words):
    """Words of a command line: names of (sub)commands, then arguments and options."""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"no command: {words}"
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, words


@documents
def test_the_links_of_a_document_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", document.read_text()):
        if "://" not in target:
            page = document.parent / target if target else document
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), f"{target}#{anchor}"


def anchors(page):
    """What a browser of the repository calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_the_readme_leads_to_every_page(page):
    assert f"](docs/{page.name})" in README.read_text()


def test_the_guide_shows_the_measurements_of_the_readme():
    guide = (ROOT / "docs" / "guides" / "strategy.md").read_text()
    measured = re.findall(r"^\|.*\d\.\d\d.*\|$", guide, re.MULTILINE)
    assert measured
    assert set(measured) <= set(README.read_text().splitlines())


def test_the_guide_shows_the_comparison_of_the_readme():
    shown = re.search(r"^\| \| sidecar: `servers.embed`.*?(?=\n\n)", README.read_text(), re.MULTILINE | re.DOTALL)[0]
    assert shown.count("\n") > 5
    assert shown in (ROOT / "docs" / "guides" / "strategy.md").read_text()


@documents
def test_the_paths_of_a_document_exist(document):
    """Files of the repository in backticks."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    for path in re.findall(r"`((?:server_utils|csp|tests|scripts|docs|init-scripts)/[\w./-]+)`", text):
        if "echo" not in path:  # the example of a backend to be added
            assert (ROOT / path).exists(), path


@documents
def test_a_document_names_no_address_of_a_registry_and_no_folder_of_one_machine(document):
    forbidden = r"p[y]pi\.org|pythonh[o]sted|/(?:root|w[o]rk|home/\w+)/|[Ff]iles\.\w+\.org"
    assert re.findall(forbidden, document.read_text()) == []


WIDEST = int(re.search(r"\[\*\.md\]\nmax_line_length = (\d+)", (ROOT / ".editorconfig").read_text())[1])
TERRAFORM_PAGES = sorted((ROOT / "terraform").rglob("README.md"))


@pytest.mark.parametrize("document", [*DOCUMENTS, *TERRAFORM_PAGES], ids=lambda path: f"{path.parent.name}-{path.name}")
def test_the_prose_of_a_document_is_as_wide_as_editors_are_told(document):
    """Tables and code are not prose, and nobody can break a link to a heading."""
    text = re.sub(r"^ *```.*?^ *```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    prose = [line for line in text.splitlines() if not re.match(r"\||- \[[^]]*\]\(\S*\)$", line)]
    assert [line for line in prose if len(line) > WIDEST] == []


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 250


def test_the_layers_of_the_contributing_guide_are_those_of_the_code():
    """Row by row the packages of the layer test; what a row is comes after them."""
    block = next(block for block in blocks(CONTRIBUTING, "") if block.startswith("errors"))
    assert [re.split(r" {3,}", line)[0].split() for line in block.splitlines()] == [row.split() for row in LAYERS]


def test_the_table_of_packages_has_every_package_in_its_layer_with_every_module():
    rows = re.findall(
        r"^\| (\d+) \| `(\w+)` \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", ARCHITECTURE.read_text(), re.MULTILINE
    )
    assert {package: int(layer) for layer, package, _, _ in rows} == {name: rank + 1 for name, rank in RANK.items()}
    for layer, package, may_import, modules in rows:
        below = {"1": "nothing", "2": "layer 1"}.get(layer, f"layers 1 to {int(layer) - 1}")
        assert may_import.partition(",")[0] == below, package
        shown = {f"{package}.{name.replace('/', '.')}" for name in re.findall(r"`([\w/]+)`", modules)}
        there = {name for name in set(MODULES) - PACKAGES - {package} if package_of(name) == package}
        assert shown == there, f"the row of {package} in docs/architecture.md"


def test_the_page_on_the_architecture_answers_ten_questions_with_files_and_is_easy_to_find():
    answers = re.findall(r"^\| \w[^|]*\? \| ([^|]+) \|$", ARCHITECTURE.read_text(), re.MULTILINE)
    assert len(answers) == 10
    for answer in answers:
        files = re.findall(r"`([\w./-]+\.py)`", answer)
        assert files
        assert all((ROOT / file).is_file() for file in files), answer
    for document in (README, CONTRIBUTING):
        assert "](docs/architecture.md)" in document.read_text(), document.name


def test_every_row_of_cursed_knowledge_has_a_date_and_four_columns():
    lines = [line for line in (ROOT / "CURSED_KNOWLEDGE.md").read_text().splitlines() if line.startswith("| 20")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"\| 20\d\d-\d\d(-\d\d)? \| [^|]+ \| [^|]+ \| [^|]+ \|", line), line


SVG = "{http://www.w3.org/2000/svg}"


@pictures
def test_a_picture_is_well_formed_and_says_in_words_what_it_shows(picture):
    drawing = ET.parse(picture).getroot()  # noqa: S314 - our own file
    assert drawing.find(f"{SVG}title").text
    assert len(drawing.find(f"{SVG}desc").text.split()) > 40
    assert any(f"]({path}{picture.name})" in page.read_text() for page in DOCUMENTS for path in ("", "docs/"))


@pictures
def test_a_picture_names_files_that_exist(picture):
    """Below the root, the package, or `inference/`; a star stands for several."""
    texts = (text.text for text in ET.parse(picture).getroot().iter(f"{SVG}text"))  # noqa: S314 - our own file
    package = ROOT / "server_utils"
    for name in (text for text in texts if re.fullmatch(r"[\w*./-]+\.(py|json|sh)|[\w-]+(/[\w-]+)*/", text)):
        plain = name.removeprefix("../")
        assert any(list(folder.glob(plain)) for folder in (ROOT, package, package / "inference")), name


def test_the_first_screen_of_the_readme_is_made_of_short_sentences():
    """What it is, for whom, what to type, why: up to the next heading."""
    screen = re.sub(r"^```.*?^```|^!.*?$", "", README.read_text().split("\n## ")[0], flags=re.MULTILINE | re.DOTALL)
    prose = " ".join(line for line in screen.splitlines() if not line.startswith("#"))
    sentences = re.split(r"(?<=[.:])\s+", prose.strip())
    assert len(sentences) > 5
    assert [sentence for sentence in sentences if len(sentence.split()) >= 25] == []
    assert "./run demo" in README.read_text().split("\n## ")[0]
