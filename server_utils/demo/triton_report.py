"""The report of the demo with Triton: its fields, and its tables for people. Laptop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from server_utils.demo.report import numbers, plain_table, print_files

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """A review that answers a query. similarity: cosine, 1 at most."""

    id: int
    similarity: float
    score: float
    text: str


@dataclass(frozen=True)
class Search:
    """A query and its answers, best first."""

    query: str
    answers: list[Answer]


@dataclass(frozen=True)
class Report:
    """What the demo did.

    Attributes:
        total: rows there are; `rows` of them were embedded.
        rows_per_s: from the start of the Spark job until the Parquet was written.
        start_s: until all servers were ready, model load included.
        seconds: in all, from the command to the plot.
    """

    rows: int
    total: int
    rows_per_s: float
    servers: int
    restarts: int
    start_s: float
    seconds: float
    parquet: Path
    plot: Path
    searches: list[Search]


def print_tables(report: Report) -> None:
    """The numbers, the answers, and where the files are."""
    console = Console(highlight=False)
    console.print(_numbers(report), _answers(report.searches))
    print_files(console, report.parquet, report.plot)
    if report.rows < report.total:
        console.print(f"[dim]All {report.total:,} rows: --rows {report.total}[/]")


def _numbers(report: Report) -> Table:
    return numbers(
        {
            "rows": f"{report.rows:,} of {report.total:,} ({report.rows / report.total:.0%})",
            "rows/s": f"{report.rows_per_s:,.0f}",
            "servers": str(report.servers),
            "restarts": str(report.restarts),
            "start": f"{report.start_s:.1f} s",
            "in all": f"{report.seconds:.0f} s",
        }
    )


def _answers(searches: list[Search]) -> Table:
    columns = (Column(name, justify="right") for name in ("similarity", "score"))
    table = plain_table("query and best reviews", *columns)
    for search in searches:
        table.add_row(Text(search.query, style="bold cyan"))
        for answer in search.answers:
            # Text, not markup: a review may hold brackets.
            table.add_row(
                Padding(Text(" ".join(answer.text.split())), (0, 0, 0, 2)),
                f"{answer.similarity:.2f}",
                f"{answer.score:+.1f}",
            )
        table.add_section()
    return table
