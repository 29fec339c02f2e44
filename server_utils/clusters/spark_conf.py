"""The Spark settings that a node gets: one formula for every platform, shape and tool. Laptop and driver; sets none.

One executor per node, with all GPUs of the node, and one server beside it. `docs/clusters.md` has the table of all
settings, made from this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from server_utils.clusters.catalogue import Node
from server_utils.errors import ConfigurationError

# What YARN may not give away on a node of Dataproc: the system, its daemons, and the page cache. On a single node the
# master's daemons (HDFS, YARN's resource manager, history server, Jupyter) run too.
_SYSTEM_SHARE = 5  # one part in five
_SYSTEM_GIB = 8
_MASTER_GIB = 4
# The application's master needs a core and 1 GiB on one of the workers.
_YARN_MASTER_CORES = 1
_YARN_MASTER_GIB = 2
# A heap of 1 GiB, and as much beside it.
_LEAST_EXECUTOR_GIB = 2
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


def recommended(
    node: Node, *, rapids: bool = False, single_node: bool = False, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The Spark settings for workers of this node type; what the user overrides is merged last.

    Args:
        node: a row of the catalogue.
        single_node: whether the cluster is this node alone, with Spark's driver on it.
        rapids: whether Spark's own SQL runs on the GPU as well, with the RAPIDS Accelerator. Its jar is the user's.
        overrides: settings that replace ours or are added.

    Raises:
        ConfigurationError: if RAPIDS is asked for on a node with several GPUs, or YARN has no memory for an executor.
    """
    ours = {each.key: each.value for each in explained(node, rapids=rapids, single_node=single_node)}
    return ours | dict(overrides or {})


def explained(node: Node, *, rapids: bool = False, single_node: bool = False) -> tuple[Setting, ...]:
    """The same settings with their reasons, in the order of the document.

    Raises:
        ConfigurationError: as `recommended`.
    """
    on_yarn = node.platform == "dataproc"
    if single_node and not on_yarn:
        return (*_local_mode(), *_python())
    return (
        *_cores_and_gpus(node, on_yarn=on_yarn),
        *_memory(node, single_node=single_node),
        *_python(),
        *(_yarn() if on_yarn else ()),
        *(_rapids(node) if rapids else ()),
    )


def properties(node: Node, *, single_node: bool = False) -> dict[str, str]:
    """The cluster properties of Dataproc that must fit the Spark settings, with their prefixes; none on Databricks.

    YARN's memory is set, because no document of Google's says which share of a node it is. YARN's watch on memory is
    off: it would count a server as its executor's, but only as long as the Python worker that started it lives.
    """
    if node.platform != "dataproc":
        return {}
    memory = str(yarn_gib(node, single_node=single_node) * 1024)
    return {
        "yarn:yarn.nodemanager.pmem-check-enabled": "false",
        "yarn:yarn.nodemanager.resource.memory-mb": memory,
        "yarn:yarn.nodemanager.vmem-check-enabled": "false",
        "yarn:yarn.scheduler.maximum-allocation-mb": memory,
    }


def yarn_gib(node: Node, *, single_node: bool = False) -> int:
    """The memory of a Dataproc node that YARN gives to executors and to the application's master."""
    system = max(-(-node.ram_gib // _SYSTEM_SHARE), _SYSTEM_GIB)
    return node.ram_gib - system - (_MASTER_GIB if single_node else 0)


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
    return max(min(node.ram_gib // _HEAP_SHARE, _LARGEST_HEAP_GIB), 1)


def _memory(node: Node, *, single_node: bool) -> tuple[Setting, ...]:
    if node.platform != "dataproc":
        return (_heap(heap_gib(node)),)
    executor_gib = yarn_gib(node, single_node=single_node) - _YARN_MASTER_GIB
    if executor_gib < _LEAST_EXECUTOR_GIB:
        raise ConfigurationError(
            f"ram_gib of {node.node_type} is {node.ram_gib}, which leaves YARN no memory for an executor beside the "
            f"system's; take a node with {node.ram_gib + _LEAST_EXECUTOR_GIB - executor_gib} GiB or more"
        )
    # On the smallest nodes a quarter of the memory is more than YARN has left.
    heap = max(min(heap_gib(node), executor_gib // 2), 1)
    return (
        _heap(heap),
        Setting(
            "spark.executor.memoryOverhead",
            f"{max(executor_gib - heap, 1)}g",
            "all the memory that YARN has to give beside the heap, so that one executor fills the node: Python and the "
            "server take it",
        ),
    )


def _heap(gib: int) -> Setting:
    return Setting(
        "spark.executor.memory",
        f"{gib}g",
        "a quarter of the node's memory and 64 GiB at most: the rest is for Python, the server, and the page cache "
        "that a model's weights are read through",
    )


def _local_mode() -> tuple[Setting, ...]:
    why = "Spark runs in local mode: it has no executors, and would wait for ever for any that ask for GPUs"
    return (
        Setting("spark.databricks.cluster.profile", "singleNode", why),
        Setting("spark.master", "local[*]", why),
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
