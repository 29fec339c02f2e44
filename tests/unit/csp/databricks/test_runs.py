"""Runs of notebooks and programs, by the real SDK: sources, ends, results and cancellations."""

from __future__ import annotations

import json

import pytest
from support.databricks_server.accounts import ME, Group
from support.databricks_server.faults import Fault, RunFate, fate

from csp import deployer, run
from csp.cloud import Exit, RunPhase
from csp.databricks.client import translated
from csp.up import up
from server_utils.errors import ConfigurationError
from unit.csp.databricks.workspace import ROOT, member, refusal
from unit.csp.deployments import deployment


def test_a_notebook_in_source_format_is_a_notebook(server, session, wanted, tmp_path):
    up(session, wanted)
    source = tmp_path / "score.py"
    source.write_text("# Databricks notebook source\nprint(1)\n")
    assert run.run(session, "reviews", source).exit_code is Exit.DONE
    task = next(iter(server.jobs.runs.values())).tasks[0].given["notebook_task"]
    assert task["notebook_path"].startswith(f"/Users/{ME}/spark-sidecar/reviews/score-")


def test_a_notebook_is_sent_without_its_outputs_and_refused_where_it_is_too_large(session, wanted, notebook):
    up(session, wanted)
    content = json.loads(notebook.read_text())
    content["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 11_000_000}]
    notebook.write_text(json.dumps(content))
    assert run.run(session, "reviews", notebook).exit_code is Exit.DONE
    content["cells"][0]["source"] = "x" * 11_000_000
    notebook.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="the workspace takes 10 MB"):
        run.run(session, "reviews", notebook)


def test_a_run_brings_the_executed_notebook_and_its_results(server, session, wanted, notebook, tmp_path):
    up(session, wanted)
    written = []

    def write(text):
        if not written:
            task = next(iter(server.jobs.runs.values())).tasks[0].given["notebook_task"]
            server.volumes.on_disk(task["base_parameters"]["results"]).mkdir(parents=True)
            written.append(server.volumes.on_disk(f"{task['base_parameters']['results']}/rows.csv"))
            written[0].write_text("a,b\n")

    session.report.on_wait = write
    result = run.run(session, "reviews", notebook, parameters={"rows": "3"}, out=tmp_path / "out")
    assert result.exit_code is Exit.DONE
    assert {each.suffix for each in result.files} == {".html", ".ipynb", ".csv"}
    (executed,) = (tmp_path / "out").glob("*.ipynb")
    assert [each["source"] for each in json.loads(executed.read_text())["cells"]] == ["print(1)"]
    assert (tmp_path / "out" / "rows.csv").read_text() == "a,b\n"
    assert run.follow(session, result.state.run_id, name="reviews", out=tmp_path / "again").files


def test_a_python_file_gets_its_parameters_as_options(server, session, wanted, tmp_path):
    up(session, wanted)
    program = tmp_path / "score.py"
    program.write_text("print(1)\n")
    assert run.run(session, "reviews", program, parameters={"rows": "3"}).exit_code is Exit.DONE
    task = next(iter(server.jobs.runs.values())).tasks[0].given["spark_python_task"]
    assert task["parameters"][0] == "--rows=3"
    assert task["parameters"][1].startswith(f"--results={ROOT}/runs/")


def test_a_run_on_a_cluster_of_its_own_needs_no_deployment(server, session, wanted, notebook):
    assert run.run(session, "reviews", notebook, own_cluster=wanted).exit_code is Exit.DONE
    spec = next(iter(server.jobs.runs.values())).tasks[0].given["new_cluster"]
    assert spec["custom_tags"]["spark-sidecar-deployment"] == "reviews"
    assert "cluster_name" not in spec
    refusal(lambda: deployer.status(session, "reviews"), Exit.NOT_FOUND)


def test_a_run_whose_own_cluster_cannot_be_had_is_tried_on_the_next_shape(server, session, notebook, tmp_path):
    server.plan.clusters.append(fate("AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    result = run.run(session, "reviews", notebook, own_cluster=either, out=tmp_path / "out")
    assert result.exit_code is Exit.DONE
    shapes = [each.tasks[0].given["new_cluster"]["node_type_id"] for each in server.jobs.runs.values()]
    assert shapes == ["g5.4xlarge", "g6.4xlarge"]
    (message,) = [each for each in session.report.messages if "Trying choice 2 of 2" in each]
    assert "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE" in message
    assert "the cloud has no such node in this zone now" in message


def test_a_run_whose_own_cluster_lacks_quota_says_what_to_do(server, session, notebook, tmp_path):
    server.plan.clusters.append(fate("AWS_RESOURCE_QUOTA_EXCEEDED"))
    either = deployment(tmp_path, "databricks-aws", "a10x1", "l4x1")
    result = run.run(session, "reviews", notebook, own_cluster=either)
    assert result.exit_code is Exit.RUN_FAILED
    assert "the GPU quota of your cloud account is used up. Ask the cloud for more" in result.state.detail
    assert len(server.jobs.runs) == 1


@pytest.mark.parametrize(
    "expected",
    [
        (RunFate("TERMINATED", "FAILED", "no", error="ValueError: no", error_trace="Trace"), RunPhase.FAILED, 3),
        (RunFate("SKIPPED", None, "already running"), RunPhase.SKIPPED, 4),
        (RunFate("TERMINATED", "TIMEDOUT", "late"), RunPhase.TIMED_OUT, 4),
        (RunFate("TERMINATED", "CANCELED", "stop"), RunPhase.CANCELLED, 4),
        (RunFate("INTERNAL_ERROR", "TIMEDOUT", "late too"), RunPhase.TIMED_OUT, 4),
        (RunFate("INTERNAL_ERROR", None, "no answer"), RunPhase.FAILED, 3),
        (RunFate("TERMINATED", "MAXIMUM_CONCURRENT_RUNS_REACHED", "full"), RunPhase.SKIPPED, 4),
    ],
    ids=lambda expected: expected[0].message,
)
def test_a_run_that_did_not_succeed_ends_the_command_with_its_own_code(server, session, wanted, notebook, expected):
    end, phase, code = expected
    up(session, wanted)
    server.plan.runs.append(end)
    result = run.run(session, "reviews", notebook)
    assert (result.state.phase, result.exit_code) == (phase, code)
    assert end.message in result.state.detail
    assert (end.error or "") in result.state.error


def test_a_submit_whose_answer_was_lost_is_one_run(server, session, wanted, notebook):
    up(session, wanted)
    server.plan.faults.append(Fault("POST /api/2.2/jobs/runs/submit", drop="after"))
    assert run.run(session, "reviews", notebook).exit_code is Exit.DONE
    assert len(server.jobs.runs) == 1


def test_a_run_that_was_left_is_cancelled_with_its_own_cluster(server, session, left):
    assert session.cancel(left).phase is RunPhase.CANCELLED
    assert not any(each.alive for each in server.clusters.all.values())
    assert session.cancel(left).phase is RunPhase.CANCELLED
    assert "there is no run 17" in refusal(lambda: session.cancel("17"), Exit.NOT_FOUND)


@pytest.mark.parametrize("verb", ["cancel", "run_state"])
def test_what_is_no_id_of_a_run_is_said_and_not_taken_for_a_sign_in(session, verb):
    with pytest.raises(ConfigurationError, match="'workflow-1' is no id of a run: these are whole numbers"):
        getattr(session.cloud, verb)("workflow-1")
    with pytest.raises(ConfigurationError, match="as it is"), translated("doing it"):
        raise ConfigurationError("as it is")


def test_a_run_without_a_cluster_says_what_to_do(session, notebook):
    message = refusal(lambda: run.run(session, "reviews", notebook), Exit.NOT_FOUND)
    assert "spark-sidecar databricks up --name reviews" in message


def test_a_principal_without_a_home_folder_is_told_what_it_needs(server, wanted, notebook, monkeypatch):
    robot = member(server, monkeypatch, home=False, groups=(Group("team", may_create_clusters=True),))
    up(robot, wanted)
    message = refusal(lambda: run.run(robot, "reviews", notebook), Exit.REFUSED)
    assert "The parent folder (/Users/member@example.com) does not exist." in message
    assert "`databricks workspace mkdirs /Users/member@example.com`" in message
    assert robot.cloud.active_runs("reviews") == []
