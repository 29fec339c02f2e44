"""The same manager and column functions over Spark Connect, where there is no SparkContext to ask."""

from __future__ import annotations

import json
import subprocess

import pyspark
import pytest
from support.fakes import processes_of

from integration.spark import connect_uses, uses
from integration.spark.conftest import CLUSTER, run_as_user
from server_utils.host.processes import wait_until

pytestmark = pytest.mark.skipif(pyspark.__version__ < "4", reason="barrier tasks over Connect need Spark 4")


@pytest.fixture(scope="module")
def port(state_root):
    """That of a Spark Connect server with two executors."""
    server = run_as_user(
        f"from integration.spark import connect_server; connect_server.main({CLUSTER!r})", stdin=subprocess.PIPE
    )
    try:
        yield int(server.stdout.readline())
    finally:
        server.communicate(timeout=60)


def test_servers_start_answer_restart_and_stop_over_connect(state_root, port, tmp_path):
    user = run_as_user(f"from integration.spark import connect_user; connect_user.main({port}, {str(tmp_path)!r})")
    printed, _ = user.communicate(timeout=400)
    said = {line["step"]: line for line in map(json.loads, printed.splitlines())}

    assert user.returncode == 0
    assert "No module named 'no_such_package'" in said["failed start"]["message"]
    assert said["start"]["states"] == ["ready", "ready"]
    assert said["infer"] == {"step": "infer", "right": True, "servers": 2}
    assert said["killed half-way"]["right"]
    assert said["run"] == {"step": "run", "written": [100, 0], "rows": 100}
    assert said["names"]["columns"] == ["tensors(id)"] * 2
    assert said["restarted"]["restarts"] == 1
    assert said["stopped"]["alive"] == []
    assert wait_until(lambda: not processes_of(state_root), 60)


def test_rows_are_asked_once_over_connect_as_in_a_classic_session(port, tmp_path):
    user = run_as_user(f"from integration.spark import connect_uses; connect_uses.main({port}, {str(tmp_path)!r})")
    printed, _ = user.communicate(timeout=400)
    said = json.loads(printed.splitlines()[-1])

    assert user.returncode == 0
    assert len(connect_uses.COUNTED) == len(connect_uses.NAMES)
    assert said["found"] == {use.name: [use.asked, 0] for use in connect_uses.COUNTED}
    assert said["refused"] == [use.name for use in uses.REFUSED]
