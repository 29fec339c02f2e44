"""What the reports of both demos share: JSON on standard output, a table of numbers, where the files are. Laptop."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console


def print_json(report: Any) -> None:
    """Print a report, which is a dataclass, as one object on standard output."""
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(report).items()}
    sys.stdout.write(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")


def print_files(console: Console, parquet: Path, plot: Path) -> None:
    """Print where the files are, on lines that are never broken: people copy them."""
    console.print(f"Parquet  {parquet}\nPlot     {plot}", soft_wrap=True)


def numbers(shown: Mapping[str, str]) -> Table:
    """A table of one row: each number below its name."""
    table = plain_table(*(Column(name, justify="right") for name in shown))
    table.add_row(*shown.values())
    return table


def plain_table(*columns: Column | str) -> Table:
    """A table with a line below its headings, and no other lines."""
    return Table(*columns, box=box.SIMPLE_HEAD)
