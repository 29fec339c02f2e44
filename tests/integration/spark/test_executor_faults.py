"""An executor's JVM that is killed: its server goes with it, the next executor gets one of its own."""

from __future__ import annotations

import os
import signal

from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import (
    CLUSTER,
    answers,
    executors,
    in_background,
    rows,
    server_pids,
    session,
    wait_for_states,
)
from server_utils.host.processes import wait_until

pytestmark = session(CLUSTER, spark__task__maxFailures="4")  # Spark counts a lost executor as a failure


def test_the_server_of_a_killed_executor_goes_and_the_next_executor_gets_one(spark, state_root, manager, gate):
    servers = manager("gated", str(gate.folder))
    servers.start_servers(tiny_models.gated)
    gone, stays = servers.status()
    job = in_background(lambda: answers(rows(spark, servers.tensors("id", batch_rows=10))))
    gate.wait_for([gone.process.pid, stays.process.pid])

    os.kill(gone.owner.pid, signal.SIGKILL)

    assert wait_until(lambda: not gone.owner.alive(), 60)
    assert wait_until(lambda: not gone.process.alive() and not gone.supervisor.alive(), 60)
    assert wait_until(lambda: len(executors()) == 2, 90)
    new = next(
        server
        for server in wait_for_states(servers, "stopped", "ready", "ready", seconds=180)
        if server.owner.pid not in (gone.owner.pid, stays.owner.pid)
    )
    gate.wait_for([new.process.pid], seconds=120)
    gate.open()

    found = job.result(timeout=120)
    assert server_pids(found) == {stays.process.pid, new.process.pid}
    assert next(s for s in servers.status() if s.owner == gone.owner).reason == "its executor is gone"
    assert sorted([stays.owner.pid, new.owner.pid]) == executors()
    servers.stop_servers()
    assert not processes_of(state_root)
