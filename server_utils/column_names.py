"""What the columns that functions make are called, in frames and in plans: `embed(text)`. Driver; no Spark."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any


def bound(name: str, function: Callable[..., Any], *arguments: Any) -> Callable[..., Any]:
    """The function with its first arguments. Spark shows it by this name, and any other partial as `partial`."""
    found = functools.partial(function, *arguments)
    found.__name__ = name  # type: ignore[attr-defined] # Spark asks for it
    return found


def title(name: str, columns: Sequence[Any]) -> str:
    """The name of the column that a function makes of columns, which are Spark's own objects."""
    # What is sent is more than what the user gave: casts, JSON, and on old Sparks which rows are null.
    given = (repr(each).removeprefix("Column<'").removesuffix("'>") for each in columns)
    return f"{name}({', '.join(given)})"
