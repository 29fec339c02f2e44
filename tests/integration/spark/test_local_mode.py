"""Local mode: the driver is the only executor, and Spark allows neither barriers nor resource profiles."""

from __future__ import annotations

import psutil
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import (
    LOCAL,
    answers,
    in_background,
    kill,
    rows,
    server_pids,
    session,
    wait_for_states,
)

pytestmark = session(LOCAL)


def test_local_mode_has_one_server_below_the_drivers_jvm(spark, manager):
    servers = manager("local")

    servers.start_servers(tiny_models.whoami)

    (server,) = servers.status()
    assert server.owner.pid in [child.pid for child in psutil.Process().children() if child.name() == "java"]
    assert server_pids(answers(rows(spark, servers.tensors("id")))) == {server.process.pid}


def test_a_job_in_local_mode_survives_a_killed_server(spark, manager, gate):
    servers = manager("gated", str(gate.folder))
    servers.start_servers(tiny_models.gated)
    (before,) = servers.status()
    job = in_background(lambda: answers(rows(spark, servers.tensors("id", batch_rows=10))))
    gate.wait_for([before.process.pid])

    kill(before.process)
    gate.open()

    assert len(job.result(timeout=120)) == 400
    (after,) = wait_for_states(servers, "ready")
    assert after.restarts == 1


def test_servers_of_local_mode_can_be_stopped_after_the_session(sessions, spark, state_root, manager):
    servers = manager("left")
    servers.start_servers(tiny_models.whoami)
    sessions.stop()  # the JVM, which is the executor here, stays

    servers.stop_servers()

    assert not processes_of(state_root)
