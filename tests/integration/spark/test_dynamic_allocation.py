"""Executors that come and go: those that come later start their server at their first task."""

from __future__ import annotations

import pytest
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import CLUSTER, answers, executors, in_background, rows, server_pids
from server_utils import TritonServerManager
from server_utils.host.processes import wait_until
from server_utils.spark import executors as spark_executors

_SETTINGS = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.executorIdleTimeout": "300s",
    "spark.dynamicAllocation.initialExecutors": "1",
    "spark.dynamicAllocation.maxExecutors": "2",
    "spark.dynamicAllocation.minExecutors": "1",
    "spark.dynamicAllocation.schedulerBacklogTimeout": "3s",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
}
_NONE_AT_FIRST = ("spark.dynamicAllocation.initialExecutors", "spark.dynamicAllocation.minExecutors")


pytestmark = pytest.mark.session(CLUSTER, _SETTINGS)


def test_an_executor_that_comes_later_gets_its_server_at_its_first_task(spark, manager, gate):
    servers = manager("gated", str(gate.folder))
    servers.start_servers(tiny_models.gated)
    assert len(servers.status()) == len(executors()) == 1

    job = in_background(lambda: answers(rows(spark, servers.tensors("id", batch_rows=10), count=800, partitions=8)))
    assert wait_until(lambda: len(gate.waiting()) == 2, 180)
    gate.open()

    assert server_pids(job.result(timeout=120)) == {server.process.pid for server in servers.status()}
    assert sorted(server.owner.pid for server in servers.status()) == executors()


@pytest.mark.session(CLUSTER, _SETTINGS | dict.fromkeys(_NONE_AT_FIRST, "0"))
def test_the_first_executor_comes_with_a_task_of_the_start_where_there_is_none_before_it(
    sessions, state_root, monkeypatch
):
    spark = sessions.get(CLUSTER, _SETTINGS | dict.fromkeys(_NONE_AT_FIRST, "0"))
    monkeypatch.setattr(spark_executors, "_QUIET_S", 0)
    assert not executors()

    with TritonServerManager("nobody yet", spark=spark) as servers:
        servers.start_servers(tiny_models.whoami)

        assert [server.owner.pid for server in servers.status()] == executors()
        assert answers(rows(spark, servers.tensors("id"), count=20))
    assert not processes_of(state_root)
