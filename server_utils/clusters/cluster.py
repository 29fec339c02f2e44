"""What a cluster of a platform, shape and framework is made of: looked up, never decided here. Laptop and driver.

`render` puts all of it into one file, `data/clusters.json`, for tools that do not speak Python.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from server_utils.clusters import spark_conf
from server_utils.clusters.catalogue import Node, node, nodes, platforms
from server_utils.environments.lock_files import FOLDER, cuda_of
from server_utils.errors import ConfigurationError
from server_utils.host.gpus import OLDEST_DRIVER
from server_utils.validation import unknown

# On YARN an application without dynamic allocation starts two executors, however many workers there are.
_WORKER_COUNT_CONF = {"dataproc": "spark.executor.instances"}
IDLE_MINUTES = 60


@dataclass(frozen=True)
class Runtime:
    """A Databricks Runtime or a Dataproc image. `cuda` is None where the image has no GPU driver."""

    kind: str
    name: str
    spark: str
    python: str
    cuda: str | None
    until: str
    source: str


@dataclass(frozen=True)
class Cluster:
    """A cluster before any platform's API is spoken; every value is what the platform calls it."""

    node: Node
    driver_node_type: str
    runtime: Runtime
    framework: str
    workers: int
    conf: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


def frameworks() -> list[str]:
    """The frameworks that a cluster can be made for."""
    return list(_facts()["frameworks"])


def runtimes(platform: str) -> list[Runtime]:
    """The runtimes or images of a platform, oldest first.

    Raises:
        ConfigurationError: if there is no such platform.
    """
    kind = _platform(platform)["runtimes"]
    return [Runtime(**each) for each in _facts()["runtimes"] if each["kind"] == kind]


def environment(framework: str) -> str:
    """The sealed environment that a framework runs in.

    Raises:
        ConfigurationError: if there is no such framework.
    """
    return str(_framework(framework)["environment"])


def cluster(
    platform: str,
    shape: str,
    framework: str,
    *,
    workers: int = 2,
    runtime: str | None = None,
    rapids: bool = False,
    conf: dict[str, str] | None = None,
    env: dict[str, str] | None = None,
) -> Cluster:
    """The cluster for a shape; what the user gives in conf and env is merged last.

    Raises:
        ConfigurationError: if platform, shape, framework or runtime do not exist, workers is not positive, or the
            RAPIDS Accelerator does not run on the shape. The message lists what exists.
    """
    row = node(platform, shape)
    if workers < 1:
        raise ConfigurationError(f"a cluster needs at least one worker, not {workers}: servers run beside executors")
    counted = _WORKER_COUNT_CONF.get(platform)
    ours = spark_conf.recommended(row, rapids=rapids) | ({counted: str(workers)} if counted else {})
    return Cluster(
        node=row,
        driver_node_type=_platform(platform)["driver_node_type"],
        runtime=_runtime(platform, runtime),
        framework=framework,
        workers=workers,
        conf=ours | (conf or {}),
        env=_env(framework) | (env or {}),
    )


def doubt(cluster: Cluster) -> str | None:
    """What is not known about a cluster before it starts: whether its driver runs what is locked. None if all is.

    A runtime states its CUDA, and its driver runs that major version at least; it may be newer than it needs to be.
    """
    lock = FOLDER / f"{environment(cluster.framework)}-cuda.txt"
    built = cuda_of(lock)
    theirs = cluster.runtime.cuda
    if built is None or (theirs is not None and built[0] <= int(theirs.partition(".")[0])):
        return None
    has = f"states CUDA {theirs}" if theirs else "brings no driver"
    return (
        f"{lock.name} is built for CUDA {built[0]}, which needs driver {OLDEST_DRIVER[built[0]]} or newer, and "
        f"{cluster.runtime.name} {has}; whether its driver is new enough, the init script says on the first node"
    )


def render() -> str:
    """The whole of `data/clusters.json`, as text."""
    content = {"$schema": "./clusters.schema.json", "platforms": {name: _rendered(name) for name in platforms()}}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _rendered(platform: str) -> dict[str, Any]:
    facts = _platform(platform)
    return {
        "driver_node_type": facts["driver_node_type"],
        "runtime": facts["runtime"],
        "runtimes": {
            each.name: {"spark": each.spark, "python": each.python, "cuda": each.cuda} for each in runtimes(platform)
        },
        "worker_count_conf": _WORKER_COUNT_CONF.get(platform),
        "frameworks": {name: {"env": _env(name)} for name in frameworks()},
        "shapes": {each.shape: _rendered_shape(each) for each in nodes(platform)},
    }


def _rendered_shape(row: Node) -> dict[str, Any]:
    conf = spark_conf.recommended(row)
    with_rapids = spark_conf.recommended(row, rapids=True) if row.gpus == 1 else None
    return {
        "node_type": row.node_type,
        "gpu": row.gpu,
        "gpus": row.gpus,
        "gpu_memory_gib": row.gpu_memory_gib,
        "vcpus": row.vcpus,
        "ram_gib": row.ram_gib,
        "conf": conf,
        "rapids_conf": with_rapids and {key: value for key, value in with_rapids.items() if key not in conf},
    }


def _env(framework: str) -> dict[str, str]:
    # FRAMEWORK is what the init scripts read, where the cluster's variables reach them.
    return {"FRAMEWORK": framework, **_framework(framework)["env"]}


def _runtime(platform: str, name: str | None) -> Runtime:
    offered = {each.name: each for each in runtimes(platform)}
    chosen = name or _platform(platform)["runtime"]
    if chosen not in offered:
        raise ConfigurationError(unknown(f"runtime of {platform}", chosen, offered=list(offered)))
    return offered[chosen]


def _platform(name: str) -> dict[str, Any]:
    known = _facts()["platforms"]
    if name not in known:
        raise ConfigurationError(unknown("platform", name, offered=list(known)))
    found: dict[str, Any] = known[name]
    return found


def _framework(name: str) -> dict[str, Any]:
    known = _facts()["frameworks"]
    if name not in known:
        raise ConfigurationError(unknown("framework", name, offered=list(known)))
    found: dict[str, Any] = known[name]
    return found


@cache
def _facts() -> dict[str, Any]:
    # importlib.resources and not a path: the package may be imported from a zip (spark.submit.pyFiles).
    text = (files("server_utils") / "data" / "platforms.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts
