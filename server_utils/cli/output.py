"""How commands print: JSON for programs, tables and text for people. Laptop and nodes.

On a terminal a line is no wider than the screen. In a pipe or a file it is as long as its content, without colour.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
Row = Sequence[str]

_GAP = "  "


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        heading: its name, and the unit of its numbers: cells hold none.
        right: whether its cells are aligned to the right, as numbers are.
    """

    heading: str
    right: bool = False


def print_rows(rows: Sequence[Any]) -> None:
    """Print dataclasses as a JSON array."""
    print_json([asdict(row) for row in rows])


def print_json(value: Any) -> None:
    """Print a value as JSON, in ASCII: its bytes are the same in every locale."""
    typer.echo(json.dumps(value, indent=2))


def print_tables(columns: Sequence[Column], groups: Mapping[str, Sequence[Row]]) -> None:
    """Print one table per group below the group's name; a group named "" has no such line.

    A column has the same width in all tables, and is left out where every cell is empty. No cell is cut: where the
    screen is too narrow, cells break between words, and stay in their column. Where even that is too wide, the first
    cell of a row has a line of its own.
    """
    rows = [row for group in groups.values() for row in group]
    used = [index for index in range(len(columns)) if any(row[index] for row in rows)]
    shown = [columns[index] for index in used]
    headings = [column.heading for column in columns]
    cells = [[row[index] for row in (headings, *rows)] for index in used]
    widths = _widths(shown, cells)
    for number, (name, group) in enumerate(groups.items()):
        if number:
            print_text("")
        if name:
            print_text(name, style="bold")
        for row in (headings, *group):
            style = "dim" if row is headings else ""
            _print_row([row[index] for index in used], shown, widths, style=style)


def print_text(text: str, *, indent: int = 0, style: str = "", styled: int | None = None) -> None:
    """Print a paragraph, on a terminal broken between words.

    Args:
        text: without line breaks.
        indent: how many spaces stand before each line but the first; less where a long word, such as a path, needs it.
        style: in rich's words, such as `bold`; not shown in a pipe or where NO_COLOR is set.
        styled: how many characters the style is for; all by default.
    """
    for number, line in enumerate(_wrapped(text, indent)):
        end = len(line) if styled is None else 0 if number else styled
        print_line(line, style=style, styled=end)


def print_line(line: str, *, style: str = "", styled: int | None = None) -> None:
    """Print one line as it is, however long: what a user copies must not hold line breaks of ours."""
    from rich.text import Text

    text = Text(line)
    text.stylize(style, 0, styled)
    _console().print(text, soft_wrap=True)


def screen_width() -> int | None:
    """The columns of the terminal; None where standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def escape_unencodable() -> None:
    """Print characters that the encoding of the locale does not have as their code points, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _wrapped(text: str, indent: int) -> list[str]:
    width = screen_width()
    if width is None or not text:
        return [text]
    spaces = " " * max(min(indent, width - max(map(len, text.split()))), 0)
    return textwrap.wrap(text, width, subsequent_indent=spaces, break_long_words=False, break_on_hyphens=False)


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column: of its widest cell; where the screen is narrow, less, down to its longest word.

    The widest columns give way first. Numbers do not: they stay on one line. Where it is not enough, none gives way.
    """
    widest = [max(map(_width, column)) for column in cells]
    words = [[word for cell in column for word in cell.split()] for column in cells]
    widths, excess = widest.copy(), _excess(widest)
    for index in sorted(range(len(widths)), key=widths.__getitem__, reverse=True):
        if not columns[index].right:
            narrower = min(excess, widths[index] - max(map(_width, words[index])))
            widths[index] -= narrower
            excess -= narrower
    return widest if excess else widths


def _excess(widths: Sequence[int]) -> int:
    """How many columns of the screen a row is too wide."""
    screen = screen_width()
    return 0 if screen is None else max(sum(widths) + len(_GAP) * (len(widths) - 1) - screen, 0)


def _print_row(cells: Row, columns: Sequence[Column], widths: Sequence[int], *, style: str) -> None:
    if _excess(widths):
        padded = [_padded(*each) for each in zip(cells[1:], columns[1:], widths[1:], strict=True)]
        print_line(cells[0], style=style)
        print_text((_GAP + _GAP.join(padded)).rstrip(), indent=len(_GAP), style=style)
        return
    broken = [_broken(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in itertools.zip_longest(*broken, fillvalue=""):
        padded = [_padded(*each) for each in zip(parts, columns, widths, strict=True)]
        print_line(_GAP.join(padded).rstrip(), style=style)


def _broken(cell: str, width: int) -> list[str]:
    """The lines of a cell, broken between words."""
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(cell).wrap(_console(), width)] if _width(cell) > width else [cell]


def _padded(cell: str, column: Column, width: int) -> str:
    spaces = " " * (width - _width(cell))
    return spaces + cell if column.right else cell + spaces


def _width(cell: str) -> int:
    """How many columns of a screen a text takes: two for each character of Chinese, for example."""
    from rich.cells import cell_len

    return cell_len(cell)


def _console() -> Console:
    from rich.console import Console

    # With its own handling of NO_COLOR rich would go on to print bold and dim.
    return Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
