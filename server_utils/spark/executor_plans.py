"""How to reach every executor of a session, once they are there. Driver."""

from __future__ import annotations

import logging
import pickle
import re
import time
from typing import Any

from server_utils.errors import PlacementError
from server_utils.spark import worker_python
from server_utils.spark.session import Plan, conf, gpus_per_executor, is_connect, run, slots

logger = logging.getLogger(__name__)

_SETTLE_S = 30.0  # without a new executor: no more seem to come


def plan(spark: Any, *, deadline: float) -> Plan:
    """How to reach every executor of a session, once they have registered."""
    master = conf(spark, "spark.master") or ""
    if re.match(r"local(\[|$)", master):
        return Plan(master, 1, barrier=False, profile=None, why="in local mode the driver is the only executor")
    executors, slots = _settled(spark, master, deadline)
    if _is_dynamic(spark):
        why = "no barrier under dynamic allocation; executors that come later start their server at their first task"
        return Plan(master, max(slots, 1), barrier=False, profile=None, why=why)
    cores = max(slots * int(conf(spark, "spark.task.cpus") or 1) // executors, 1)
    return Plan(master, executors, barrier=True, profile=_one_per_executor(spark, cores), why="one barrier task each")


def _is_dynamic(spark: Any) -> bool:
    return (conf(spark, "spark.dynamicAllocation.enabled") or "").lower() == "true"


def _one_per_executor(spark: Any, cores: int) -> Any:
    """More than half of an executor's cores: two such tasks never share one.

    A GPU amount alone cannot do that (SPARK-45527).
    """
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    requests = TaskResourceRequests().cpus(cores // 2 + 1)
    gpus = gpus_per_executor(spark)
    return ResourceProfileBuilder().require(requests.resource("gpu", gpus) if gpus else requests).build


def _settled(spark: Any, master: str, deadline: float) -> tuple[int, int]:
    """Executors and task slots, once as many executors are there as were asked for, or no more seem to come.

    The first one has all the time there is: a cluster may have to make room for it. Under dynamic allocation there may
    be none until a job asks for one.
    """
    asked = None if _is_dynamic(spark) else re.match(r"local-cluster\[\s*(\d+)", master)
    wanted = int(asked[1] if asked else conf(spark, "spark.executor.instances") or 1)
    count = _count_by_job if is_connect(spark) else _count
    began, found = time.monotonic(), (0, 0)
    patience = began + _SETTLE_S if _is_dynamic(spark) else deadline
    while True:
        before, found = found, count(spark)
        if found[0] != before[0]:
            patience = time.monotonic() + _SETTLE_S
        if found[0] >= wanted or time.monotonic() > min(patience, deadline):
            break
        time.sleep(0.2)
    if not found[0] and not _is_dynamic(spark):
        waited_s = time.monotonic() - began
        raise PlacementError(
            f"no executor of the application has registered within {waited_s:.0f} s; see in the cluster's manager or "
            "the driver's log what it waits for (cores, memory, GPUs), or allow more with timeout_s="
        )
    if found[0] < wanted:
        logger.warning(
            "%d of %d executors are there; later ones start their server at their first task", found[0], wanted
        )
    return found


def _count(spark: Any) -> tuple[int, int]:
    """Executors and slots by the scheduler. The status tracker counts the driver as one."""
    scala = spark.sparkContext._jsc.sc()  # noqa: SLF001 - no public way in Python
    default = scala.resourceProfileManager().resourceProfileFromId(0)
    executors = len(list(scala.statusTracker().getExecutorInfos())) - 1
    slots = int(scala.maxNumConcurrentTasks(default))
    return (executors, slots) if slots else (0, 0)


def _count_by_job(spark: Any) -> tuple[int, int]:
    """Executors and slots over Connect, which has no scheduler to ask: a job with a task per default slot tells."""
    found = slots(spark)
    try:
        rows = run(spark, _who, Plan("", found, barrier=False, profile=None, why=""))
    except Exception as error:  # Spark names no common class for what it raises
        raise PlacementError(worker_python.why_not(spark, error)) from error
    return len(set(rows)), found


def _who() -> bytes:
    from server_utils.host.processes import ancestor

    return pickle.dumps(ancestor("java"))
