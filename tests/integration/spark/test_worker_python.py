"""Workers that run another Python than the driver: one sentence says which, what it lacks, and what to set."""

from __future__ import annotations

import subprocess
import sys

import pyspark
import pytest
from support.other_pythons import OF_ANOTHER_MINOR, bare, lacking, needs_another_minor

from integration.spark import tiny_models
from integration.spark.conftest import ONE_EXECUTOR, executors, run_as_user
from server_utils import PlacementError

SET_IT = (
    "set PYSPARK_PYTHON (spark-submit: spark.pyspark.python) to a Python that has spark-sidecar, such as the driver's, "
    f"{sys.executable}, before the session is made"
)
VERSION = ".".join(str(part) for part in sys.version_info[:3])


@pytest.fixture
def refused(spark, manager, monkeypatch):
    """What a start says whose workers run this Python. PYSPARK_PYTHON is read when the session is made."""

    def start(python):
        monkeypatch.setattr(spark.sparkContext, "pythonExec", str(python))
        before = executors()
        with pytest.raises(PlacementError) as caught:
            manager("elsewhere").start_servers(tiny_models.whoami, timeout_s=120)
        assert executors() == before
        return str(caught.value)

    return start


def test_a_python_without_the_package_is_named_with_what_it_lacks_and_what_to_set(refused, tmp_path):
    python = bare(tmp_path / "bare")

    message = refused(python)

    assert message.startswith(f"Spark's workers run {python} (Python {VERSION}), which lacks server_utils, cloudpickle")
    assert SET_IT in message
    assert f"{python} -m pip install 'spark-sidecar==" in message
    assert "\n" not in message  # one sentence


@pytest.mark.parametrize("name", ["pyarrow", "tritonclient"])  # needed by the tasks that start servers; by columns only
def test_a_python_that_lacks_one_dependency_is_refused_before_anything_is_started(refused, tmp_path, name):
    python = lacking(tmp_path / "some", name)

    message = refused(python)

    assert f"Spark's workers run {python} (Python {VERSION}), which lacks " in message
    assert name in message.partition("which lacks ")[2].partition(":")[0]
    assert SET_IT in message


def test_a_package_that_cannot_be_imported_there_is_told_with_its_reason(refused, tmp_path):
    message = refused(lacking(tmp_path / "broken", broken="psutil"))

    assert "which lacks psutil (ImportError: compiled for another machine): set PYSPARK_PYTHON" in message


def test_another_version_of_the_package_is_refused_with_both(refused, tmp_path):
    message = refused(lacking(tmp_path / "older", version="0.0.1"))

    assert "which has spark-sidecar 0.0.1 where the driver has " in message
    assert SET_IT in message


@needs_another_minor
@pytest.mark.parametrize("which", [0, -1])
def test_a_python_of_another_minor_version_is_named_with_both_versions(refused, which):
    other = OF_ANOTHER_MINOR[which]

    message = refused(other)

    # The oldest may be too old for Spark's own worker, which then cannot say which version it is.
    assert message.startswith(f"Spark's workers run {other}, which ")
    assert "which is Python 3." in message or "cannot run Spark's own worker" in message
    assert SET_IT in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        ("/no/such/python", "which does not start there (error=2, No such file or directory)"),
        ("/etc/passwd", "which does not start there (error=13, Permission denied)"),
        ("/bin/false", "which cannot run Spark's own worker"),
    ],
)
def test_what_is_no_python_at_all_is_named(refused, python, reason):
    message = refused(python)

    assert message.startswith(f"Spark's workers {'run' if python == '/bin/false' else 'are to run'} {python}, {reason}")
    assert SET_IT in message


def test_a_driver_of_another_minor_version_than_the_cluster_is_told_the_same_way(spark, manager, monkeypatch):
    monkeypatch.setattr(spark.sparkContext, "pythonVer", "3.4")  # of the driver, as the workers hear it

    with pytest.raises(PlacementError, match=rf"which is Python 3\.{sys.version_info.minor}, and the driver .* 3\.4;"):
        manager("elsewhere").start_servers(tiny_models.whoami, timeout_s=120)


def test_the_next_start_with_the_right_python_works(spark, manager, monkeypatch):
    servers = manager("right again")
    with monkeypatch.context() as patch:
        patch.setattr(spark.sparkContext, "pythonExec", "/no/such/python")
        with pytest.raises(PlacementError):
            servers.start_servers(tiny_models.whoami)

    servers.start_servers(tiny_models.whoami)

    assert len(servers.status()) == 2


CONNECT_USER = """
from pyspark.sql import SparkSession
from server_utils import SidecarError, TritonServerManager
from integration.spark import tiny_models
spark = SparkSession.builder.remote("sc://127.0.0.1:{port}").getOrCreate()
try:
    TritonServerManager("elsewhere", spark=spark).start_servers(tiny_models.whoami, timeout_s=120)
except SidecarError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(pyspark.__version__ < "4", reason="barrier tasks over Connect need Spark 4")
@pytest.mark.parametrize("kind", ["bare", pytest.param("other", marks=needs_another_minor)])
def test_over_connect_the_servers_side_is_named_as_the_place_to_set_it(state_root, monkeypatch, tmp_path, kind):
    python = bare(tmp_path / kind) if kind == "bare" else OF_ANOTHER_MINOR[-1]
    monkeypatch.setenv("PYSPARK_PYTHON", str(python))
    code = f"from integration.spark import connect_server; connect_server.main({ONE_EXECUTOR!r})"
    server = run_as_user(code, stdin=subprocess.PIPE)
    try:
        said, _ = run_as_user(CONNECT_USER.format(port=int(server.stdout.readline()))).communicate(timeout=300)
    finally:
        server.communicate(timeout=60)

    assert said.startswith("PlacementError Spark's workers run ")
    assert "another Python, which is Python 3." in said if kind == "other" else f"{python} (Python" in said
    assert "which lacks " in said or kind == "other"
    assert f"set PYSPARK_PYTHON to a Python 3.{sys.version_info.minor} that has spark-sidecar, where the Spark" in said
