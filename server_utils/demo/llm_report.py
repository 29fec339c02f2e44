"""The report of the demo with a language model: its fields, and its tables for people. Laptop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from server_utils.demo.report import numbers, plain_table, print_files
from server_utils.demo.sentiment import NEGATIVE, POSITIVE, Cell, Judged

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Person:
    """What the model found in a text, by fields; None where it found nothing. right: as it is in the text."""

    text: str
    name: str | None
    age: int | None
    city: str | None
    right: bool


@dataclass(frozen=True)
class LLMReport:
    """What the demo did.

    Attributes:
        rows_per_s: from the start of the Spark job until the Parquet was written; the tokens by the same time.
        tokens_in: of all prompts. tokens_out: of all answers.
        prefix_hits: the share of the prompts' tokens that a server knew from prompts before, 0 to 1.
        accuracy: the share of reviews that the model calls what people call them, 0 to 1.
        start_s: until all servers were ready, model load included.
        seconds: in all, from the command to the plot.
        people: what was found in other texts, as typed columns.
    """

    rows: int
    rows_per_s: float
    tokens_in: int
    tokens_out: int
    tokens_in_per_s: float
    tokens_out_per_s: float
    prefix_hits: float
    accuracy: float
    servers: int
    restarts: int
    start_s: float
    seconds: float
    parquet: Path
    plot: Path
    confusion: list[Cell]
    right: list[Judged]
    wrong: list[Judged]
    people: list[Person]


def print_tables(report: LLMReport) -> None:
    """The numbers, where model and people differ, examples, and where the files are."""
    console = Console(highlight=False)
    console.print(_work(report), _servers(report), _confusion(report), _examples(report), _people(report.people))
    print_files(console, report.parquet, report.plot)


def _work(report: LLMReport) -> Table:
    speeds = (report.rows_per_s, report.tokens_in_per_s, report.tokens_out_per_s)
    return numbers(
        {
            "rows": f"{report.rows:,}",
            **dict(zip(("rows/s", "tokens/s in", "tokens/s out"), (f"{speed:,.1f}" for speed in speeds), strict=True)),
            "prefix hits": f"{report.prefix_hits:.0%}",
            "accuracy": f"[bold green]{report.accuracy:.0%}[/]",
        }
    )


def _servers(report: LLMReport) -> Table:
    return numbers(
        {
            "servers": str(report.servers),
            "restarts": str(report.restarts),
            "start": f"{report.start_s:.1f} s",
            "in all": f"{report.seconds:.0f} s",
        }
    )


def _confusion(report: LLMReport) -> Table:
    names = ("model: positive", "model: negative")
    table = plain_table("what people say", *(Column(name, justify="right") for name in names))
    rows = {(cell.human, cell.model): cell.rows for cell in report.confusion}
    for human in (POSITIVE, NEGATIVE):
        styled = [("green" if human == model else "red", rows[human, model]) for model in (POSITIVE, NEGATIVE)]
        table.add_row(human, *(f"[{style}]{count:,}[/]" for style, count in styled))
    return table


def _examples(report: LLMReport) -> Table:
    table = plain_table("", "model", Column("score", justify="right"), "review")
    for mark, examples in (("[green]✓[/]", report.right), ("[red]✗[/]", report.wrong)):
        for each in examples:
            # Text, not markup: a review may hold brackets.
            table.add_row(mark, each.model, f"{each.score:+.1f}", Text(" ".join(each.text.split())))
        table.add_section()
    return table


def _people(people: list[Person]) -> Table:
    table = plain_table("", "name string", Column("age int", justify="right"), "city string", "text")
    for each in people:
        facts = ["" if value is None else str(value) for value in (each.name, each.age, each.city)]
        table.add_row("[green]✓[/]" if each.right else "[red]✗[/]", *map(Text, facts), Text(each.text, style="dim"))
    return table
