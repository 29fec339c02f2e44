"""The command `spark-sidecar dataproc`: its exit codes, its JSON, and what it asks before anything is made."""

from __future__ import annotations

import json
import os
import re
import signal
import threading

import pytest
from support.dataproc_server import errors
from support.dataproc_server.server import PROJECT, REGION, ready
from typer.testing import CliRunner

from csp.cloud import Exit
from integration.deployers.test_dataproc import make_strangers
from server_utils.cli.main import app


@pytest.fixture
def server(server, bucket, monkeypatch):
    """No operation takes time, so that the command line waits for none in real time."""
    server.operations.at_once = True
    monkeypatch.setenv("SPARK_SIDECAR_BUCKET", bucket)
    return server


@pytest.fixture
def invoke(server, wanted):
    """Runs a command for the deployment `mine`: invoke("run", program) -> result."""
    nodes = ["--framework", "vllm", "--shape", "l4x1", "--bundle", str(wanted().bundle)]

    def call(verb, *words):
        own = nodes if verb in {"plan", "up"} or "--own-cluster" in words else []
        return CliRunner().invoke(app, ["dataproc", verb, "--name", "mine", *map(str, words), *own])

    return call


@pytest.fixture
def deployed(server, invoke):
    assert invoke("up").exit_code == Exit.DONE
    return server


def test_each_verb_prints_one_json_document(deployed, invoke, program, tmp_path):
    def document(*words):
        result = invoke(*words, "--json")
        assert result.exit_code == Exit.DONE, result.output
        return json.loads(result.stdout)

    planned, dry, adopted = document("plan", "--check"), document("up", "--dry-run"), document("up", "--price", "2 EUR")
    assert planned["request"] == dry["request"]
    assert {each["name"] for each in planned["checks"]} >= {
        "signed in",
        "APIs",
        "permissions",
        "bucket",
        "zones",
        "quota",
    }
    assert (adopted["ready"], adopted["workers"]) == (2, 2)
    assert "bill 2 EUR an hour, until `down`" in adopted["cost"]
    ran = document("run", program, "--out", tmp_path / "out")
    assert (ran["phase"], ran["exit_code"], ran["files"]) == ("succeeded", 0, [])
    assert document("run", "--resume", ran["run_id"], "--out", tmp_path / "out")["run_id"] == ran["run_id"]
    assert document("run", "--cancel", ran["run_id"])["phase"] == "succeeded"
    own = document("run", program, "--own-cluster", "--out", tmp_path / "own")
    assert (own["phase"], own["run_id"][:9]) == ("succeeded", "workflow-")
    (shown,) = document("status")
    assert shown["cluster_id"] == adopted["cluster_id"]
    assert {each["kind"] for each in document("logs")} == {"driver", "init"}
    assert document("down")["deleted"][0] == f"cluster mine ({shown['cluster_id']})"
    assert document("down") == {"deleted": []}


def test_for_people_each_verb_says_what_is_there_and_what_bills(deployed, invoke, program, tmp_path):
    place = f"--project {PROJECT} --region {REGION} --bucket {deployed.bucket.name}"
    planned = re.sub(" {2,}", "  ", invoke("plan").stdout)
    assert "runtime  2.3-ml-ubuntu22\nends without work  after 60 minutes\n" in planned
    assert "--json shows the whole request" in planned
    shown = invoke("status").stdout
    assert "workers  2 of 2" in re.sub(" {2,}", "  ", shown)
    assert f"To remove it: spark-sidecar dataproc down --name mine {place}" in shown
    ran = invoke("run", program, "--out", tmp_path / "out")
    assert ran.stdout.startswith("done\nRun mine-")
    assert f"Run {next(iter(deployed.jobs.all))} of program.py is submitted; results go to gs://" in ran.stderr
    assert "Nothing is left that bills." in invoke("down").stdout


@pytest.mark.parametrize(("words", "limit_s"), [((), 21_600), (("--timeout", "30"), 1800)])
def test_the_cloud_ends_a_run_after_six_hours_or_what_is_asked_for(deployed, invoke, program, words, limit_s):
    assert invoke("run", program, "--out", program.parent / "out", *words).exit_code == Exit.DONE
    (job,) = deployed.jobs.all.values()
    assert job.pyspark_job.args[2] == str(limit_s)


@pytest.mark.parametrize("words", [("plan",), ("up", "--dry-run"), ("plan", "--json"), ("up", "--dry-run", "--json")])
def test_a_plan_touches_nothing(server, invoke, words):
    result = invoke(*words)
    assert (result.exit_code, "g2-standard-12" in result.stdout) == (Exit.DONE, True), result.output
    assert (server.calls, server.compute.requests, list(server.bucket.list_blobs())) == ([], [], [])


def test_a_plan_tells_what_could_not_be_checked_from_what_is_well(server, invoke):
    server.compute.roles = None
    shown = " ".join(invoke("plan", "--check").stdout.split())
    why = f"who has which role on {PROJECT} you may not read (resourcemanager.projects.getIamPolicy)"
    assert f"not sure: roles of the nodes: could not be checked: {why}" in shown
    assert "ok: permissions: all 9" in shown


def cancelled(server):
    def driver(cluster, job, write, event):
        server.jobs._cancel(job)
        return 1

    server.jobs.driver = driver


def interrupted(server):
    """A real Ctrl-C, once, while the cluster is being made."""
    over = threading.Event()

    def on_call(name):
        if name == "ListOperations" and not over.is_set():  # it is asked for progress
            over.set()
            os.kill(os.getpid(), signal.SIGINT)

    def node(cluster, *rest):
        assert over.wait(60)
        return ready(cluster, *rest)

    server.operations.at_once, server.clusters.nodes, server.on_call = False, node, on_call


def denied(server):
    server.fail("CreateCluster", errors.cannot_act_as("a@b.c"))


def setting(path, name, value):
    """Something of the server that is otherwise."""

    def change(server):
        setattr(getattr(server, path), name, value)

    return change


def end_with_1(*_):
    return 1


ENDS = [
    (Exit.DONE, "run", None, "Run mine-"),
    (
        Exit.REFUSED,
        "up",
        lambda server: server.fail("CreateCluster", errors.cannot_act_as("a@b.c")),
        "act as|run nodes",
    ),
    (Exit.USAGE, "run --parameter rows", None, "KEY=VALUE"),
    (Exit.RUN_FAILED, "run", setting("jobs", "driver", end_with_1), "failed"),
    (Exit.RUN_NOT_DONE, "run", cancelled, "cancelled"),
    (Exit.CHECK_FAILED, "up", setting("compute", "permissions", set()), "nothing was made, because permissions"),
    (Exit.TIMEOUT, "up --timeout 0", setting("clusters", "lost", 1), "running with 1 of 2 workers"),
    (Exit.NOT_FOUND, "logs", None, "there is no deployment 'mine'"),
    (Exit.TAKEN, "up", lambda server: make_strangers(server, "mine"), "no deployment of ours; nothing was made"),
    (Exit.INTERRUPTED, "up", interrupted, "stopped by Ctrl-C. Cluster mine .* is starting and bills"),
]


def test_every_exit_code_has_an_end_here():
    assert [code for code, *_ in ENDS] == list(Exit)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("end", ENDS, ids=[each[0].name for each in ENDS])
def test_each_end_has_its_exit_code_and_one_message(server, invoke, program, tmp_path, end):
    code, words, change, expected = end
    verb, *options = words.split()
    if verb == "run":
        invoke("up")
        options += [program, "--out", tmp_path / "out"]
    if change:
        change(server)
    result = invoke(verb, *options)
    assert (result.exit_code, "Traceback" in result.output) == (code, False), result.output
    assert re.search(expected, result.output)
    if code in {Exit.RUN_FAILED, Exit.RUN_NOT_DONE}:
        assert json.loads(invoke(verb, *options, "--json").stdout)["exit_code"] == code


def test_an_error_leaves_standard_output_empty_where_it_is_to_be_json(server, invoke):
    result = invoke("status", "--json")
    assert (result.exit_code, result.stdout) == (Exit.NOT_FOUND, "")
    assert result.stderr.startswith("error: there is no deployment 'mine'")


def test_down_for_another_person_is_asked_for_by_name(deployed, invoke):
    deployed.compute.email = "bob@example.com"
    refused = invoke("down")
    assert (refused.exit_code, "or give --owner ann@example.com if you mean it" in refused.stderr) == (Exit.TAKEN, True)
    assert "Deleted cluster mine" in invoke("down", "--owner", "ann@example.com").stdout
