"""What a notebook shows: tables, pictures in one style, errors as one sentence. Driver; in a kernel or not."""

from __future__ import annotations

import html
import logging
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import Any

from server_utils.demo.spark_cluster import extras
from server_utils.errors import SidecarError

_LONGEST, _WIDTH = 160, 7.2
_FIVE_DIGITS = 10_000
_TRACEBACK = (
    "Traceback (most recent call last):\n"  # the first line of one, in Python and in Spark's text of a task's error
)
_JAVA_FRAME = "\n\tat "
_JAVA_CALL = re.compile(r"\AAn error occurred while calling [^\n]*\n: (?:[\w$]+\.)+[\w$]+: ")
_OURS = re.compile(rf"\A{re.escape(SidecarError.__module__)}\.\w+: ")
_QUERY_LOGGERS = ("DataFrameQueryContextLogger", "SQLQueryContextLogger")
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#9aa0a6",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.figsize": (_WIDTH, 4.0),
    "figure.dpi": 80,
    "font.size": 10,
    "savefig.bbox": "tight",
}


def prepare() -> None:
    """Set the style of pictures, and how errors of the package and of Spark are shown."""
    with extras():
        import matplotlib as mpl
    mpl.rcParams.update(_STYLE)
    if (shell := _shell()) is not None:
        shell.set_custom_exc((SidecarError, *_errors_of_spark()), _show_sentence)
        _quiet_queries()


def _errors_of_spark() -> Iterable[type[Exception]]:
    from pyspark.errors import PySparkException

    yield PySparkException
    with suppress(ImportError):  # a client of Spark Connect has no Py4J
        from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]

        yield Py4JJavaError


def _quiet_queries() -> None:
    """Keep Spark 4 from logging all of Java's stack trace into the cell whose query it refuses."""
    with suppress(ImportError):  # Spark 3.5 does not log it
        from pyspark.logger import PySparkLogger

        for name in _QUERY_LOGGERS:
            PySparkLogger.getLogger(name).setLevel(logging.CRITICAL)


def _show_sentence(shell: Any, kind: Any, error: Any, traceback: Any, tb_offset: Any = None) -> None:  # noqa: ARG001
    """Show an error without its stack trace; the cell has failed all the same. The arguments are IPython's."""
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, traceback  # %tb shows them
    shown = [f"error: {_sentence(error)}"]
    if not isinstance(error, SidecarError):
        shown.append("%tb shows the stack trace.")
    shell._showtraceback(kind, error, shown)  # noqa: SLF001 - IPython has no public way


def _sentence(error: Exception) -> str:
    """What an error says, without stack traces. An error of Spark has that of a task in its text, after a traceback."""
    if isinstance(error, SidecarError):
        return str(error)
    _, traced, last = _JAVA_CALL.sub("", str(error)).rpartition(_TRACEBACK)
    lines = last.partition(_JAVA_FRAME)[0].strip("\n").splitlines() or [type(error).__name__]
    if not traced:
        return lines[0]  # after it come the query and its plan
    while lines[1:] and lines[0].startswith(" "):
        lines.pop(0)
    return _OURS.sub("", "\n".join(lines).strip())


def show_line(text: str) -> None:
    """Display a line of text."""
    _display(text, f"<p>{html.escape(text)}</p>", text)


def show_table(rows: Any, columns: Sequence[str] | None = None) -> None:
    """Display a frame of Spark or pandas, or dictionaries; each front end takes the form that it knows."""
    dictionaries = _dictionaries(rows)
    names = list(columns or (dictionaries[0] if dictionaries else ()))
    cells = [[_text(each[name]) for name in names] for each in dictionaries]
    _display(_markdown(names, cells), _html(names, cells), "\n".join("  ".join(row) for row in [names, *cells]))


def show_pictures(pictures: Sequence[Any], titles: Sequence[str], right: Sequence[bool], *, columns: int) -> None:
    """Display pictures, which are arrays of pixels, in rows; a title is green where it is right, else red."""
    import matplotlib.pyplot as plt

    lines, side = -(-len(pictures) // columns), _WIDTH / columns
    figure, areas = plt.subplots(lines, columns, figsize=(_WIDTH, lines * (side + 0.3)), squeeze=False)
    for area in areas.flat:
        area.axis("off")
    for area, picture, title, is_right in zip(areas.flat, pictures, titles, right, strict=False):
        area.imshow(picture, cmap="Greys")  # without color: dark is much
        area.set_title(title, color="#188038" if is_right else "#d93025", loc="center")
    figure.tight_layout()
    plt.show()


def _dictionaries(rows: Any) -> list[Mapping[str, Any]]:
    if hasattr(rows, "collect"):
        return [row.asDict() for row in rows.collect()]
    return list(rows.to_dict("records")) if hasattr(rows, "to_dict") else list(rows)


def _text(value: Any) -> str:
    """One line, with numbers as people write them."""
    if not isinstance(value, bool) and isinstance(value, Real):
        return _number(value)
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _number(value: Any) -> str:
    if isinstance(value, Integral):
        return f"{value:,}" if abs(int(value)) >= _FIVE_DIGITS else str(value)  # a year has no comma
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004 - three or four digits


def _markdown(names: Iterable[str], cells: Iterable[Iterable[str]]) -> str:
    lines = [_row(names), _row("---" for _ in names), *map(_row, cells)]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    """A line of a table in Markdown. Escaped: a text may hold HTML, bars and marks of Markdown."""
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    text = html.escape(text, quote=False)
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "#"):
        text = text.replace(mark, f"\\{mark}")
    return text


def _html(names: Iterable[str], cells: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _display(markdown: str, as_html: str, plain: str) -> None:
    if _shell() is None:
        sys.stdout.write(plain + "\n")
        return
    from IPython.display import display

    display({"text/markdown": markdown, "text/html": as_html, "text/plain": plain}, raw=True)


def _shell() -> Any:
    """IPython's shell that this runs in; None in plain Python."""
    if "IPython" not in sys.modules:  # a kernel has imported it
        return None
    import IPython

    return IPython.get_ipython()
