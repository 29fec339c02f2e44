"""How large a module and a function may be: one concept per module, and functions that fit on a screen."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ("server_utils", "csp")
TOOLS = ("benchmarks", "scripts")
PUBLISHED = "published.py"  # functions in the form in which others published them
MOST_LINES, LEAST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 40, 40

# Modules below the least, each with the reason why it is not part of another one.
SMALL = {
    "server_utils/backends/dynamo/worker.py": "it runs as a process of its own, before what it runs is imported",
    "server_utils/demo/triton_model.py": "it runs in the sealed environment, and imports only what that one holds",
    "server_utils/servers/gpu_assignment.py": "tasks that start servers and workers that call them both ask it",
    "server_utils/storage/stores/hub.py": "the only module that imports huggingface-hub: one module per service",
}


def python_of(*folders):
    """Path from the root -> text."""
    files = sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))
    assert files
    return {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}


def functions(text):
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def length(function):
    """Lines of a function with its signature. Its docstring is documentation, and not counted."""
    first = function.body[0]
    docstring = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None else 0
    return function.end_lineno - function.lineno + 1 - docstring


def test_no_module_has_more_lines_than_one_concept_needs():
    lengths = {name: len(text.splitlines()) for name, text in python_of(*SHIPPED, *TOOLS).items()}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_a_small_module_is_part_of_the_module_that_uses_it():
    lengths = {name: len(text.splitlines()) for name, text in python_of(*SHIPPED).items()}
    small = {name for name, lines in lengths.items() if lines < LEAST_LINES}
    assert {name for name in small if Path(name).stem not in {"__init__", "__main__"}} <= set(SMALL)


def test_every_function_fits_on_a_screen():
    code = python_of(*SHIPPED, *TOOLS, "tests")
    ours = {name: functions(text) for name, text in code.items() if Path(name).name != PUBLISHED}
    lengths = {f"{name}: {each.name}": length(each) for name, those in ours.items() for each in those}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def test_a_docstring_is_not_counted_and_a_signature_is():
    (function,) = functions('def f(\n    a,\n    b,\n):\n    """One.\n\n    Two.\n    """\n    return a + b\n')
    assert length(function) == 5
