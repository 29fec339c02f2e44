"""The questions of `data/live-checks.json`, which only a live cluster can answer. Laptop; `ask.py` asks them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any


class Where(Enum):
    """The place where a question is asked."""

    LAPTOP = "laptop"
    DRIVER = "driver"
    EXECUTOR = "executor"
    DRIVER_PYTHON = "driver's Python"
    EXECUTOR_PYTHON = "executor's Python"
    BY_HAND = "by hand"

    @property
    def on_cluster(self) -> bool:
        """Whether a job on the cluster asks it."""
        return self not in {Where.LAPTOP, Where.BY_HAND}

    @property
    def on_driver(self) -> bool:
        """Whether the job asks it on the driver."""
        return self in {Where.DRIVER, Where.DRIVER_PYTHON}

    @property
    def python(self) -> bool:
        """Whether its command is Python, and no shell command."""
        return self in {Where.DRIVER_PYTHON, Where.EXECUTOR_PYTHON}


@dataclass(frozen=True)
class Question:
    """A question, and what to change if its answer differs. The schema beside the JSON file describes the fields."""

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
        """The options of the script that the question needs."""
        cluster = self.where.on_cluster or "$CLUSTER" in self.command
        return ("cluster",) * cluster + ("region",) * ("$REGION" in self.command)

    def is_about(self, platform: str) -> bool:
        """Whether it is a question about a platform, such as databricks-aws."""
        return platform.startswith(self.platforms)

    def expects(self, output: str) -> bool:
        """Whether an output is the expected answer."""
        return re.search(self.answer, output, re.MULTILINE) is not None


@cache
def questions() -> tuple[Question, ...]:
    """Return all questions, in the order of the file."""
    text = (files("server_utils") / "data" / "live-checks.json").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = json.loads(text)["questions"]
    return tuple(Question(**row | {"where": Where(row["where"]), "platforms": tuple(row["platforms"])}) for row in rows)


def of(platform: str) -> list[Question]:
    """Return the questions of a platform; those that need a person come last."""
    about = [each for each in questions() if each.is_about(platform)]
    return sorted(about, key=lambda each: each.where is Where.BY_HAND)
