"""The page of an executed notebook becomes the notebook that it was made of."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from support.databricks_server.notebooks import as_html

from csp.databricks.executed_notebook import as_ipynb


def page(*commands):
    """A page as the workspace exports it, of commands in its own format."""
    model = json.dumps({"version": "NotebookV1", "name": "n", "commands": commands})
    return f"<script>var __DATABRICKS_NOTEBOOK_MODEL = '{base64.b64encode(quote(model).encode()).decode()}';</script>"


def read(text):
    """The notebook of a page, which Jupyter's own schema holds for valid."""
    notebook = nbformat.reads(as_ipynb(text).decode(), as_version=4)
    nbformat.validate(notebook)
    return notebook


def output(result):
    ((only,),) = [each.outputs for each in read(page({"command": "x", "results": result})).cells]
    return only


def test_sources_and_outputs_are_those_of_the_executed_notebook():
    printed = new_output("stream", name="stderr", text="ä < b\n")
    drawn = new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"})
    error = new_output("error", ename="ValueError", evalue="a < 1", traceback=["Trace", "ValueError: a < 1"])
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("a = 'ä'", outputs=[printed, drawn]),
        new_code_cell("no(a)", outputs=[error]),
    ]
    got = read(as_html(new_notebook(cells=cells), "n"))
    assert [(each.cell_type, each.source) for each in got.cells] == [(each.cell_type, each.source) for each in cells]
    assert [each.get("outputs", []) for each in got.cells] == [each.get("outputs", []) for each in cells]


def test_cells_stand_in_the_order_of_their_positions():
    got = read(page({"command": "2", "position": 2.0}, {"command": "1", "position": 1.5}))
    assert [each.source for each in got.cells] == ["1", "2"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"type": "html", "data": "<b>x</b>"}, {"text/html": "<b>x</b>"}),
        ({"type": "htmlSandbox", "data": "<b>x</b>"}, {"text/html": "<b>x</b>"}),
        ({"type": "image", "data": "data:image/png;base64,aGk="}, {"image/png": "aGk="}),
        (
            {"type": "table", "schema": [{"name": "a<b"}, {"name": "c"}], "data": [[1, None]]},
            {
                "text/html": "<table><tr><th>a&lt;b</th><th>c</th></tr><tr><td>1</td><td></td></tr></table>",
                "text/plain": "a<b\tc\n1\t",
            },
        ),
    ],
)
def test_what_is_shown_in_a_form_of_databricks_own_is_shown_in_jupyter(result, expected):
    assert output(result).data == expected
    assert output({"type": "listResults", "data": [result]}).data == expected


def test_a_result_of_an_unknown_type_is_shown_as_text():
    assert output({"type": "new", "data": {"a": 1}}).text == '{"a": 1}'
    assert output({"type": "ansi", "data": "\x1b[31mred", "name": None}).text == "\x1b[31mred"


def test_an_error_among_the_results_is_an_error():
    error = output({"type": "error", "summary": "<b>KeyError</b>: 'a'", "cause": "Trace\nKeyError: 'a'"})
    assert (error.ename, error.evalue, error.traceback) == ("KeyError", "'a'", ["Trace", "KeyError: 'a'"])


@pytest.mark.parametrize(
    "text", ["<html></html>", "__DATABRICKS_NOTEBOOK_MODEL = '%%'", "__DATABRICKS_NOTEBOOK_MODEL = 'e30='", page()]
)
def test_a_page_without_a_notebook_gives_none(text):
    assert as_ipynb(text) is None
