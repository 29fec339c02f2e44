"""Imports run one way, those inside functions and for type checkers included."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "server_utils"

# A package imports from the rows above its own only; within a package nothing goes in a circle.
LAYERS = [
    "errors",
    "host validation",
    "environments spark",
    "storage clusters",
    "servers node",
    "inference jobs",
    "backends",
    "demo",
    "notebooks",
    "cli",
]
RANK = {package: rank for rank, row in enumerate(LAYERS) for package in row.split()}
# Of these packages only these modules may speak to Spark; `spark`, `jobs`, `backends`, `demo` and `notebooks` may as a
# whole. All others run on a bare GPU machine, and beside servers that a driver never sees.
SPARK_PACKAGES = {"spark", "jobs", "backends", "demo", "notebooks"}
SPARK_MODULES = {
    "inference.openai.answer_types",
    "inference.openai.columns",
    "inference.openai.schema_types",
    "inference.openai.structured_output",
    "inference.row_errors",
    "inference.triton.columns",
    "node.doctor",
}


def name_of(file, top=PACKAGE):
    parts = file.relative_to(top).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


# The package's own __init__ is the public index: it names modules of every row, and loads none of them early.
MODULES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py")) if file != PACKAGE / "__init__.py"}
PACKAGES = {name for name, file in MODULES.items() if file.name == "__init__.py"}


def imported(file):
    """Full names of all that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole.removeprefix("server_utils.") in MODULES else node.module


def imported_modules(module):
    """The modules of ours that a module imports, by their names below server_utils."""
    names = (name for name in imported(MODULES[module]) if name.startswith("server_utils."))
    return {name.removeprefix("server_utils.") for name in names}


def package_of(module):
    return module.split(".")[0]


@pytest.mark.parametrize("module", sorted(set(MODULES) - PACKAGES))
def test_a_module_imports_from_its_package_and_those_above_only(module):
    own = package_of(module)
    assert own in RANK, f"put {own} into LAYERS"
    others = {name for name in imported_modules(module) if package_of(name) != own}
    wrong = sorted(name for name in others if RANK[package_of(name)] >= RANK[own])
    assert not wrong, f"{module} imports {', '.join(wrong)}, which stand beside or below it"


@pytest.mark.parametrize("package", sorted(RANK))
def test_no_module_imports_itself_round_a_circle_in_its_package(package):
    inner = {
        module: {name for name in imported_modules(module) if package_of(name) == package}
        for module in MODULES
        if package_of(module) == package
    }
    for module, direct in inner.items():
        reached, ahead = set(), set(direct)
        while ahead:
            reached |= ahead
            ahead = set(itertools.chain.from_iterable(inner.get(name, ()) for name in ahead)) - reached
        assert module not in reached, f"{module} imports itself by way of others"


@pytest.mark.parametrize("package", sorted(PACKAGES - {"demo"}))
def test_the_init_of_a_package_imports_nothing(package):
    assert imported_modules(package) == set()


def test_no_package_stands_in_two_rows():
    assert len(RANK) == sum(len(row.split()) for row in LAYERS)


def test_the_list_of_packages_is_what_a_newcomer_sees():
    """Thirteen packages, the facts, and a handful of files: no module is added beside them."""
    shown = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    files = {"__init__.py", "data", "errors.py", "py.typed", "validation.py"}
    assert shown <= files | {package for package in RANK if f"{package}.py" not in files}


@pytest.mark.parametrize("module", sorted(set(MODULES) - PACKAGES - SPARK_MODULES))
def test_a_module_that_knows_no_spark_imports_none(module):
    if package_of(module) in SPARK_PACKAGES:
        return
    assert not [name for name in imported(MODULES[module]) if name.split(".")[0] == "pyspark"]


def test_only_the_command_line_imports_the_cloud_packages():
    for module, file in MODULES.items():
        if package_of(module) != "cli":
            assert not [name for name in imported(file) if name.split(".")[0] == "csp"], module


def test_the_cloud_packages_import_facts_and_no_runtime():
    facts = {"clusters", "environments", "errors", "host", "storage", "validation"}
    for file in (ROOT / "csp").rglob("*.py"):
        ours = [name.split(".")[1] for name in imported(file) if name.startswith("server_utils.")]
        assert set(ours) <= facts, file


def test_only_platform_reads_the_variables_of_platforms():
    for module, file in MODULES.items():
        if module != "host.platform":
            text = file.read_text()
            assert "DATABRICKS_RUNTIME_VERSION" not in text, module
            assert "DATAPROC_VERSION" not in text, module
