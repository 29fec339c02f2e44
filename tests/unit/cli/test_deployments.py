"""The command line of deployments: options, output for people and programs, exit codes. A workspace on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
from support.databricks_server.accounts import TOKEN
from support.databricks_server.faults import RunFate
from support.databricks_server.server import DatabricksServer, profile
from typer.testing import CliRunner

from csp.cloud import Exit
from csp.databricks.deployer import connect
from csp.up import up
from server_utils.cli.main import app
from unit.cli.terminal import screen
from unit.csp.deployments import bundle, deployment, new_session

VOLUME = "/Volumes/main/default/sidecar"


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SPARK_SIDECAR_VOLUME", VOLUME)
    # Each request moves the time, as the command line waits in real time.
    with DatabricksServer(tmp_path / "server", tick_s=30) as running:
        for name, value in profile(running).items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def invoke(tmp_path):
    """Runs `spark-sidecar databricks`: invoke("up", "--json") -> result."""
    nodes = ["--framework", "vllm", "--shape", "a10x1", "--bundle", str(bundle(tmp_path / "bundle"))]

    def call(verb, *words):
        options = nodes if verb in {"plan", "up"} else []
        return CliRunner().invoke(app, ["databricks", verb, *words, *options])

    return call


@pytest.fixture
def ready(server, tmp_path):
    """The server with the deployment, made in its own time; `up` then adopts it at once."""
    up(new_session(connect(volume=VOLUME), server.clock), deployment(tmp_path, "databricks-aws", name="spark-sidecar"))
    return server


def test_up_says_what_bills_and_how_to_remove_it(ready, invoke):
    expected = invoke("up", "--price", "9 USD").stdout
    assert "1 x g5.2xlarge, 2 x g5.4xlarge bill 9 USD an hour, until `down`, or 60 minutes without work." in expected
    assert "To remove it: spark-sidecar databricks down --name spark-sidecar" in expected


def test_standard_output_is_json_alone_where_it_is_asked_for(ready, invoke):
    adopted = json.loads(invoke("up", "--json").stdout)
    (shown,) = json.loads(invoke("status", "--json").stdout)
    assert adopted["cluster_id"] == shown["cluster_id"]
    assert shown["phase"] == "running"
    assert json.loads(invoke("logs", "--json").stdout) == []
    deleted = json.loads(invoke("down", "--json").stdout)["deleted"]
    assert deleted[0] == f"cluster spark-sidecar ({shown['cluster_id']})"
    assert json.loads(invoke("down", "--json").stdout) == {"deleted": []}


def test_a_bundle_is_written_and_its_files_are_sent(server, tmp_path):
    (tmp_path / "score.ipynb").write_text("{}")
    nodes = ["--framework", "vllm", "--shape", "a10x1", "--bundle", str(bundle(tmp_path / "bundle"))]
    words = ["--to", str(tmp_path), "--notebook", str(tmp_path / "score.ipynb"), "--cloud", "aws", "--json"]
    made = CliRunner().invoke(app, ["databricks", "bundle", *nodes, *words])
    assert json.loads(made.stdout) == {"path": str(tmp_path / "databricks.yml")}
    assert server.volumes.on_disk(f"{VOLUME}/spark-sidecar/spark-sidecar/owner/name").exists()


def test_an_error_stands_below_the_line_of_progress(server, tmp_path):
    words = ["--framework", "vllm", "--shape", "a10x1", "--bundle", str(bundle(tmp_path / "bundle")), "--timeout", "0"]
    lines = screen("databricks", "up", *words, width=200)
    (waited,) = [number for number, line in enumerate(lines) if "starting, workers 0 of 2" in line]
    assert "PENDING" in lines[waited]
    assert re.match(r"error: after \d+ s the cluster is starting: ", lines[waited + 1])


@pytest.mark.parametrize(("words", "limit_s"), [((), 21_600), (("--timeout", "30"), 1800)])
def test_the_cloud_ends_a_run_after_six_hours_or_what_is_asked_for(ready, invoke, tmp_path, words, limit_s):
    (tmp_path / "score.py").write_text("print(1)\n")
    ready.plan.runs.append(RunFate("SKIPPED", None, "Another run is active"))
    result = invoke("run", str(tmp_path / "score.py"), "--out", str(tmp_path / "out"), *words)
    assert result.exit_code == Exit.RUN_NOT_DONE, result.output
    (run,) = ready.jobs.runs.values()
    assert run.given["timeout_seconds"] == limit_s


@pytest.mark.parametrize("verb", ["plan", "up"])
def test_a_plan_touches_nothing(server, invoke, verb):
    dry = ["--dry-run"] if verb == "up" else []
    plan = json.loads(invoke(verb, "--json", "--cloud", "aws", *dry).stdout)
    assert plan["request"]["custom_tags"]["spark-sidecar-deployment"] == "spark-sidecar"
    assert set(plan["files"]) > {"SHA256SUMS", "databricks.sh", "spark-sidecar.env"}
    assert server.requests == []
    shown = invoke(verb, "--cloud", "aws", *dry).stdout
    assert "g5.4xlarge" in shown
    assert plan["folder"] in shown


def test_a_plan_with_checks_shows_the_failed_ones(server, invoke):
    del server.catalogue.nodes["g5.4xlarge"]
    result = invoke("plan", "--check", "--cloud", "aws")
    assert "ok: identity" in result.stdout
    assert "failed: node type: the workspace does not offer g5.4xlarge" in result.stdout
    checks = json.loads(invoke("plan", "--check", "--cloud", "aws", "--json").stdout)["checks"]
    (failed,) = (each for each in checks if each["fix"])
    assert failed | {"fix": ""} == {
        "name": "node type", "found": "the workspace does not offer g5.4xlarge", "fix": "", "looked": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["status"], Exit.NOT_FOUND, "there is no deployment 'spark-sidecar'"),
        (["status", "--name", "No Name"], Exit.USAGE, "no name of a deployment"),
        (["logs", "--kind", "gpu"], Exit.USAGE, "--kind is driver, init, executor"),
        (["run"], Exit.USAGE, "give the path of a notebook"),
        (["run", "none.ipynb"], Exit.USAGE, "there is no file none.ipynb"),
        (["run", "--cancel", "17"], Exit.NOT_FOUND, "there is no run 17"),
        (["run", "--resume", "17"], Exit.NOT_FOUND, "there is no run 17"),
        (["up", "--download", "PIP_INDEX=x"], Exit.USAGE, "the init script reads UV_DEFAULT_INDEX"),
        (["up", "--download", "HTTPS_PROXY=http://me:secret@proxy"], Exit.USAGE, "HTTPS_PROXY"),
        (["up", "--download", "HTTPS_PROXY={{secrets/a/b}}"], Exit.USAGE, "give it as --env HTTPS_PROXY="),
        (["up", "--volume", "files"], Exit.USAGE, "give /Volumes/CATALOG/SCHEMA/NAME"),
        (["down"], Exit.DONE, "There is nothing to delete"),
    ],
)
def test_each_end_has_its_exit_code_and_one_sentence(server, invoke, words, code, message):
    result = invoke(*words)
    assert result.exit_code == code, result.output
    assert message in result.output
    assert TOKEN not in result.output
    assert "me:secret" not in result.output


def test_without_the_sdk_one_sentence_says_what_to_install(tmp_path):
    """The core imports no SDK: the command is there without it."""
    (tmp_path / "databricks").mkdir()
    (tmp_path / "databricks" / "__init__.py").write_text("raise ImportError('no databricks-sdk here')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from server_utils.cli.main import app; app()"
    words = [sys.executable, "-c", code, "databricks", "status"]
    message = subprocess.run(words, capture_output=True, text=True, check=False)
    assert message.returncode == 1
    assert "pip install 'spark-sidecar[databricks]'" in message.stderr
    assert "Traceback" not in message.stderr


def test_the_exit_codes_are_those_of_the_documentation(request):
    page = (request.config.rootpath / "docs" / "deploy.md").read_text()
    documented = [int(each) for each in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert documented == [each.value for each in Exit]
