"""What a doctor says: one thing looked at, and its exact fix. Driver and executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `fix` is a command or an order to the reader, empty where all is well."""

    name: str
    level: Literal["ok", "warning", "error"]
    found: str
    fix: str = ""
