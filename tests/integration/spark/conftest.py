"""Spark sessions with two executors on this host, and what the tests ask of real Triton servers in them.

A session takes seconds to start, so one is kept until a test wants another kind. Tests of one kind follow each other.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import psutil
import pyspark
import pytest
from pyspark.sql import SparkSession
from support import spark_jvms
from support.fakes import command_of, killed, processes_of, python_path

from server_utils import TritonServerManager
from server_utils.host.processes import ProcessId, wait_until

CLUSTER = "local-cluster[2,2,1024]"
ONE_EXECUTOR = "local-cluster[1,1,1024]"
LOCAL = "local[2]"
_GO = "go"
_SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "OFF",  # tests look at what Spark raises; its log repeats that at length
    "spark.python.worker.faulthandler.enabled": "true",
    "spark.sql.shuffle.partitions": "4",
    "spark.task.maxFailures": "1",  # a job that finishes under this had no failed task
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


# For a test of what no Spark has a part in, in a file that runs on Spark 3.5 too.
once = pytest.mark.skipif(pyspark.__version__ < "4", reason="the same on every Spark: once, on Spark 4, is enough")


def session(master, **settings):
    """A mark of a file or a test: its Spark session has this master, and these settings with dots written as __."""
    return pytest.mark.session(master, {key.replace("__", "."): value for key, value in settings.items()})


own_session = pytest.mark.session("own", {})  # a mark of what makes one by itself, without that of others beside it
ends_session = pytest.mark.ends_session


def _session_of(node):
    """The master and the settings that a test or a file wants."""
    mark = node.get_closest_marker("session")
    return mark.args if mark else (CLUSTER, {})


def pytest_collection_modifyitems(items):
    """Most tests share one session. They come first; those of each other kind of session follow one another."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.spark)
    items.sort(key=_order)


def _order(item):
    """Among the tests that start Spark: by session, and what ends one after all who want it."""
    if not item.get_closest_marker("spark"):
        return (False, False, "", False)
    wanted = _session_of(item)
    return (True, wanted != (CLUSTER, {}), repr(wanted), item.get_closest_marker("ends_session") is not None)


class Sessions:
    """The one session of this process: Spark allows no two with different settings."""

    def __init__(self, folder):
        self._folder = folder
        self._asked = self._session = None

    def get(self, master, settings=None):
        """A session with these settings: the running one, or a new one in its place."""
        asked = (master, settings or {})
        if self._asked != asked or self._session.sparkContext._jsc is None:
            self.stop()
            self._session = self._start(master, settings or {})
            self._asked = asked
        return self._session

    def _start(self, master, settings):
        builder = SparkSession.builder.master(master).config("spark.local.dir", str(self._folder))
        builder = builder.config("spark.sql.warehouse.dir", str(self._folder / "warehouse"))
        for key, value in (_SETTINGS | spark_jvms.settings() | settings).items():
            builder = builder.config(key, value)
        return builder.getOrCreate()

    def stop(self):
        if self._session is not None and self._session.sparkContext._jsc is not None:
            application = self._session.sparkContext.applicationId
            self._session.stop()
            # The executors of a local cluster keep their jars and logs in the installation.
            shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)
        self._session = self._asked = None


@pytest.fixture(scope="session")
def state_root():
    """A folder for records, made before any session: executors inherit the environment of the JVM."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_SIDECAR_STATE", str(folder))
        patch.setenv("SPARK_SIDECAR_CACHE", f"{folder}-cache")
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
            patch.setenv(variable, sys.executable)
        for variable in ("SPARK_HOME", "SPARK_REMOTE", "SPARK_CONF_DIR"):
            patch.delenv(variable, raising=False)
        patch.setenv("PYTHONPATH", spark_jvms.PYTHON_PATH)
        patch.setenv("SPARK_SUBMIT_OPTS", spark_jvms.options_of_drivers())
        yield folder
    for each in (folder, f"{folder}-cache"):
        shutil.rmtree(each, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_of_ours_is_left(state_root):
    """As the one for other tests, but servers may be shared by the tests of a module."""
    yield
    wait_until(lambda: not processes_of(state_root), 30)
    names = killed(processes_of(state_root))
    assert not names, f"still running after the tests: {names}"


@pytest.fixture(scope="session")
def sessions(state_root, tmp_path_factory):
    found = Sessions(tmp_path_factory.mktemp("spark"))
    yield found
    found.stop()


@pytest.fixture(scope="module")
def spark(request, sessions):
    return sessions.get(*_session_of(request.node))


@pytest.fixture
def manager(spark):
    """Makes managers whose servers end with the test: manager("name", "path")."""
    made = []

    def make(*arguments):
        made.append(TritonServerManager(*arguments, spark=spark))
        return made[-1]

    yield make
    for each in made:
        each.stop_servers()


class Gate:
    """Holds up some rows of `tiny_models.gated` until it is opened: a test then acts in the middle of a job."""

    def __init__(self, folder):
        self.folder = folder

    def close(self):
        for file in self.folder.iterdir():
            file.unlink()

    def open(self):
        (self.folder / _GO).touch()

    def waiting(self):
        """The processes of the servers that hold a row."""
        return {int(file.name) for file in self.folder.iterdir() if file.name != _GO}

    def wait_for(self, pids, seconds=60):
        assert wait_until(lambda: self.waiting() >= set(pids), seconds), (self.waiting(), pids)


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    return Gate(tmp_path_factory.mktemp("gate"))


def rows(spark, column, *, count=400, partitions=4):
    """Rows with numbers from 0 and the answers of `tiny_models.gated` or `tiny_models.whoami` to them."""
    return spark.range(0, count, 1, partitions).select("id", column.alias("answer"))


def answers(frame):
    """The answers by row. Every row is there once, and its answer is right."""
    found = frame.collect()
    assert sorted(row.id for row in found) == list(range(len(found)))
    wrong = [(row.id, row.answer) for row in found if row.answer is None or row.answer[0] != 2 * row.id]
    assert not wrong
    return {row.id: row.answer for row in found}


def server_pids(frame_answers):
    return {answer[1] for answer in frame_answers.values()}


def in_background(function):
    """A future: pytest's own thread goes on to do the damage."""
    pool = futures.ThreadPoolExecutor(1)
    future = pool.submit(function)
    pool.shutdown(wait=False)
    return future


def executors(below=None):
    """The executors' JVMs below a process, by default the driver."""
    commands = {process.pid: command_of(process) for process in psutil.Process(below).children(recursive=True)}
    return sorted(
        pid
        for pid, words in commands.items()
        if words and Path(words[0]).name == "java" and "CoarseGrainedExecutorBackend" in " ".join(words)
    )


def part(server, word):
    """One process of a server's tree, by a word in its command line."""
    tree = psutil.Process(server.process.pid).children(recursive=True)
    return next(ProcessId.of(process.pid) for process in tree if word in " ".join(command_of(process)[:1]))


def kill(identity):
    """SIGKILL, and wait until it is gone."""
    identity.signal(signal.SIGKILL)
    assert wait_until(lambda: not identity.alive(), 10)


def listening(ports):
    """Those of the ports that somebody listens on."""
    taken = {each.laddr.port for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return taken & set(ports)


def wait_for_states(manager, *states, seconds=30):
    """The servers, once their states are these."""
    wanted = sorted(states)
    assert wait_until(lambda: sorted(s.state.value for s in manager.status()) == wanted, seconds), manager.status()
    return manager.status()


def as_in_a_notebook(function):
    """The function as one holds it: of the main module, so it travels by value."""
    import types

    copy = types.FunctionType(function.__code__, {"__name__": "__main__", "__builtins__": __builtins__})
    copy.__module__ = "__main__"
    return copy


def run_as_user(code, **options):
    """A Python of its own that can import the tests' modules, in a session of its own."""
    import subprocess

    environ = os.environ | {"PYTHONPATH": python_path()}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environ, text=True, stdout=subprocess.PIPE, start_new_session=True, **options
    )
