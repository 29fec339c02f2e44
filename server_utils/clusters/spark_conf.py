"""The Spark settings that a node gets: one formula for every platform, shape and tool. Laptop and driver; sets none.

One executor per node, with all GPUs of the node, and one server beside it. `docs/clusters.md` has the table of all
settings, made from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server_utils.clusters.catalogue import Node
from server_utils.errors import ConfigurationError

# YARN gives containers 80 % of a Dataproc worker's memory, and needs a core and 1 GiB on one of the workers for the
# application's master.
_YARN_SHARE = 0.8
_YARN_MASTER_CORES = 1
_YARN_MASTER_GIB = 2
# Rows pass through an executor's heap, models do not: more of it is taken from them.
_HEAP_SHARE = 4
_LARGEST_HEAP_GIB = 64
# What the RAPIDS Accelerator may take of a GPU; the rest is the server's.
_RAPIDS_SHARE = "0.2"


@dataclass(frozen=True)
class Setting:
    """A setting of Spark and the reason for it, in one sentence."""

    key: str
    value: str
    why: str


def recommended(node: Node, *, rapids: bool = False, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """The Spark settings for workers of this node type; what the user overrides is merged last.

    Args:
        node: a row of the catalogue.
        rapids: whether Spark's own SQL runs on the GPU as well, with the RAPIDS Accelerator. Its jar is the user's.
        overrides: settings that replace ours or are added.

    Raises:
        ConfigurationError: if RAPIDS is asked for on a node with several GPUs.
    """
    ours = {each.key: each.value for each in explained(node, rapids=rapids)}
    return ours | dict(overrides or {})


def explained(node: Node, *, rapids: bool = False) -> tuple[Setting, ...]:
    """The same settings with their reasons, in the order of the document.

    Raises:
        ConfigurationError: as `recommended`.
    """
    on_yarn = node.platform == "dataproc"
    return (
        *_cores_and_gpus(node, on_yarn=on_yarn),
        *_memory(node, on_yarn=on_yarn),
        *_python(),
        *(_yarn() if on_yarn else ()),
        *(_rapids(node) if rapids else ()),
    )


def executor_cores(node: Node) -> int:
    """How many tasks the executor of a node runs at once."""
    return node.vcpus - (_YARN_MASTER_CORES if node.platform == "dataproc" else 0)


def _cores_and_gpus(node: Node, *, on_yarn: bool) -> tuple[Setting, ...]:
    left = ", less the one that YARN needs for the application's master" if on_yarn else ""
    return (
        Setting(
            "spark.executor.cores",
            str(executor_cores(node)),
            f"one executor per node with all its cores{left}: tasks only send rows, so as many run as there are cores",
        ),
        Setting(
            "spark.executor.resource.gpu.amount",
            str(node.gpus),
            "the executor owns every GPU of its node, so that its server may spread a model over all of them",
        ),
        Setting(
            "spark.task.resource.gpu.amount",
            _share_of_gpu(node),
            "a task sends rows to the server and needs no GPU of its own: the share is so small that cores, "
            "not GPUs, limit how many tasks run",
        ),
    )


def _share_of_gpu(node: Node) -> str:
    # Spark gives each GPU floor(1 / share) slots: rounded down here, so that every core gets one.
    slots = -(-executor_cores(node) // node.gpus)
    return f"{10_000 // slots / 10_000:.4f}"


def heap_gib(node: Node) -> int:
    """The heap of a node's executor."""
    return min(node.ram_gib // _HEAP_SHARE, _LARGEST_HEAP_GIB)


def _memory(node: Node, *, on_yarn: bool) -> tuple[Setting, ...]:
    heap = Setting(
        "spark.executor.memory",
        f"{heap_gib(node)}g",
        "a quarter of the node's memory and 64 GiB at most: the rest is for Python, the server, and the page cache "
        "that a model's weights are read through",
    )
    if not on_yarn:
        return (heap,)
    # Databricks runs no YARN: nothing there kills what takes more than it asked for.
    outside = int(node.ram_gib * _YARN_SHARE) - _YARN_MASTER_GIB - heap_gib(node)
    return (
        heap,
        Setting(
            "spark.executor.memoryOverhead",
            f"{outside}g",
            "YARN counts Python and the server as the executor's and kills what takes more: all the memory that it "
            "has to give beside the heap",
        ),
    )


def _python() -> tuple[Setting, ...]:
    return (
        Setting(
            "spark.python.worker.reuse",
            "true",
            "a Python worker keeps its connections to the server from task to task",
        ),
        Setting(
            "spark.sql.execution.arrow.pyspark.enabled",
            "true",
            "rows reach the driver's pandas as Arrow columns, not as pickled rows",
        ),
    )


def _yarn() -> tuple[Setting, ...]:
    return (
        Setting(
            "spark.dynamicAllocation.enabled",
            "false",
            "executors that come and go take their servers with them, and each new one loads the model again",
        ),
        Setting(
            "spark.executor.resource.gpu.discoveryScript",
            "/opt/spark-sidecar/bin/gpu-addresses.sh",
            "on YARN an executor asks a script for its GPUs; the init action installs this one on every node",
        ),
    )


def _rapids(node: Node) -> tuple[Setting, ...]:
    if node.gpus > 1:
        raise ConfigurationError(
            f"the RAPIDS Accelerator supports one GPU per executor, and an executor on {node.node_type} "
            f"({node.platform} {node.shape}) has {node.gpus}; leave it out, or take a shape with one GPU"
        )
    why = "the RAPIDS Accelerator takes no more than a fifth of the GPU: the rest is the server's"
    return (
        Setting("spark.plugins", "com.nvidia.spark.SQLPlugin", "Spark's own SQL runs on the GPU too"),
        Setting("spark.rapids.memory.gpu.allocFraction", _RAPIDS_SHARE, why),
        Setting("spark.rapids.memory.gpu.maxAllocFraction", _RAPIDS_SHARE, why),
        Setting("spark.rapids.memory.gpu.minAllocFraction", "0", "its default, a quarter, is more than it may take"),
        Setting("spark.rapids.sql.concurrentGpuTasks", "1", "one task at a time fits into so small a share"),
    )
