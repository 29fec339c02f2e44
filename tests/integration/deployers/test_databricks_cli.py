"""The vendor's command line of Python, `databricks-cli`, drives the Databricks server as our deployer does.

It shares no code with the SDK. So what both do against the server is what the service takes, as far as two clients of
the vendor tell. It leaves out ports of addresses, and so gets the server as its proxy.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from support.databricks_server.accounts import ME
from support.databricks_server.server import DatabricksServer, profile
from unit.csp.deployments import deployment, new_session

from csp import deployer
from csp.databricks.deployer import connect
from csp.up import up

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("databricks_cli"), reason="databricks-cli is not installed"
)
# Several commands in one process: a start of Python for each would be most of the time.
RUN = """
import json, sys
from click.testing import CliRunner
from databricks_cli.cli import cli
ends = [CliRunner().invoke(cli, words) for words in json.load(sys.stdin)]
json.dump([[each.exit_code, each.output] for each in ends], sys.stdout)
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with DatabricksServer(tmp_path / "server") as running:
        for name, value in profile(running).items():
            monkeypatch.setenv(name, value)
        yield running


def databricks(server, *commands):
    """The outputs of commands that all succeed."""
    there = {"DATABRICKS_HOST": "http://workspace.test", "http_proxy": server.host, "no_proxy": ""}
    there |= {name.upper(): value for name, value in there.items()}
    program = [sys.executable, "-W", "ignore", "-c", RUN]
    asked = json.dumps(commands)
    done = subprocess.run(program, input=asked, env=os.environ | there, capture_output=True, text=True, check=True)
    ends = json.loads(done.stdout)
    assert [code for code, _ in ends] == [0] * len(commands), ends
    return [message for _, message in ends]


def test_the_command_line_makes_the_cluster_of_a_plan_which_up_adopts(server, tmp_path):
    here = new_session(connect(volume="/Volumes/main/default/sidecar"), server.clock)
    wanted = deployment(tmp_path, "databricks-aws")
    deployer.send(here, wanted)
    body = deployer.plan(here, wanted).request | {"single_user_name": ME}
    (made,) = databricks(server, ["clusters", "create", "--json", json.dumps(body)])
    cluster_id = json.loads(made)["cluster_id"]
    assert up(here, wanted).cluster_id == cluster_id
    listed, shown, events = databricks(
        server,
        ["clusters", "list", "--output", "JSON"],
        ["clusters", "get", "--cluster-id", cluster_id],
        ["clusters", "events", "--cluster-id", cluster_id],
    )
    assert [each["cluster_id"] for each in json.loads(listed)["clusters"]] == [cluster_id]
    assert json.loads(shown)["state"] == "RUNNING"
    assert "CREATING" in events
    databricks(server, ["clusters", "delete", "--cluster-id", cluster_id])
    server.clock.advance(60)
    assert up(here, wanted).cluster_id == cluster_id  # it had ended, and is started again
    assert deployer.down(here, "reviews")


def test_the_command_line_sends_a_notebook_and_follows_its_run(server, tmp_path):
    here = new_session(connect(volume="/Volumes/main/default/sidecar"), server.clock)
    cluster_id = up(here, deployment(tmp_path, "databricks-aws")).cluster_id
    source, folder = tmp_path / "score.py", f"/Users/{ME}/score"
    source.write_text("# Databricks notebook source\nprint(1)\n")
    task = {"task_key": "t", "existing_cluster_id": cluster_id, "notebook_task": {"notebook_path": f"{folder}/score"}}
    submitted = json.dumps({"run_name": "reviews: score", "tasks": [task]})
    _, _, listed, run = databricks(
        server,
        ["workspace", "mkdirs", folder],
        ["workspace", "import", "--language", "PYTHON", str(source), f"{folder}/score"],
        ["workspace", "ls", folder],
        ["runs", "submit", "--version", "2.1", "--json", submitted],
    )
    assert listed.split() == ["score"]
    run_id = str(json.loads(run)["run_id"])
    assert here.cloud.active_runs("reviews") == [run_id]
    server.clock.advance(60)
    here.cloud.run_state(run_id)
    server.clock.advance(60)
    (shown,) = databricks(server, ["runs", "get", "--version", "2.1", "--run-id", run_id])
    assert json.loads(shown)["state"]["result_state"] == "SUCCESS"
    assert here.cloud.active_runs("reviews") == []
