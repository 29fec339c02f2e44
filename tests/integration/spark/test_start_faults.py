"""Servers that cannot start: one error names each host and the reason, nothing is left, no executor is lost."""

from __future__ import annotations

import re
import socket
import sys
import time
from pathlib import Path

import pytest
from support.fakes import processes_of

from integration.spark import tiny_models
from integration.spark.conftest import answers, executors, once, rows
from server_utils import ServerStartError
from server_utils.backends import server_manager

_OTHER_PYTHONS = sorted(
    python
    for python in (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")
    if not python.parts[-3].startswith(f"3.{sys.version_info.minor}.")
)


def starts_fail(servers, function, *, hosts):
    """The error's message, which names so many servers."""
    before = executors()
    with pytest.raises(ServerStartError) as caught:
        servers.start_servers(function, timeout_s=300)
    message = str(caught.value)
    named = set(re.findall(rf"on {re.escape(socket.gethostname())} \(executor (\d+)\)", message))
    assert len(named) == hosts, message
    assert named <= {str(pid) for pid in before}
    assert executors() == before
    return message


ENDS = [
    ("missing_package", ["ModuleNotFoundError: No module named 'no_such_package'"]),
    ("leaves", ["exited with status 1", "no licence for this model"]),
    ("drops", ["exited with status 3", "CUDA error: device-side assert triggered"]),
    ("raises_while_serving", ["ValueError: the weights have the wrong shape"]),
]


# On every Spark one that raises and one that is killed: how else it ends, no Spark has a part in.
@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("bad_path", ["FileNotFoundError", "no/such/folder/weights.npy"]),
        ("out_of_memory", ["was killed by SIGKILL (the kernel does this when memory runs out)"]),
        *(pytest.param(*each, marks=once) for each in ENDS),
    ],
)
def test_a_function_that_fails_is_told_for_each_host_and_costs_no_executor(state_root, manager, function, words):
    message = starts_fail(manager(f"fails: {function}", "/no/such/folder"), getattr(tiny_models, function), hosts=2)

    for word in words:
        assert message.count(word) == 2, message
    assert not processes_of(state_root)


def test_a_crash_is_told_soon_after_it_not_at_the_end_of_the_time_allowed(manager, tmp_path):
    servers = manager("crash", str(tmp_path))

    with pytest.raises(ServerStartError):
        servers.start_servers(tiny_models.says_when_it_crashes, timeout_s=300)

    told_s = time.time() - max(float(file.read_text()) for file in tmp_path.glob("*.crashed"))
    assert told_s < 30  # seen: 1.3 to 3 s; `./run bench --only start` measures it


@pytest.fixture(params=[server_manager.SHORT_POLLS, 0])
def short_polls(monkeypatch, request):
    """The first seconds of a start; and what comes after them, when tasks hold their slots and agree by exchanges."""
    monkeypatch.setattr(server_manager, "SHORT_POLLS", request.param)


@pytest.mark.usefixtures("short_polls")
def test_one_host_that_fails_stops_the_other_and_the_next_start_works(spark, state_root, manager, tmp_path):
    servers = manager("one fails", str(tmp_path))

    message = starts_fail(servers, tiny_models.second_fails, hosts=1)

    assert "MemoryError: CUDA out of memory" in message
    assert not processes_of(state_root)
    servers.start_servers(tiny_models.whoami)
    assert answers(rows(spark, servers.tensors("id"), count=20))


def test_a_function_that_takes_a_port_in_use_fails_with_tritons_own_words(manager):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        message = starts_fail(manager("port", str(port)), tiny_models.taken_port, hosts=2)

    assert "Socket '127.0.0.1:" in message


@pytest.mark.skipif(not _OTHER_PYTHONS, reason="needs a Python of another minor version in ~/.pyenv/versions")
def test_a_sealed_environment_of_another_python_is_refused(spark, manager, monkeypatch, tmp_path):
    python = tmp_path / "envs" / "triton" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(_OTHER_PYTHONS[-1])
    monkeypatch.setitem(spark.sparkContext.environment, "SPARK_SIDECAR_HOME", str(tmp_path))

    message = starts_fail(manager("other python"), tiny_models.whoami, hosts=2)

    assert f"Spark's Python is 3.{sys.version_info.minor}" in message
    assert "spark-sidecar env build triton" in message


def test_no_sealed_environment_at_all_is_told_with_the_command_that_makes_one(spark, manager, monkeypatch, tmp_path):
    if not _has_no_pytriton():
        pytest.skip("needs a Spark's Python without pytriton: it would serve as the environment")
    monkeypatch.setitem(spark.sparkContext.environment, "SPARK_SIDECAR_HOME", str(tmp_path))

    message = starts_fail(manager("no environment"), tiny_models.whoami, hosts=2)

    assert "Run `spark-sidecar env build triton`" in message


def _has_no_pytriton():
    import importlib.util

    return importlib.util.find_spec("pytriton") is None
