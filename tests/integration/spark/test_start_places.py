"""Surroundings in which servers start all the same, or say why not: state folders, limits on memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.fakes import can_mount, may_lift, mounted_noexec

from integration.spark import tiny_models
from integration.spark.conftest import LOCAL, run_as_user, session
from server_utils import ServerStartError, TritonServerManager

# A driver of its own: executors and driver must have the same state folder, and see the same disks.
USER = """
import sys
from pyspark.sql import SparkSession
from server_utils import TritonServerManager
from integration.spark import tiny_models
builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
spark = builder.config("spark.driver.host", "127.0.0.1").config("spark.log.level", "OFF").getOrCreate()
with TritonServerManager("elsewhere", spark=spark) as servers:
    servers.start_servers(tiny_models.whoami, timeout_s=120)
    found = spark.range(100).select("id", servers.tensors("id").alias("answer")).collect()
    print("right", all(row.answer[0] == 2 * row.id for row in found), len(found))
print("stopped", [server.state.value for server in servers.status()])
spark.stop()
"""


@pytest.mark.skipif(not can_mount(), reason="needs to be allowed to mount a disk")
def test_triton_starts_with_a_state_folder_that_is_mounted_noexec(state_root):
    folder = state_root / "noexec"
    folder.mkdir()

    said = mounted_noexec(folder, USER, SPARK_SIDECAR_STATE=str(folder / "state"))

    assert "right True 100\nstopped ['stopped']" in said


def test_triton_starts_with_a_state_folder_that_has_a_space_in_its_path(state_root, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(state_root / "my state"))
    said, _ = run_as_user(USER).communicate(timeout=300)

    assert "right True 100\nstopped ['stopped']" in said


def test_a_triton_that_cannot_be_entered_is_told_by_its_first_cause(manager):
    with pytest.raises(ServerStartError) as caught:
        manager("cannot be entered").start_servers(tiny_models.without_a_server, timeout_s=120)

    message = str(caught.value)
    assert message.count("\nsh.CommandNotFound: ") == 2, message
    assert "atexit" not in message


with_a_limit = session(LOCAL, spark__executor__pyspark__memory="1g")


@pytest.fixture
def limited(sessions):
    """Servers of a session that limits its Pythons. In local mode: a barrier of Spark 3.5 forgets the limit."""
    spark = sessions.get(*with_a_limit.args)
    with TritonServerManager("limited", spark=spark) as servers:
        yield servers


@with_a_limit
@pytest.mark.skipif(may_lift(), reason="needs a user who may not lift a limit, as in most containers")
def test_a_limit_on_the_memory_of_pythons_that_cannot_be_lifted_is_named(limited):
    words = (
        r"it has \d\.\d GiB of address space, by spark\.executor\.pyspark\.memory, which servers inherit: unset that"
    )
    with pytest.raises(ServerStartError, match=words):
        limited.start_servers(tiny_models.whoami, timeout_s=120)


@with_a_limit
@pytest.mark.skipif(not may_lift(), reason="needs a user who may lift a limit (CAP_SYS_RESOURCE)")
def test_a_limit_on_the_memory_of_pythons_is_not_the_servers(limited):
    limited.start_servers(tiny_models.whoami, timeout_s=120)

    assert all("unlimited" in _limit(server.process.pid) for server in limited.status())


def _limit(pid):
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith("Max address space"))
