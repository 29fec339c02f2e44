"""How commands print: JSON for machines, tables for people. Laptop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def print_rows(rows: Sequence[Any]) -> None:
    """Dataclasses as a JSON array."""
    print_json([asdict(row) for row in rows])


def print_json(value: Any) -> None:
    """Anything that JSON can say."""
    typer.echo(json.dumps(value, indent=2))
