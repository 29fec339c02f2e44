"""The start of a launch on every executor, and how soon it is known to be over. Driver.

Tasks that stay until their peers are ready have to agree on it, and an exchange takes a second (see placement). So the
first seconds are short jobs, whose tasks come back as soon as their own servers are ready; only a start that outlasts
them gets tasks that hold their slots until its end, so that no other job takes these in between.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from server_utils.backends import executor_tasks
from server_utils.backends.executor_tasks import Outcome
from server_utils.servers.launch import Launch
from server_utils.spark import executors, worker_python
from server_utils.spark.executors import on_each_executor

GLANCES, _GLANCE_S = 4, 2.0  # a failure is to be told within three seconds of it
_ROUND_S = 10.0  # the tasks watch the time themselves; a job is cancelled only this much later


def start(spark: Any, launch: Launch) -> list[Outcome]:
    """Start the servers, and wait until all are ready, or one failed and the others were ended.

    Raises PlacementError when Spark has no room for a task on every executor in time.
    """
    deadline = time.monotonic() + launch.start_timeout_s + _ROUND_S
    plan, driver = executors.plan_tasks(spark, deadline=deadline), worker_python.driver(spark)

    def everywhere(task: Any) -> list[Outcome]:
        return on_each_executor(spark, task, timeout_s=deadline - time.monotonic(), plan=plan)

    for _ in range(GLANCES):
        left_s = deadline - time.monotonic() - _ROUND_S
        glance = functools.partial(executor_tasks.glance_here, launch, _GLANCE_S, left_s)
        outcomes = everywhere(functools.partial(executor_tasks.in_a_fitting_python, driver, glance))
        if any(outcome.failure for outcome in outcomes):
            return _told_by_all(outcomes, everywhere(functools.partial(executor_tasks.end_here, launch)))
        if all(len(outcome.servers) == launch.replicas for outcome in outcomes):
            return outcomes
    return everywhere(functools.partial(executor_tasks.start_here, launch, deadline - time.monotonic() - _ROUND_S))


def _told_by_all(first: list[Outcome], last: list[Outcome]) -> list[Outcome]:
    """One outcome per executor: its first failure, else its last word."""
    told = {outcome.owner: outcome for outcome in last}
    told |= {outcome.owner: outcome for outcome in first if outcome.failure}
    return list(told.values())
