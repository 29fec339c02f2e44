"""Run one task on every executor, once they have registered: the only barrier and RDD code. Knows no servers.

`plan_tasks` waits for the executors and decides how to reach them; `on_each_executor` runs the task. Driver, but for
what a task calls. A barrier task never raises: a raise while its peers wait kills their executors or orphans what they
started. Each task returns an outcome, and only the driver raises. Where Spark allows no barrier the tasks run without
one.
"""

from __future__ import annotations

import functools
import json
import logging
import pickle
import re
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from server_utils.errors import PlacementError, SidecarError
from server_utils.host.processes import ProcessId, ancestor
from server_utils.host.redaction import has_password, is_secret
from server_utils.spark import session, worker_python
from server_utils.spark.session import ExecutorPlan, conf, gpus_per_executor, is_connect, run, slots

logger = logging.getLogger(__name__)
_PAUSE_S = 0.05
_TASK = "SPARK_SIDECAR_TASK"  # as `backends.triton.task_context` reads it
_NUMBERS = ("partitionId", "stageId", "attemptNumber", "taskAttemptId", "cpus")
# More than is refused in a cluster's settings: what is left out here is missed by nobody, so doubtful names are.
_MAY_BE_SECRET = re.compile(r"secret|password|token(?!iz)|access[._-]?key|credential", re.IGNORECASE)
_PROPERTIES_BYTES = 64 << 10  # a variable of the environment has 128 KB at most
_QUIET_S = 30.0  # after so long without a new executor no more seem to come


@dataclass(frozen=True)
class TaskPlacement:
    """Where a task runs, and how it reaches its peers.

    owner: the executor's JVM. gpus: the addresses that Spark gave the task, in its order.
    exchange: sends a message to all peers and returns everybody's. It takes about a second in a barrier stage
        (BarrierTaskContext sleeps that long). Without a barrier it returns the task's own message alone.
    environ: variables that describe the task to a server that it starts.
    """

    owner: ProcessId
    gpus: tuple[str, ...]
    exchange: Callable[[str], list[str]]
    environ: Mapping[str, str] = field(default_factory=dict)


def current_placement(exchange: Callable[[str], list[str]] | None = None) -> TaskPlacement:
    """The placement of the running task. Raises PlacementError outside of an executor."""
    from pyspark import TaskContext

    owner = ancestor("java")
    if owner is None:
        raise PlacementError("no JVM among the ancestors of this process: this runs only inside a Spark task")
    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context else None
    environ = {_TASK: json.dumps(_describe(context))} if context else {}
    return TaskPlacement(owner, tuple(gpu.addresses) if gpu else (), exchange or _without_peers, environ)


def _describe(context: Any) -> dict[str, Any]:
    """A `TaskContext` as plain data, without local properties that are secret or too long: the shortest are kept.

    Spark makes all settings of a session local properties of its queries, also keys for storage.
    """
    from pyspark import BarrierTaskContext

    properties: Mapping[str, str] = getattr(context, "_localProperties", None) or {}
    kept, left_bytes = dict[str, str](), _PROPERTIES_BYTES
    for key, value in sorted(properties.items(), key=lambda pair: len(pair[1])):
        left_bytes -= len(json.dumps({key: value}))
        if left_bytes > 0 and not (is_secret(key) or _MAY_BE_SECRET.search(key) or has_password(value)):
            kept[key] = value
    return {
        **{name: getattr(context, name)() for name in _NUMBERS},
        "cpuAmount": str(context.cpuAmount()) if hasattr(context, "cpuAmount") else None,
        "resources": {name: list(each.addresses) for name, each in context.resources().items()},
        "localProperties": kept,
        "leftOut": sorted(set(properties) - set(kept)),
        "barrier": isinstance(context, BarrierTaskContext),
    }


def on_each_executor(
    spark: Any, task: Callable[[TaskPlacement], Any], *, timeout_s: float, plan: session.ExecutorPlan | None = None
) -> list[Any]:
    """Run a picklable task once on every executor (at least once where Spark allows no barrier).

    timeout_s: seconds after which the Spark job is cancelled; a task that watches the time itself ends before that.
    plan: from `plan_tasks`, for a caller that runs several tasks one after the other: over Connect it takes two jobs.

    Raises:
        PlacementError: Spark could not place the tasks in time, or a task raised what it should not.
    """
    deadline = time.monotonic() + timeout_s
    plan = plan or plan_tasks(spark, deadline=deadline)
    logger.info("%d tasks on the executors of %s: %s", plan.tasks, plan.master, plan.why)
    outcome = functools.partial(_run_task, task, plan.barrier)
    with _cancelling(spark, max(deadline - time.monotonic(), 1.0)) as cancelled:
        try:
            rows = session.run(spark, outcome, plan)
        except Exception as error:  # Spark names no common class for what it raises
            raise PlacementError(_explain(spark, error, timeout_s, late=cancelled.is_set())) from error
    failures = [value for worked, value in rows if not worked]
    if failures:
        raise PlacementError(f"{failures[0]}\n({len(failures)} of {len(rows)} tasks failed; this was the first)")
    return [value for _, value in rows]


def _run_task(task: Callable[[TaskPlacement], Any], barrier: bool) -> bytes:  # noqa: FBT001 - bound by partial, called by Spark
    """Run the task on its executor."""
    try:
        return pickle.dumps((True, task(current_placement(_all_gather if barrier else None))))
    except SidecarError as error:
        return pickle.dumps((False, str(error)))
    except Exception:  # noqa: BLE001 - a barrier task never raises, see above
        return pickle.dumps((False, traceback.format_exc()))


def _all_gather(message: str) -> list[str]:
    from pyspark import BarrierTaskContext

    return list(BarrierTaskContext.get().allGather(message))


def _without_peers(message: str) -> list[str]:
    time.sleep(_PAUSE_S)  # the pace of a caller's loop where no peer sets it
    return [message]


@contextmanager
def _cancelling(spark: Any, seconds: float) -> Iterator[threading.Event]:
    """Cancel the jobs of this block after a time: a barrier stage without free slots waits for ever."""
    tag, late = f"spark-sidecar-{uuid.uuid4().hex}", threading.Event()

    def cancel() -> None:
        late.set()
        session.cancel(spark, tag)

    timer = threading.Timer(seconds, cancel)
    timer.daemon = True
    session.add_tag(spark, tag)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        session.remove_tag(spark, tag)


def _explain(spark: Any, error: Exception, timeout_s: float, *, late: bool) -> str:
    if late:
        return (
            f"Spark had no free slot on every executor within {timeout_s:.0f} s. Another job probably holds them: wait "
            "for it, or give the application more cores"
        )
    return str(error) if isinstance(error, SidecarError) else worker_python.explain(spark, error)


def plan_tasks(spark: Any, *, deadline: float) -> ExecutorPlan:
    """How to reach every executor of a session, once they have registered."""
    master = conf(spark, "spark.master") or ""
    if re.match(r"local(\[|$)", master):
        return ExecutorPlan(master, 1, barrier=False, profile=None, why="in local mode the driver is the only executor")
    executors, slots = _wait_for_executors(spark, master, deadline)
    if _is_dynamic(spark):
        why = "no barrier under dynamic allocation; executors that come later start their server at their first task"
        return ExecutorPlan(master, max(slots, 1), barrier=False, profile=None, why=why)
    cores = max(slots * int(conf(spark, "spark.task.cpus") or 1) // executors, 1)
    return ExecutorPlan(
        master, executors, barrier=True, profile=_one_per_executor(spark, cores), why="one barrier task each"
    )


def _is_dynamic(spark: Any) -> bool:
    return (conf(spark, "spark.dynamicAllocation.enabled") or "").lower() == "true"


def _one_per_executor(spark: Any, cores: int) -> Any:
    """A profile with more than half of an executor's cores: two such tasks never share an executor.

    A GPU amount alone cannot do that (SPARK-45527).
    """
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    requests = TaskResourceRequests().cpus(cores // 2 + 1)
    gpus = gpus_per_executor(spark)
    return ResourceProfileBuilder().require(requests.resource("gpu", gpus) if gpus else requests).build


def _wait_for_executors(spark: Any, master: str, deadline: float) -> tuple[int, int]:
    """Executors and task slots, once all requested executors have registered, or no more seem to come.

    The first one has all the time until the deadline: a cluster may have to make room for it. Under dynamic allocation
    there may be none until a job asks for one.
    """
    requested = _requested(spark, master)
    count = _count_by_job if is_connect(spark) else _count_by_scheduler
    began, executors, slots = time.monotonic(), 0, 0
    quiet_until = began + _QUIET_S if _is_dynamic(spark) else deadline
    while True:
        before = executors
        executors, slots = count(spark)
        if executors != before:
            quiet_until = time.monotonic() + _QUIET_S
        if executors >= requested or time.monotonic() > min(quiet_until, deadline):
            break
        time.sleep(0.2)
    if not executors and not _is_dynamic(spark):
        waited_s = time.monotonic() - began
        raise PlacementError(
            f"no executor of the application has registered within {waited_s:.0f} s; see in the cluster's manager or "
            "the driver's log what it waits for (cores, memory, GPUs), or allow more with timeout_s="
        )
    if executors < requested:
        logger.warning(
            "%d of %d executors have registered; later ones start their server at their first task",
            executors,
            requested,
        )
    return executors, slots


def _requested(spark: Any, master: str) -> int:
    """How many executors the application has asked for."""
    local_cluster = None if _is_dynamic(spark) else re.match(r"local-cluster\[\s*(\d+)", master)
    return int(local_cluster[1] if local_cluster else conf(spark, "spark.executor.instances") or 1)


def _count_by_scheduler(spark: Any) -> tuple[int, int]:
    """Executors and slots from the scheduler. The status tracker counts the driver as an executor."""
    scala = spark.sparkContext._jsc.sc()  # noqa: SLF001 - no public way in Python
    default = scala.resourceProfileManager().resourceProfileFromId(0)
    executors = len(list(scala.statusTracker().getExecutorInfos())) - 1
    slots = int(scala.maxNumConcurrentTasks(default))
    return (executors, slots) if slots else (0, 0)


def _count_by_job(spark: Any) -> tuple[int, int]:
    """Executors and slots over Connect, which has no scheduler to ask: by a job with a task per default slot."""
    tasks = slots(spark)
    try:
        rows = run(spark, _executor, ExecutorPlan("", tasks, barrier=False, profile=None, why=""))
    except Exception as error:  # Spark names no common class for what it raises
        raise PlacementError(worker_python.explain(spark, error)) from error
    return len(set(rows)), tasks


def _executor() -> bytes:
    from server_utils.host.processes import ancestor

    return pickle.dumps(ancestor("java"))
