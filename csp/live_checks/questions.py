"""What only a live cluster can tell: the questions of `data/live-checks.json`. Laptop; `ask.py` asks them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any


class Where(Enum):
    """Who can answer a question."""

    LAPTOP = "laptop"
    DRIVER = "driver"
    EXECUTOR = "executor"
    DRIVER_PYTHON = "driver's Python"
    EXECUTOR_PYTHON = "executor's Python"
    BY_HAND = "by hand"

    @property
    def on_cluster(self) -> bool:
        """Whether a job of the cluster asks it."""
        return self not in {Where.LAPTOP, Where.BY_HAND}

    @property
    def on_driver(self) -> bool:
        """Whether that job asks it on the driver."""
        return self in {Where.DRIVER, Where.DRIVER_PYTHON}

    @property
    def python(self) -> bool:
        """Whether its command is Python, and not one of a shell."""
        return self in {Where.DRIVER_PYTHON, Where.EXECUTOR_PYTHON}


@dataclass(frozen=True)
class Question:
    """A question, and what to do about an answer that differs; the schema beside the facts describes the fields."""

    key: str
    platforms: tuple[str, ...]
    asks: str
    where: Where
    command: str
    expected: str
    change: str
    answer: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The options of the script without which it cannot be asked."""
        cluster = self.where.on_cluster or "$CLUSTER" in self.command
        return ("cluster",) * cluster + ("region",) * ("$REGION" in self.command)

    def is_about(self, platform: str) -> bool:
        """Whether it is a question of a platform, such as databricks-aws."""
        return platform.startswith(self.platforms)

    def expects(self, output: str) -> bool:
        """Whether an output is the expected answer."""
        return re.search(self.answer, output, re.MULTILINE) is not None


@cache
def questions() -> tuple[Question, ...]:
    """All questions, in the order of the file."""
    text = (files("server_utils") / "data" / "live-checks.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["questions"]
    return tuple(Question(**row | {"where": Where(row["where"]), "platforms": tuple(row["platforms"])}) for row in rows)


def of(platform: str) -> list[Question]:
    """The questions of a platform: those that a program can ask first."""
    about = [each for each in questions() if each.is_about(platform)]
    return sorted(about, key=lambda each: each.where is Where.BY_HAND)
