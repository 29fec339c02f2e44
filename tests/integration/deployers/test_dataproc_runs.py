"""Runs on Dataproc, on the deployment's cluster and on their own: output, ends, cancellations and logs."""

from __future__ import annotations

import sys
import threading

import pytest
from google.cloud import dataproc_v1
from support.dataproc_server import errors
from support.dataproc_server.execute import SparkDriver
from support.dataproc_server.server import PROJECT, REGION, ready

from csp import deployer
from csp.cloud import Exit, RunPhase, RunRequest
from csp.run import follow, run
from csp.up import up
from server_utils.errors import DeploymentError
from server_utils.servers.log_delivery import delivered


def talk(cluster, job, write, cancelled):
    """Prints more than one piece of output."""
    for number in range(45):
        write(f"line {number}\n")
    return 0


def test_a_run_shows_all_of_its_output_once(server, session, wanted, program):
    server.jobs.driver = talk
    up(session, wanted())
    ended = run(session, "mine", program)
    assert (ended.state.phase, ended.exit_code) == (RunPhase.SUCCEEDED, Exit.DONE)
    assert session.report.printed == "".join(f"line {number}\n" for number in range(45))
    (job,) = server.jobs.all.values()
    sent = server.object_names()
    assert {job.pyspark_job.main_python_file_uri.partition(".run/")[2], "program.py"} <= {
        name.partition(".run/")[2] for name in sent
    }
    assert [each.text for each in deployer.logs(session, "mine", ["driver"])] == [session.report.printed]


@pytest.mark.parametrize("end", ["ERROR", "ATTEMPT_FAILURE"])
def test_a_run_that_fails_ends_the_command_with_its_own_status(server, session, wanted, program, end):
    server.jobs.driver = lambda cluster, job, write, cancelled: 1
    server.jobs.end_state = dataproc_v1.JobStatus.State[end]
    up(session, wanted())
    ended = run(session, "mine", program)
    assert (ended.state.phase, ended.exit_code) == (RunPhase.FAILED, Exit.RUN_FAILED)
    assert "Google Cloud Dataproc Agent reports job failure" in ended.state.detail


class CancelOnce:
    """In the middle of a run, by a second laptop: looks which runs go on, and cancels them. found: their ids."""

    def __init__(self, server, cloud):
        self.server, self._cloud, self.found, self.of_others = server, cloud, [], []

    def __call__(self):
        if not self.found:
            me, self.server.compute.email = self.server.compute.email, "bob@example.com"
            self.of_others = [*self._cloud.active_runs("mine"), *self._cloud.active_runs("min")]
            self.server.compute.email = me
            self.found = list(self._cloud.active_runs("mine"))
            for run_id in self.found:
                self._cloud.cancel(run_id)

    def node(self, cluster, role, workers, action):
        self()
        return ready(cluster, role, workers, action)

    def driver(self, cluster, job, write, cancelled):
        self()
        assert cancelled.wait(60)
        return 1


@pytest.fixture
def cancel(server, session):
    return CancelOnce(server, session.cloud)


def check_cancelled(server, session, cancel, ended):
    assert (ended.state.phase, ended.exit_code) == (RunPhase.CANCELLED, Exit.RUN_NOT_DONE)
    assert (cancel.found, cancel.of_others) == ([ended.state.run_id], [])
    server.operations.settle()
    assert session.cloud.active_runs("mine") == []
    session.cloud.cancel(ended.state.run_id)  # it ended: that is no error


def test_a_run_that_goes_on_is_found_and_cancelled(server, session, wanted, program, cancel):
    up(session, wanted())
    server.jobs.driver = cancel.driver
    check_cancelled(server, session, cancel, run(session, "mine", program))


@pytest.mark.parametrize("when", ["its cluster is made", "it runs"])
def test_a_run_on_a_cluster_of_its_own_is_found_and_cancelled_with_it(session, wanted, program, cancel, when):
    if when == "it runs":
        cancel.server.jobs.driver = cancel.driver
    else:
        cancel.server.clusters.nodes = cancel.node
    check_cancelled(cancel.server, session, cancel, run(session, "mine", program, own_cluster=wanted()))
    assert cancel.server.clusters.names == []


def test_down_ends_a_run_on_a_cluster_of_its_own(server, session, wanted, program, bucket):
    began = threading.Event()

    def until_cancelled(cluster, job, write, cancelled):
        began.set()
        assert cancelled.wait(60)
        return 1

    server.jobs.driver = until_cancelled
    results = f"gs://{bucket}/spark-sidecar/mine/runs/1"
    run_id = session.cloud.submit(RunRequest("mine", program, {}, results, "token", 60, deployment=wanted()))
    assert began.wait(60)
    deployer.down(session, "mine")
    server.operations.settle()
    assert session.cloud.run_state(run_id).phase is RunPhase.CANCELLED
    assert server.clusters.names == []


@pytest.mark.parametrize("run_id", ["workflow-unknown", "unknown"])
def test_a_run_that_is_not_there_ends_with_7_and_is_cancelled_already(session, run_id):
    session.cloud.cancel(run_id)
    with pytest.raises(DeploymentError, match=f"there is no run '{run_id}' in {PROJECT}, {REGION}") as caught:
        follow(session, run_id, name="mine")
    assert caught.value.exit_code == Exit.NOT_FOUND


def test_a_program_with_the_name_of_our_main_file_is_the_one_that_runs(server, session, wanted, program):
    server.jobs.driver = SparkDriver(server.bucket, server.environ, submit=lambda cluster: [sys.executable])
    up(session, wanted())
    assert run(session, "mine", program.rename(program.with_name("job_main.py"))).exit_code == Exit.DONE
    assert session.report.printed == "1\n"


def test_a_submission_whose_answer_is_lost_is_one_job(server, session, wanted, program):
    up(session, wanted())
    server.fail("SubmitJobAsOperation", errors.unavailable(), late=True)
    assert run(session, "mine", program).exit_code == Exit.DONE
    assert len(server.jobs.all) == 1


def test_a_run_on_a_cluster_of_its_own_leaves_none(server, session, wanted, program):
    server.jobs.driver = talk
    ended = run(session, "mine", program, own_cluster=wanted())
    assert (ended.state.phase, ended.state.results.startswith("gs://")) == (RunPhase.SUCCEEDED, True)
    assert session.report.printed.endswith("line 44\n")
    server.operations.settle()
    assert (server.clusters.names, deployer.down(session, "mine")[-1].rpartition("/")[2]) == ([], "runs")


BOUNDS = {1: 601, 3600: 4200, 86400: 86400, 90000: 0}


def test_google_itself_bounds_a_run_on_a_cluster_of_its_own(server, session, wanted, program):
    for asked_s in BOUNDS:
        run(session, "mine", program, own_cluster=wanted(), timeout_s=asked_s)
    bounds = [each.metadata.dag_timeout.total_seconds() for each in server.operations.all("WORKFLOW")]
    assert bounds == list(BOUNDS.values())


def test_a_run_on_a_cluster_of_its_own_whose_answer_is_lost_is_one_run(server, session, wanted, program):
    """The first one goes on when the second is asked for: Dataproc knows the token until its end."""
    server.fail("InstantiateInlineWorkflowTemplate", errors.unavailable(), late=True)
    with server.operations.held("WORKFLOW") as go_on:
        server.on_call = lambda name: go_on.set() if name == "GetOperation" else None
        assert run(session, "mine", program, own_cluster=wanted()).exit_code == Exit.DONE
    assert len(server.jobs.all) == 1


def test_a_run_without_a_cluster_says_how_to_make_one(session, program):
    with pytest.raises(
        DeploymentError, match=r"no deployment 'mine' in project-1, us-central1; .*dataproc up"
    ) as caught:
        run(session, "mine", program)
    assert caught.value.exit_code == Exit.NOT_FOUND


def test_what_executors_printed_is_shown_by_container(server, session, wanted):
    state = up(session, wanted())
    cluster_uuid = state.cluster_id.partition("/")[2]
    for text in ("one", "two"):
        payload = {"container": "container_1_000002", "message": text}
        server.compute.lines.append({"uuid": cluster_uuid, "jsonPayload": payload})
    (log,) = deployer.logs(session, "mine", ["executor"])
    assert (log.name, log.text) == ("container_1_000002", "one\ntwo")


def test_logs_of_nodes_and_of_servers_are_told_apart(server, session, wanted, tmp_path, monkeypatch):
    up(session, wanted())
    server.bucket.blob("spark-sidecar/mine/logs/mine-w-0/init.log").upload_from_string("node\n")
    properties = server.clusters.all["mine"].config.software_config.properties
    monkeypatch.setenv("SPARK_SIDECAR_LOGS", properties["spark:spark.executorEnv.SPARK_SIDECAR_LOGS"])
    folder = tmp_path / "app-1" / "reviews" / "1-2"
    folder.mkdir(parents=True)
    with delivered(folder):  # as the supervisor of a server does
        (folder / "server.log").write_text("a server of reviews\n")
    (log,) = deployer.logs(session, "mine", ["server"])
    assert (log.kind, log.name.partition("/")[0], log.text) == ("server", "reviews", "a server of reviews\n")
    assert [each.text for each in deployer.logs(session, "mine", ["init"])][-1] == "node\n"


def test_of_logs_the_last_lines_of_the_newest_are_shown(server, session, wanted):
    up(session, wanted())
    for number in (9, 10, 11, 12, 13):
        key = f"spark-sidecar/mine/logs/servers/application_1_{number}/reviews/host.log"
        server.bucket.blob(key).upload_from_string("".join(f"line {each}\n" for each in range(200)))
    shown = deployer.logs(session, "mine", ["server"])
    assert len(shown) == 4
    assert shown[0].text.splitlines()[0::99] == ["line 100", "line 199"]
