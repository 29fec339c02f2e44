"""What a notebook shows: tables, pictures in one style, errors as one sentence. Driver; in a kernel or not."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from server_utils.demo.spark_cluster import extras
from server_utils.errors import SidecarError

_LONGEST = 160
_STYLE: dict[Any, Any] = {
    "axes.edgecolor": "#9aa0a6",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "figure.figsize": (7.2, 4.0),
    "figure.dpi": 80,
    "font.size": 10,
    "savefig.bbox": "tight",
}


def prepare() -> None:
    """Set the style of pictures, and how errors of the package are shown."""
    with extras():
        import matplotlib as mpl
    mpl.rcParams.update(_STYLE)
    if (shell := _shell()) is not None:
        shell.set_custom_exc((SidecarError,), _show_sentence)


def _show_sentence(shell: Any, kind: Any, error: Any, traceback: Any, tb_offset: Any = None) -> None:  # noqa: ARG001
    """Show an error without its stack trace; the cell has failed all the same. The arguments are IPython's."""
    shell._showtraceback(kind, error, [f"error: {error}"])  # noqa: SLF001 - IPython has no public way


def show_line(text: str) -> None:
    """Display a line of text."""
    _display(text, f"<p>{html.escape(text)}</p>", text)


def show_table(rows: Any, columns: Sequence[str] | None = None) -> None:
    """Display a frame of Spark or pandas, or dictionaries; each front end takes the form that it knows."""
    dictionaries = _dictionaries(rows)
    names = list(columns or (dictionaries[0] if dictionaries else ()))
    cells = [[_text(each[name]) for name in names] for each in dictionaries]
    _display(_markdown(names, cells), _html(names, cells), "\n".join("  ".join(row) for row in [names, *cells]))


def _dictionaries(rows: Any) -> list[Mapping[str, Any]]:
    if hasattr(rows, "collect"):
        return [row.asDict() for row in rows.collect()]
    return list(rows.to_dict("records")) if hasattr(rows, "to_dict") else list(rows)


def _text(value: Any) -> str:
    """One line, with numbers as people write them."""
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004 - three or four digits
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


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
