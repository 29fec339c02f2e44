"""The facts about the notebooks, from data/notebooks.json: titles, models, data and minutes. Driver and scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.validation import did_you_mean

FACTS = Path(__file__).parents[1] / "data" / "notebooks.json"


class Scale(Enum):
    """How large the model and the data are: for a laptop's processor, or for GPUs."""

    SMALL = "small"
    FULL = "full"


class GpuUse(Enum):
    """What the full scale does with the GPUs of executors."""

    NEEDED = "needed"
    USED = "used"
    UNUSED = "unused"


@dataclass(frozen=True)
class Model:
    """A model of a notebook.

    Attributes:
        source: `hf://org/name@revision`, or the name of an asset that a package ships (`demo/assets.py`).
        licence: an SPDX identifier, or words where the package does not state that of its weights.
    """

    name: str
    source: str
    licence: str

    @property
    def is_asset(self) -> bool:
        """Whether a package ships it."""
        return not self.source.startswith("hf://")

    @property
    def revision(self) -> str:
        """The pinned revision of its hub; empty for a model in a package, whose lock file pins it."""
        return self.source.partition("@")[2]


@dataclass(frozen=True)
class FullData:
    """A data set on a hub, which takes the place of a package's table at full scale.

    Attributes:
        table: the name of that table (`datasets.py`).
        title: how many rows of what.
        source: `hf://datasets/org/name@revision/files`, in Parquet.
        licence: an SPDX identifier, as the card of the data set states it.
        columns: SQL of each column of the table, by its name, in terms of the data set's columns.
    """

    name: str
    table: str
    title: str
    source: str
    licence: str
    columns: dict[str, str]

    @property
    def revision(self) -> str:
        """The pinned revision of its hub."""
        return self.source.partition("@")[2].partition("/")[0]


@dataclass(frozen=True)
class Facts:
    """What is known of a notebook before it runs.

    Attributes:
        name: of its file, without the extension.
        group: the folder of its file.
        data: of a package.
        data_licence: as the package that ships the data states it.
        full_data: takes the place of `data` at full scale; None where there is no such data set.
        models: by scale, one or several that it runs one after the other; None where the notebook trains its own.
        minutes: by the clock, of the whole run at small scale; notebooks/README.md says on which machine.
    """

    name: str
    group: str
    title: str
    data: str
    data_licence: str
    full_data: FullData | None
    models: dict[Scale, tuple[Model, ...]] | None
    minutes: int
    gpu: GpuUse

    @property
    def needs_gpu(self) -> bool:
        """Whether the full scale needs executors with a GPU."""
        return self.gpu is GpuUse.NEEDED


def facts(name: str) -> Facts:
    """The facts about a notebook. Raises ConfigurationError, with the nearest name, where there is none."""
    if name not in every():
        raise ConfigurationError(f"there is no notebook {name!r}{did_you_mean(name, every())}")
    return every()[name]


@cache
def every() -> dict[str, Facts]:
    """All notebooks by name, in the order in which they are shown."""
    facts = json.loads(FACTS.read_text(encoding="utf-8"))
    models = {name: Model(name=name, **each) for name, each in facts["models"].items()}
    data = {name: FullData(name=name, **each) for name, each in facts["data"].items()}
    return {each["name"]: _facts(each, models, data) for each in facts["notebooks"]}


@cache
def groups() -> dict[str, str]:
    """The title of each group by the name of its folder."""
    return {each["name"]: each["title"] for each in json.loads(FACTS.read_text(encoding="utf-8"))["groups"]}


def _facts(given: dict[str, Any], models: dict[str, Model], data: dict[str, FullData]) -> Facts:
    chosen = None
    if Scale.SMALL.value in given:
        chosen = {scale: tuple(models[name] for name in given[scale.value]) for scale in Scale}
    fields = {key: given[key] for key in ("name", "group", "title", "data", "data_licence", "minutes")}
    full_data = data[given["full_data"]] if "full_data" in given else None
    return Facts(models=chosen, full_data=full_data, gpu=GpuUse(given["gpu"]), **fields)
