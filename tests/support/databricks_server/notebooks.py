"""The formats of notebooks: .ipynb, Databricks' source format, and the HTML that a run is exported as."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, unquote

from support.databricks_server.refusals import invalid

_HEADER = "# Databricks notebook source"
_BORDER = "\n# COMMAND ----------\n"
_MAGIC = "# MAGIC "
_MODEL = "var __DATABRICKS_NOTEBOOK_MODEL = '"


def from_source(content):
    """An .ipynb of Databricks' source format; only with its header a file has more than one cell."""
    text = content.decode()
    if text.startswith(_HEADER):
        text = text.removeprefix(_HEADER)
        cells = [_cell(each.strip("\n")) for each in text.split(_BORDER)]
    else:
        cells = [_cell(text)]
    metadata = {"language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def _cell(text):
    if not text.startswith(_MAGIC.rstrip()):
        return _made("code", text)
    text = "\n".join(line.removeprefix(_MAGIC).removeprefix(_MAGIC.rstrip()) for line in text.splitlines())
    return _made("markdown", text.removeprefix("%md").lstrip()) if text.startswith("%md") else _made("code", text)


def _made(kind, source):
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source} | code


def source_of(cell):
    """The text of a cell: .ipynb files have it as a string or as a list of lines."""
    return "".join(cell["source"])


def exported(notebook, kind):
    """A notebook in a format of export. AUTO is JUPYTER here, as all notebooks are kept with their outputs."""
    if kind in {"JUPYTER", "AUTO"}:
        return json.dumps(notebook).encode()
    if kind == "HTML":
        return as_html(notebook, "notebook").encode()
    if kind != "SOURCE":
        raise invalid(f"The format {kind} is not served here.")
    return (f"{_HEADER}\n" + _BORDER.join(f"{_text(cell)}\n" for cell in notebook["cells"])).encode()


def _text(cell):
    text = source_of(cell)
    if cell["cell_type"] == "code" and not text.startswith("%"):
        return text
    text = f"%md\n{text}" if cell["cell_type"] == "markdown" else text
    return "\n".join(f"{_MAGIC}{line}" for line in text.splitlines())


def as_html(notebook, name):
    """The page that a run is exported as: the whole notebook with its results is in it, as JSON, quoted, in base64."""
    commands = [_command(number, cell) for number, cell in enumerate(notebook["cells"], start=1)]
    model = {"version": "NotebookV1", "name": name, "language": "python", "commands": commands}
    coded = base64.b64encode(quote(json.dumps(model)).encode()).decode()
    title = html.escape(name)
    body = f"<script>{_MODEL}{coded}';</script>"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>"


def model_of(page):
    """The notebook inside such a page, as a viewer of the page reads it."""
    coded = page.partition(_MODEL)[2].partition("'")[0]
    return json.loads(unquote(base64.b64decode(coded).decode()))


def _command(number, cell):
    text = source_of(cell)
    command = f"%md {text}" if cell["cell_type"] == "markdown" else text
    shown = {"version": "CommandV1", "position": float(number), "command": command, "state": "finished"}
    outputs = cell.get("outputs", [])
    errors = [each for each in outputs if each["output_type"] == "error"]
    data = [_shown(each) for each in outputs if each["output_type"] != "error"]
    shown["results"] = {"type": "listResults", "data": data} if data else None
    if errors:
        shown["state"] = "error"
        name, value = html.escape(errors[0]["ename"]), html.escape(errors[0]["evalue"])
        shown["errorSummary"] = f"<span class='ansi-red-fg'>{name}</span>: {value}"
        shown["errorTraceType"], shown["error"] = "ansi", "\n".join(errors[0]["traceback"])
    return shown


def _shown(output):
    if output["output_type"] == "stream":
        return {"type": "ansi", "name": output["name"], "data": "".join(output["text"])}
    return {"type": "mimeBundle", "data": output["data"], "metadata": output.get("metadata", {})}
