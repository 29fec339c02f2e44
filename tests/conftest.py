"""What every test gets: a state folder of its own, and the certainty that nothing of ours outlives it.

Fixtures that only Spark tests need are in spark/conftest.py; it may override `state_root` with a wider scope.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from pathlib import Path

import psutil
import pytest
from support.fakes import FAKE_SERVER, killed, processes_of

from server_utils.host.processes import ProcessId, wait_until
from server_utils.servers.launch import Launch

_SHOWN_S = 5.0  # what takes less is left out of the table
_LEAVE_S = 30.0  # what lost its owner at the end of a test has this long to go by itself


def pytest_configure():
    """A program that a shell starts in the background ignores SIGINT; tests of Ctrl-C want it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter):
    """Say how long each folder and each file took, the longest first: where to look when the suite gets slow."""
    seconds = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                file = report.nodeid.partition("::")[0]
                seconds[file] += report.duration
                seconds[f"{file.rpartition('/')[0]}/"] += report.duration
    shown = [(name, spent) for name, spent in seconds.most_common() if spent > _SHOWN_S]
    terminalreporter.section("seconds per folder and file")
    for name, spent in [each for each in shown if each[0].endswith("/")] + [e for e in shown if not e[0].endswith("/")]:
        terminalreporter.line(f"{spent:7.0f}  {name}")


@pytest.fixture
def state_root():
    """A folder for records with a short path: sockets below it must fit into 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    yield folder
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def nothing_of_ours_is_left(state_root, monkeypatch):
    """Fail the test that leaves servers or supervisors behind, and end them."""
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(state_root))
    older = psutil.pids()
    yield
    if not wait_until(lambda: not processes_of(state_root, older=older), _LEAVE_S):
        names = killed(processes_of(state_root))
        assert not names, f"still running after the test: {names}"


@pytest.fixture
def ctrl_c():
    """SIGINT raises KeyboardInterrupt in this test, whatever an earlier one did to the signal."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    signal.signal(signal.SIGINT, handler or signal.default_int_handler)  # None: it was no handler of Python's


@pytest.fixture
def make_owner():
    """Starts processes that stand in for an executor's JVM: each lives until it is killed, or this process ends."""
    owners = []

    def make():
        owners.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
        return ProcessId.of(owners[-1].pid)

    yield make
    for owner in owners:
        owner.kill()
        owner.communicate()


@pytest.fixture
def owner(make_owner):
    return make_owner()


@pytest.fixture
def make_launch(tmp_path, monkeypatch):
    """Launches of the fake server: make_launch("--crash", "words", max_restarts=1).

    The sealed environment it runs in is a link to this very interpreter.
    """
    python = tmp_path / "home" / "envs" / "triton" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))

    def make(*options, **fields):
        return Launch(
            **{
                "application": "test",
                "name": "fake",
                "id": uuid.uuid4().hex,
                "environment": "triton",
                "argv": ("{python}", "{folder}/program.py", "--port", "{port:http}", *options),
                "ports": ("http",),
                "health": "/health",
                "files": {"program.py": FAKE_SERVER.read_bytes()},
                "start_timeout_s": 30,
                "stop_grace_s": 0.3,
            }
            | fields
        )

    return make


@pytest.fixture
def launch(make_launch):
    return make_launch()
