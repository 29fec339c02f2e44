"""Convert the executed notebook of a run into an .ipynb with its outputs. Laptop.

The workspace exports a run as a web page only. The page holds the whole notebook as JSON, quoted and in base64: a list
of commands with results. The types of results are Databricks' own. Their MIME bundles are those of Jupyter.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_MODEL = re.compile(r"__DATABRICKS_NOTEBOOK_MODEL = '([^']+)'")
_MARKDOWN = re.compile(r"%md(-sandbox)?\s?")
_TAGS = re.compile(r"<[^>]+>")
_METADATA = {"language_info": {"name": "python"}}


def as_ipynb(page: str) -> bytes | None:
    """Return the notebook in an exported page; None if the page holds none in the expected format."""
    match = _MODEL.search(page)
    try:
        model = json.loads(unquote(base64.b64decode(match[1]).decode())) if match else None
        commands = sorted(model["commands"], key=lambda each: each.get("position") or 0.0) if model else []
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
    if not commands:
        return None
    cells = [_cell(each) for each in commands]
    return json.dumps({"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 4}, indent=1).encode()


def _cell(command: Mapping[str, Any]) -> dict[str, Any]:
    source = str(command.get("command") or "")
    if match := _MARKDOWN.match(source):
        return {"cell_type": "markdown", "metadata": {}, "source": source[match.end() :]}
    outputs = [*_results(command.get("results")), *_failure(command)]
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": outputs, "source": source}


def _results(result: Any) -> Iterator[dict[str, Any]]:
    """Yield the outputs of a result, which may be a list of results."""
    if not isinstance(result, Mapping):
        return
    kind, data = result.get("type"), result.get("data")
    if kind == "listResults":
        for each in data or []:
            yield from _results(each)
    elif kind == "mimeBundle" and isinstance(data, Mapping):
        yield _display(data)
    elif kind == "table":
        yield _display(_table(result))
    elif kind in {"html", "htmlSandbox"}:
        yield _display({"text/html": data or ""})
    elif kind == "image":
        yield _display({"image/png": str(data).rpartition("base64,")[2]})
    elif kind == "error":
        yield from _failure({"errorSummary": result.get("summary"), "error": result.get("cause")})
    elif data:
        text = data if isinstance(data, str) else json.dumps(data)
        yield {"output_type": "stream", "name": "stderr" if result.get("name") == "stderr" else "stdout", "text": text}


def _display(bundle: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_type": "display_data", "data": dict(bundle), "metadata": {}}


def _table(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the table of a displayed DataFrame as HTML and as text."""
    names = [str(each["name"]) for each in result.get("schema") or []]
    rows = [["" if each is None else str(each) for each in row] for row in result.get("data") or []]
    head = "".join(f"<th>{html.escape(each)}</th>" for each in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(each)}</td>" for each in row) + "</tr>" for row in rows)
    plain = "\n".join("\t".join(row) for row in [names, *rows])
    return {"text/html": f"<table><tr>{head}</tr>{body}</table>", "text/plain": plain}


def _failure(command: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the error of a command. Its summary is HTML: `<span>ValueError</span>: no`."""
    summary = html.unescape(_TAGS.sub("", str(command.get("errorSummary") or "")))
    trace = str(command.get("error") or "")
    if summary or trace:
        name, _, value = (summary or trace.splitlines()[-1]).partition(": ")
        yield {"output_type": "error", "ename": name, "evalue": value, "traceback": trace.splitlines() or [summary]}
