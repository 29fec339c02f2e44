"""The live checks with a cluster of their own, by the command `spark-sidecar`, on clouds on loopback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.databricks_server.server import DatabricksServer, profile
from support.dataproc_server import errors
from support.dataproc_server.server import PROJECT, REGION
from typer.testing import CliRunner
from unit.csp.deployments import bundle

from csp.live_checks import deployment_checks
from csp.live_checks.ask import Answer, Outcome
from csp.live_checks.on_cluster import CommandResult, Target
from csp.live_checks.questions import of
from server_utils.cli.main import app

SCRIPT = Path(__file__).parents[3] / "scripts" / "live_checks.py"
ALL = ["verb-up", "verb-status", "verb-run", "verb-logs", "verb-down", "verb-gone"]


def invoke(words):
    ended = CliRunner().invoke(app, list(words))
    return CommandResult(ended.exit_code, ended.output)


def count(cluster, job, write, cancelled):
    write("SPARK-SIDECAR-RUN 1000\n")
    return 0


@pytest.fixture
def options(tmp_path):
    return ["--framework", "vllm", "--bundle", str(bundle(tmp_path / "own-bundle"))]


@pytest.fixture
def dataproc(server, bucket, monkeypatch, options):
    """Tries the verbs: dataproc() -> answers, and the names of clusters that were asked about."""
    server.operations.at_once, server.jobs.driver = True, count
    monkeypatch.setenv("SPARK_SIDECAR_BUCKET", bucket)

    def go(ask=lambda name: []):
        return list(deployment_checks.deployed(Target("dataproc"), [*options, "--shape", "l4x1"], ask, call=invoke))

    return go


def outcomes(answers):
    return {each.question.key: each.outcome for each in answers}


def test_every_verb_is_tried_on_dataproc_and_nothing_stays(server, dataproc):
    asked = []
    question = of("dataproc")[0]

    def ask(name):
        asked.append((name, server.clusters.names))
        return [Answer(question, Outcome.EXPECTED, "RUNNING")]

    answers = dataproc(ask)
    assert [each.question.key for each in answers] == [*ALL[:4], question.key, *ALL[4:]]
    assert {each.outcome for each in answers} == {Outcome.EXPECTED}, [each.output for each in answers if each.wrong]
    ((name, there),) = asked
    assert (there, name[:5]) == ([name], "live-")
    assert list(server.bucket.list_blobs(prefix="spark-sidecar/")) == server.clusters.names == []


def test_a_cluster_that_cannot_be_had_is_said_and_nothing_else_is_tried(server, dataproc):
    server.fail("CreateCluster", errors.cannot_act_as("a@b.c"))
    answers = dataproc()
    assert outcomes(answers) == {
        "verb-up": Outcome.FAILED,
        "verb-down": Outcome.EXPECTED,
        "verb-gone": Outcome.EXPECTED,
    }
    assert "you may not run nodes as a@b.c" in answers[0].output


def test_a_run_that_fails_after_it_printed_is_a_failure_and_the_cluster_goes(server, dataproc):
    server.jobs.driver = lambda *job: count(*job) or 1
    answers = dataproc()
    assert outcomes(answers) == dict.fromkeys(ALL, Outcome.EXPECTED) | {"verb-run": Outcome.FAILED}
    assert server.clusters.names == []


def test_the_cluster_goes_where_asking_it_breaks_off(server, dataproc):
    def broken(name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dataproc(broken)
    assert (len(server.operations.all("CREATE")), server.clusters.names) == (1, [])


def test_every_verb_is_tried_on_databricks_and_nothing_stays(tmp_path, monkeypatch, options):
    with DatabricksServer(tmp_path / "server", tick_s=3000) as server:
        for name, value in profile(server).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SPARK_SIDECAR_VOLUME", "/Volumes/main/default/sidecar")
        words = [*options, "--shape", "a10x1", "--idle-minutes", "10000"]  # each request moves the time
        answers = list(deployment_checks.deployed(Target("databricks-aws"), words, lambda name: [], call=invoke))
    nothing_printed = dict.fromkeys(["verb-run", "verb-logs"], Outcome.DIFFERS)  # there are no nodes
    assert outcomes(answers) == dict.fromkeys(ALL, Outcome.EXPECTED) | nothing_printed


def test_the_command_runs_with_the_place_of_the_target(server, monkeypatch):
    for name in ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_DATAPROC_REGION"):
        monkeypatch.delenv(name)
    call = deployment_checks._calls(Target("dataproc", project=PROJECT, region=REGION))
    ended = call(["dataproc", "status", "--name", "mine"])
    assert (ended.code, f"there is no deployment 'mine' in {PROJECT}, {REGION}" in ended.output) == (7, True)


def test_a_cluster_that_is_there_and_one_to_be_made_are_refused_together():
    words = [sys.executable, SCRIPT, "dataproc", "--cluster", "c", "--region", "r", "--deploy", "--shape", "l4x1"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, "or --deploy to make one" in ended.stderr) == (2, True)
