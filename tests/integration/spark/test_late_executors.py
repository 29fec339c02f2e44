"""Executors that take their time, or never come: a cluster has to make room for them first."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from integration.spark import tiny_models
from integration.spark.conftest import CLUSTER, executors, in_background, own_session
from server_utils import PlacementError
from server_utils.spark import executors as spark_executors

pytestmark = own_session


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """A file without which no executor starts."""
    return tmp_path_factory.mktemp("late") / "go"


@pytest.fixture(scope="module")
def spark(sessions, go):
    java = go.parent / "bin" / "java"
    java.parent.mkdir()
    real = shlex.quote(str(Path(shutil.which("java")).resolve()))
    java.write_text(f'#!/bin/sh\nuntil [ -e {shlex.quote(str(go))} ]; do sleep 0.1; done\nexec {real} "$@"\n')
    java.chmod(0o755)
    return sessions.get(CLUSTER, {"spark.executorEnv.JAVA_HOME": str(go.parent)})


def test_executors_that_never_come_are_told_once_the_time_is_up(manager):
    with pytest.raises(PlacementError, match=r"no executor .* within \d+ s; .* timeout_s="):
        manager("never").start_servers(tiny_models.whoami, timeout_s=1)


def test_a_start_waits_for_its_first_executor_as_long_as_it_has_time(manager, go, monkeypatch):
    servers = manager("late")
    looked = spark_executors._count_by_scheduler
    looks = iter(range(1_000_000))

    def count(spark):
        if next(looks) == 25:  # after five seconds
            go.touch()
        return looked(spark)

    monkeypatch.setattr(spark_executors, "_QUIET_S", 3)
    monkeypatch.setattr(spark_executors, "_count_by_scheduler", count)
    in_background(lambda: servers.start_servers(tiny_models.whoami)).result(timeout=300)

    assert {server.owner.pid for server in servers.status()} <= set(executors())
    assert servers.status()
