"""The same manager and column functions over Spark Connect, where there is no SparkContext to ask."""

from __future__ import annotations

import json

import pyspark
import pytest
from conftest import processes_of

from server_utils.process import wait_until
from spark.conftest import run_as_user

pytestmark = pytest.mark.skipif(pyspark.__version__ < "4", reason="barrier tasks over Connect need Spark 4")


def test_servers_start_answer_restart_and_stop_over_connect(state_root, tmp_path):
    user = run_as_user(f"from spark import connect_user; connect_user.main({str(tmp_path)!r})")
    printed, _ = user.communicate(timeout=400)
    said = {line["step"]: line for line in map(json.loads, printed.splitlines())}

    assert user.returncode == 0
    assert "No module named 'no_such_package'" in said["failed start"]["message"]
    assert said["start"]["states"] == ["ready", "ready"]
    assert said["infer"] == {"step": "infer", "right": True, "servers": 2}
    assert said["killed half-way"]["right"]
    assert said["run"] == {"step": "run", "written": [100, 0], "rows": 100}
    assert said["restarted"]["restarts"] == 1
    assert said["stopped"]["alive"] == []
    assert wait_until(lambda: not processes_of(state_root), 15)
