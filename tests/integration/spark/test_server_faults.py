"""Servers that are killed or stopped in the middle of a job: it finishes, without a failed task."""

from __future__ import annotations

import dataclasses
import signal

import pytest

from integration.spark import tiny_models
from integration.spark.conftest import answers, in_background, part, rows, server_pids, wait_for_states
from server_utils import TritonServerManager

BACKEND = "triton_python_backend_stub"


@pytest.fixture(scope="module")
def servers(spark, gate):
    with TritonServerManager("gated", str(gate.folder), spark=spark) as manager:
        manager.start_servers(tiny_models.gated, hang_timeout_s=8, max_restarts=20)
        yield manager


@pytest.mark.parametrize("name", ["leader", "tritonserver", BACKEND])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_job_survives_what_happens_to_a_server(spark, servers, gate, name, number):
    gate.close()
    before = wait_for_states(servers, "ready", "ready")
    hit, other = before
    job = in_background(lambda: answers(rows(spark, servers.tensors("id", batch_rows=10))))
    gate.wait_for(server.process.pid for server in before)

    (hit.process if name == "leader" else part(hit, name)).signal(number)
    gate.open()

    found = job.result(timeout=120)
    after = {server.executor: server for server in wait_for_states(servers, "ready", "ready")}
    assert after[hit.executor].restarts == hit.restarts + 1
    assert after[hit.executor].reason
    assert dataclasses.replace(after[other.executor], rows=other.rows) == other
    assert server_pids(found) >= {after[hit.executor].process.pid, other.process.pid}
