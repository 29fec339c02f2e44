"""Notebooks as files: made from their sources, and executed. For render.py, notebooks.py and the tests."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jupytext
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from server_utils.demo import assets
from server_utils.notebooks import catalogue
from server_utils.notebooks.catalogue import Facts, FullData, GpuUse, Model, Scale

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager

FOLDER = Path(__file__).parents[1] / "notebooks"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ABOUT = 1  # the place of the cell with the facts
_NOTEBOOK_S = 900  # the longest takes three minutes on two cores that nobody else uses
_START_S = 300
_AT_FULL_SCALE = {
    GpuUse.NEEDED: "executors whose GPUs hold the model (`spark-sidecar fit`)",
    GpuUse.USED: "any executors; faster where they have GPUs",
    GpuUse.UNUSED: "any executors; the model takes no GPU",
}


def source(facts: Facts) -> Path:
    """The file that people write: Python with cells marked by `# %%`."""
    return FOLDER / "src" / facts.group / f"{facts.name}.py"


def made(facts: Facts) -> Path:
    """The file that is made from it, for Jupyter and the platforms."""
    return FOLDER / facts.group / f"{facts.name}.ipynb"


def render(facts: Facts) -> str:
    """The notebook of a source: with the facts after its first cell, without outputs, the same bytes each time."""
    notebook = jupytext.read(source(facts), fmt="py:percent")
    notebook.cells.insert(ABOUT, nbformat.v4.new_markdown_cell(about(facts)))
    notebook.metadata = nbformat.from_dict(_METADATA)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", nbformat.from_dict({})
    return nbformat.writes(notebook) + "\n"


def about(facts: Facts) -> str:
    """A table of the models, the data and the time, in Markdown."""
    lines = ["| | small, on a laptop | full, on a cluster |", "|---|---|---|"]
    if facts.models is None:
        lines.append("| model | trained here | trained here |")
    else:
        lines.append(_of_each_scale("model", facts.models, lambda model: _hub(model.source) or model.name))
        lines.append(_of_each_scale("revision", facts.models, _pin))
        lines.append(_of_each_scale("its licence", facts.models, lambda model: model.licence))
    lines += _about_data(facts)
    lines.append(f"| needs | two cores | {_AT_FULL_SCALE[facts.gpu]} |")
    lines.append(f"| takes | about {_minutes(facts)}, with the start of Spark | {_time_at_full_scale(facts)} |")
    return "\n".join(lines)


def _about_data(facts: Facts) -> list[str]:
    full, small = facts.full_data, f"all or some of: {facts.data}"
    if full is None:
        return [
            f"| data | {small} | all of it, or a table of yours |",
            f"| its licence | {facts.data_licence} | {facts.data_licence} |",
        ]
    return [
        f"| data | {small} | {_hub_name(full)}: {full.title} |",
        f"| revision | as a package ships it | `{full.revision}` |",
        f"| its licence | {facts.data_licence} | {full.licence} |",
    ]


def _hub_name(data: FullData) -> str:
    return f"`{_hub(data.source).removeprefix('datasets/')}`"


def _of_each_scale(title: str, models: dict[Scale, tuple[Model, ...]], say: Callable[[Model], str]) -> str:
    """A row of the table. What is the same of several models is said once."""
    return f"| {title} | " + " | ".join(", ".join(dict.fromkeys(map(say, models[scale]))) for scale in Scale) + " |"


def _pin(model: Model) -> str:
    if model.revision:
        return f"`{model.revision}`"
    return "package `{}` {}".format(*assets.package_of(model.source))


def _hub(place: str) -> str:
    return place.removeprefix("hf://").partition("@")[0] if place.startswith("hf://") else ""


def _minutes(facts: Facts) -> str:
    return f"{facts.minutes} minute{'s' if facts.minutes > 1 else ''}"


def _time_at_full_scale(facts: Facts) -> str:
    """What decides how long the full scale takes."""
    worker = "core" if facts.gpu is GpuUse.UNUSED else "GPU"
    full = facts.models[Scale.FULL] if facts.models else ()
    copy = "; the first run also copies the model" if any(_hub(model.source) for model in full) else ""
    return f"decided by the rows per {worker}{copy}"


def with_minutes(facts: Facts, minutes: int) -> Facts:
    """Keep how long a notebook took, in its facts and in the file that is made from them."""
    if minutes == facts.minutes:
        return facts
    kept = json.loads(catalogue.FACTS.read_text(encoding="utf-8"))
    next(each for each in kept["notebooks"] if each["name"] == facts.name)["minutes"] = minutes
    catalogue.FACTS.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    catalogue.every.cache_clear()
    made(facts).write_text(render(catalogue.facts(facts.name)), encoding="utf-8")
    (FOLDER / "README.md").write_text(index(), encoding="utf-8")
    return catalogue.facts(facts.name)


def execute(path: Path, *, kernel: KernelManager | None = None, folder: Path) -> Any:
    """Run a notebook's cells, in a kernel that runs or in one of its own, with a time limit for all of them.

    folder: the working folder of its kernel.

    Returns:
        The notebook with its outputs.

    Raises:
        CellExecutionError: a cell failed.
        CellTimeoutError: the time is up.
        DeadKernelError: the kernel has died.
    """
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(folder)}}
    deadline = time.monotonic() + _NOTEBOOK_S
    # Nbclient takes 0 and less for no limit.
    limits = {"timeout_func": lambda _: max(1, int(deadline - time.monotonic())), "startup_timeout": _START_S}
    with tempfile.TemporaryDirectory(prefix="k-") as sockets:
        # Through TCP whoever is on this host could read along, and the kernel warns of it each time.
        own = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/k"}})
        return NotebookClient(notebook, km=kernel, config=own, resources=place, **limits).execute()


def index() -> str:
    """notebooks/README.md: every notebook by its group."""
    lines = [_INDEX]
    for group, title in catalogue.groups().items():
        lines += [
            f"## {title}",
            "",
            "| notebook | small | full | data, and its licence | minutes |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(facts) for facts in catalogue.every().values() if facts.group == group]
        lines.append("")
    return "\n".join(lines)


def _row(facts: Facts) -> str:
    models = facts.models or dict.fromkeys(Scale, ())
    names = [", ".join(model.name for model in models[scale]) or "trained there" for scale in Scale]
    link, data = f"[{facts.title}]({facts.group}/{facts.name}.ipynb)", f"{facts.data}: {facts.data_licence}"
    if facts.full_data:
        data += f"; full: {facts.full_data.title} ({_hub_name(facts.full_data)}): {facts.full_data.licence}"
    return f"| {link} | {names[0]} | {names[1]} | {data} | {facts.minutes} |"


_INDEX = """\
<!-- made by ./run render -->
# Notebooks

The same files run on a laptop, on Databricks and on Dataproc. `./run notebook NAME` runs one here; `--open` opens it in
JupyterLab. On a cluster with the package, open or submit the `.ipynb` file as it is. The
[gallery](../docs/gallery/README.md) shows what comes out.

- **Scale.** Without a GPU a notebook takes a small model and few rows, so that it runs on two cores without a network
  once its model is there. On executors with GPUs it takes the full model. `SPARK_SIDECAR_SCALE`, or
  `spark.sidecar.scale` in Spark's conf, says `small` or `full` where that choice is wrong: a T4 holds no model of 7
  billion parameters.
- **Spark.** A session that is there is used and left running. Where there is none, a laptop gets a cluster of two
  executors.
- **Models** are copied once to where [model_url](../docs/storage.md) says. A model with a licence on its hub needs
  `HF_TOKEN` for that copy. On a cluster `SPARK_SIDECAR_MODELS` and `SPARK_SIDECAR_DATA` name the places for models and
  results; those that `spark-sidecar databricks up`, `dataproc up` and Terraform make have both.
- **Data** at full scale are data sets of a hub, at a revision, which are copied once to where `data_url` says. A driver
  that cannot reach the hub says which one it wants; `spark-sidecar models push` copies it from elsewhere.
- **Environments.** Language models need a cluster of framework `vllm`, those of Keras one of `tf`, all others one of
  `triton`. Where only the workers have the environment, one of them trains (`notebook.call`) or converts the model.
- **Sources** are in `src/`, as Python with cells. `./run render` makes the `.ipynb` files from them, without outputs.

The licence beside the data is what the package that ships the data states, or the card of the data set. Where no
data set is named for full scale, a notebook takes all rows of the small table, or a table of yours.

The last column is minutes by the clock at small scale, from the start of Spark to the last cell. `./run gallery` has
measured them on the machine of the gallery: two cores (AMD EPYC), 24 GiB of memory, no GPU.
"""
