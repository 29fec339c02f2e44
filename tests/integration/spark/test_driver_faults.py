"""A driver that is killed: nothing of ours outlives it."""

from __future__ import annotations

import os
import signal
import subprocess

import psutil
import pytest
from support.fakes import processes_of

from integration.spark.conftest import executors, own_session, run_as_user
from server_utils.host.processes import wait_until

pytestmark = own_session

DRIVER = """
from integration.spark import tiny_models
from integration.spark.conftest import CLUSTER, Sessions
from pathlib import Path
from server_utils import TritonServerManager
import sys

spark = Sessions(Path({folder!r})).get(CLUSTER)
servers = TritonServerManager("driver")
servers.start_servers(tiny_models.whoami)
print(*[server.process.pid for server in servers.status()], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def driver(sessions, state_root, tmp_path):
    sessions.stop()  # this one's executors must not be mistaken for that one's
    process = run_as_user(DRIVER.format(folder=str(tmp_path)), stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("victim", ["python", "java"])
def test_nothing_of_ours_outlives_a_killed_driver(driver, state_root, victim):
    servers = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(servers) == 2
    spark = next(child for child in psutil.Process(driver.pid).children() if child.name() == "java")
    below = executors(driver.pid)
    assert len(below) == 2

    os.kill(driver.pid if victim == "python" else spark.pid, signal.SIGKILL)

    assert wait_until(lambda: not processes_of(state_root), 60), processes_of(state_root)
    assert not any(psutil.pid_exists(pid) for pid in servers)
    assert wait_until(lambda: not any(psutil.pid_exists(pid) for pid in below), 60)
