"""Write a deployment as a Databricks Asset Bundle, for teams that run `databricks bundle deploy`. Laptop.

The cluster has the definition that `up` sends. Each notebook is a job on that cluster. A bundle cannot send files to a
volume, so nodes install from the files that `spark-sidecar databricks bundle` sent.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from csp.cloud import Cloud, Deployment
from server_utils.errors import ConfigurationError

FILE = "databricks.yml"
_CLUSTER = "sidecar"  # the key of the cluster in the file
_HEAD = "# Made by `spark-sidecar databricks bundle`. Deploy it with `databricks bundle deploy`.\n"


def write(cloud: Cloud, deployment: Deployment, notebooks: Sequence[Path], to: Path) -> Path:
    """Write databricks.yml into a folder, and return its path.

    Args:
        cloud: of the deployment.
        deployment: describes the cluster.
        notebooks: in that folder or below it; each becomes a job.
        to: the folder. It is made if it does not exist. A bundle that this command did not write is not replaced.

    Raises:
        ConfigurationError: a notebook is elsewhere, or the folder has another bundle.
    """
    path = to / FILE
    if path.exists() and not path.read_text(encoding="utf-8").startswith(_HEAD):
        raise ConfigurationError(f"{path} is there and was not made by this command; give another folder with --to")
    content = _HEAD + as_yaml(configuration(cloud, deployment, notebooks, to))
    to.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def configuration(cloud: Cloud, deployment: Deployment, notebooks: Sequence[Path], to: Path) -> dict[str, Any]:
    """Return the content of databricks.yml as plain data."""
    root = cloud.root(deployment.name)
    keys = _keys([_relative(each, to) for each in notebooks])
    return {
        "bundle": {"name": deployment.name},
        "targets": {"default": {"default": True}},
        "resources": {
            "clusters": {_CLUSTER: cloud.definition(deployment, deployment.clusters[0])},
            "jobs": {key: _job(deployment.name, each, key, f"{root}/runs/bundle/{key}") for each, key in keys.items()},
        },
    }


def as_yaml(value: Mapping[str, Any]) -> str:
    """Return plain data as YAML. Texts are quoted as in JSON, which is valid YAML."""
    return "".join(f"{line}\n" for line in _lines(value))


def _job(name: str, notebook: str, key: str, results: str) -> dict[str, Any]:
    task = {
        "task_key": key,
        "existing_cluster_id": f"${{resources.clusters.{_CLUSTER}.id}}",
        "notebook_task": {
            "notebook_path": f"./{notebook}",
            "base_parameters": {"results": results},
        },
    }
    # Two concurrent runs would share the servers.
    return {"name": f"{name}: {notebook}", "max_concurrent_runs": 1, "tasks": [task]}


def _relative(notebook: Path, to: Path) -> str:
    if not notebook.is_file():
        raise ConfigurationError(f"there is no notebook {notebook}")
    try:
        return notebook.resolve().relative_to(to.resolve()).as_posix()
    except ValueError:
        raise ConfigurationError(f"{notebook} is not in {to} or below it, as a bundle wants; copy it there") from None


def _keys(notebooks: Sequence[str]) -> dict[str, str]:
    """Return notebook -> key of its job: the name without suffix, or the whole path if two notebooks have one name."""
    stems = {each: re.sub(r"\W", "_", Path(each).stem) for each in notebooks}
    uses = Counter(stems.values())
    keys = dict[str, str]()
    for each, stem in stems.items():
        path = re.sub(r"\W", "_", each.removesuffix(".ipynb"))
        choices = chain([stem] if uses[stem] == 1 else [], [path], (f"{path}_{number}" for number in count(2)))
        keys[each] = next(choice for choice in choices if choice not in keys.values())
    return keys


def _lines(value: Any) -> Iterator[str]:
    """Yield the lines of a mapping or a list, in block style."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _entry(f"{json.dumps(str(key))}:", each)
    else:
        for each in value:
            yield from _entry("-", each)


def _entry(before: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping | list) and value:
        yield before
        for line in _lines(value):
            yield f"  {line}"
    else:
        yield f"{before} {json.dumps(value)}"
