"""docs/semantics.md against the tests that it names, and its numbers against those that are counted."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from integration.spark import uses

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "semantics.md").read_text()


def names_of_tests():
    for file in TESTS.rglob("test_*.py"):
        functions = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef))
        yield from (function.name for function in functions)


def rows():
    """The cells of all rows of tables below their heads."""
    return [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]


def test_every_test_that_the_page_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named <= set(names_of_tests())


def test_every_promise_names_a_test():
    promises = [cells for cells in rows() if not cells[1].isdigit() and cells[1] not in ("rows sent", "test")]
    assert promises
    for promise, proof in promises:
        assert re.fullmatch(r"`test_\w+`(, `test_\w+`)*", proof), promise


def test_every_number_of_the_page_is_counted_in_a_test():
    assert {cells[0]: int(cells[1]) for cells in rows() if cells[1].isdigit()} == {
        use.name: use.asked for use in uses.COUNTED
    }


def test_every_section_of_the_page_names_a_test():
    for section in PAGE.split("\n## ")[1:]:
        assert "`test_" in section, section.splitlines()[0]
