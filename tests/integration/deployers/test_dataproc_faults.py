"""What goes wrong on Dataproc: each is tried again, or is one message with what exists now and how to go on."""

from __future__ import annotations

import re
import threading

import pytest
from support.dataproc_server import errors
from support.dataproc_server.server import PROJECT, REGION, ready
from unit.csp.deployments import Recorder

from csp import deployer
from csp.cloud import Exit, RunPhase
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from csp.run import follow, run
from csp.up import up
from server_utils.errors import DeploymentError

NOTHING = r"No cluster was made, and nothing bills\. Run the same command again to go on"


def refused(call, code):
    """The message of a refusal with this exit code."""
    with pytest.raises(DeploymentError) as caught:
        call()
    assert caught.value.exit_code == code, caught.value
    return str(caught.value)


class Interrupting(Recorder):
    """A report in which Ctrl-C comes once, with the first text that has these words."""

    def __init__(self, words):
        super().__init__()
        self._words = words

    def say(self, text):
        super().say(text)
        if self._words and self._words in text:
            self._words = ""
            raise KeyboardInterrupt

    wait = output = say


@pytest.fixture
def interrupted(bucket, pace):
    """A session with a Ctrl-C in it: interrupted("Creating")."""
    return lambda words: Session(connect(bucket=bucket), Interrupting(words), clock=pace.clock())


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("checks passed", NOTHING),
        ("Sent 3 of 3", NOTHING),
        ("Creating mine", NOTHING),
        ("creating the cluster in", "A cluster may be there: `spark-sidecar dataproc status --name mine .* removes it"),
        ("workers 0 of 2", "Cluster mine .* is starting and bills. Run the same command again .*dataproc down --name"),
    ],
)
def test_ctrl_c_in_up_says_what_bills_and_the_next_up_goes_on(server, interrupted, wanted, stage, expected):
    if stage.startswith("creating"):
        server.fail("CreateCluster", errors.unavailable(), late=True)
    session = interrupted(stage)
    with server.operations.held("CREATE"):
        assert re.search(expected, refused(lambda: up(session, wanted()), Exit.INTERRUPTED))
    assert up(session, wanted()).is_ready
    assert server.calls.count("CreateCluster") == 1


def check_left(message, session):
    """Ctrl-C in a run: how to end it, and how to wait for it again."""
    assert "spark-sidecar dataproc down --name mine" in message
    assert "its cluster bills" in message
    again, end = (
        re.search(rf"`spark-sidecar dataproc run [^`]*--{word} (\S+)`", message)[1] for word in ("resume", "cancel")
    )
    assert again == end
    assert follow(session, again, name="mine").exit_code == Exit.DONE


@pytest.mark.parametrize("stage", ["run mine-", "done"])
def test_ctrl_c_in_a_run_says_how_to_end_it_and_how_to_wait_for_it_again(server, interrupted, wanted, program, stage):
    session, go_on = interrupted(stage), threading.Event()

    def driver(cluster, job, write, cancelled):
        write("done\n")
        return int(stage != "done" and not go_on.wait(60))

    server.jobs.driver = driver
    up(session, wanted())
    message = refused(lambda: run(session, "mine", program), Exit.INTERRUPTED)
    go_on.set()
    check_left(message, session)


def test_ctrl_c_in_a_run_on_a_cluster_of_its_own_says_the_same(server, interrupted, wanted, program):
    session = interrupted("run workflow-")
    with server.operations.held("WORKFLOW"):
        message = refused(lambda: run(session, "mine", program, own_cluster=wanted()), Exit.INTERRUPTED)
    check_left(message, session)


@pytest.mark.parametrize("own", [False, True])
def test_ctrl_c_in_a_submission_says_that_it_may_run(server, interrupted, wanted, program, own):
    for method in ("SubmitJobAsOperation", "InstantiateInlineWorkflowTemplate"):
        server.fail(method, errors.unavailable(), late=True)
    session = interrupted("submitting the run")
    up(session, wanted())
    message = refused(lambda: run(session, "mine", program, own_cluster=wanted() if own else None), Exit.INTERRUPTED)
    assert re.search("it may run and bill.* `spark-sidecar dataproc down --name mine .*` ends it", message)


@pytest.mark.parametrize("method", ["ListClusters", "CreateCluster", "GetCluster", "ListOperations"])
def test_an_error_of_googles_own_is_tried_again(server, session, wanted, method):
    server.fail(method, errors.internal(), times=2)
    assert up(session, wanted()).is_ready


@pytest.mark.parametrize("method", ["SubmitJobAsOperation", "GetJob", "ListClusters"])
def test_a_run_goes_on_where_its_server_has_errors(server, session, wanted, program, method):
    up(session, wanted())
    server.fail(method, errors.unavailable(), times=2)
    server.fail(method, errors.internal(), times=1)
    assert run(session, "mine", program).exit_code == Exit.DONE
    assert len(server.jobs.all) == 1


def test_a_run_goes_on_when_the_network_is_back(server, session, wanted, program, pace):
    server.operations.at_once = True
    up(session, wanted())  # without a pause
    server.operations.at_once = False
    gate, away = threading.Event(), server.away()
    server.jobs.driver = lambda cluster, job, write, cancelled: write("done\n") or int(not gate.wait(60))

    def back():
        away.__exit__(None, None, None)
        gate.set()
        # Google's own retries wait for a connection that can be used again.
        list(session.cloud._clients.jobs.list_jobs(project_id=PROJECT, region=REGION))

    server.operations.settle = lambda: None  # the job ends when the network is back
    pace.at = {1: away.__enter__, 4: back}
    assert run(session, "mine", program).exit_code == Exit.DONE
    assert [each for each in session.report.waits if "asking project-1, us-central1 for the run" in each]
    assert len(server.jobs.all) == 1


def test_down_goes_on_when_the_network_is_back(server, session, wanted):
    up(session, wanted())
    for method in ("ListClusters", "DeleteCluster", "GetCluster", "ListJobs"):
        server.fail(method, errors.unavailable(), times=2)
    assert deployer.down(session, "mine")[0].startswith("cluster mine")
    assert server.clusters.names == []


@pytest.mark.parametrize("method", ["ListClusters", "CreateCluster", "GetCluster"])
def test_credentials_that_google_does_not_accept_are_one_sentence_without_the_token(server, session, wanted, method):
    server.fail(method, errors.bad_credentials(), times=9)
    message = refused(lambda: up(session, wanted()), Exit.REFUSED)
    assert "Google does not accept the credentials" in message
    assert "run `gcloud auth application-default login`" in message
    assert "ya29" not in message + "".join(session.report.messages + session.report.waits)


PERMISSION = [
    (errors.no_permission("dataproc.x.y", "projects/p"), "you do not have the permission dataproc.x.y. Ask for a role"),
    (errors.nameless_permission(), "you lack a permission, and Google does not say which: The caller does not have"),
]


@pytest.mark.parametrize("missing", PERMISSION, ids=["named", "not named"])
def test_a_permission_that_is_missing_is_one_message_named_or_not(server, session, wanted, program, missing):
    error, expected = missing

    def check(method, verb):
        server.fail(method, error)
        message = refused(verb, Exit.REFUSED)
        assert expected in message

    for method in ("ListClusters", "CreateCluster"):
        check(method, lambda: up(session, wanted()))
    up(session, wanted())
    check("SubmitJobAsOperation", lambda: run(session, "mine", program))
    check("DeleteCluster", lambda: deployer.down(session, "mine"))


def test_a_creation_waits_until_a_new_project_has_its_service_agent(server, session, wanted):
    server.fail("CreateCluster", errors.agent_without_role(), times=2)
    assert up(session, wanted()).is_ready
    waited = [each for each in session.report.waits if "may not make the cluster yet" in each]
    assert [each.rpartition("again in ")[2] for each in waited] == ["1 s", "2 s"]
    assert server.clusters.names == ["mine"]


def test_a_service_agent_that_does_not_come_is_said_with_the_role_to_grant(server, session, wanted):
    server.fail("CreateCluster", errors.agent_without_role(), times=99)
    message = refused(lambda: up(session, wanted()), Exit.TIMEOUT)
    assert "else grant roles/dataproc.serviceAgent to service-1@dataproc-accounts" in message


def test_who_may_not_list_operations_waits_and_is_told_the_cause_all_the_same(server, session, wanted):
    server.fail("ListOperations", PERMISSION[0][0], times=99)
    server.clusters.nodes = lambda *_: (1, "error: spark-sidecar: no route to the package index\n")
    message = refused(lambda: up(session, wanted()), Exit.REFUSED)
    assert "INIT_ACTION" in message
    assert message.endswith("no route to the package index")
    server.clusters.nodes = ready
    with server.operations.held("CREATE") as gate:
        server.on_call = lambda name: gate.set() if name == "ListOperations" else None
        assert up(session, wanted()).is_ready


def test_a_permission_that_is_taken_away_in_a_wait_is_said_with_what_bills(server, session, wanted, pace):
    with server.operations.held("CREATE"):
        pace.at = {2: lambda: server.fail("GetCluster", PERMISSION[0][0])}
        message = refused(lambda: up(session, wanted()), Exit.REFUSED)
    assert re.search("the permission dataproc.x.y.*Cluster mine .* is starting and bills", message)


def test_as_long_as_google_asks_for_is_waited(server, session, wanted, pace):
    server.fail("ListClusters", errors.too_many_requests(retry_after_s=17))
    server.compute.http.headers["Retry-After"] = "23"
    server.compute.failing = {"aggregated": (429, "Quota exceeded for quota group 'Read'")}
    pace.at = {2: server.compute.failing.clear}
    assert up(session, wanted()).is_ready
    assert [each.rpartition("again in ")[2] for each in session.report.waits if "again in" in each] == ["17 s", "23 s"]


def test_a_cluster_that_somebody_makes_meanwhile_is_not_ours(server, session, wanted):
    server.fail("CreateCluster", errors.ApiError("ALREADY_EXISTS", "Already exists: Failed to create cluster: mine"))
    message = refused(lambda: up(session, wanted()), Exit.TAKEN)
    assert "somebody made a cluster 'mine' a moment ago" in message


def test_a_cluster_that_somebody_deletes_meanwhile_ends_the_wait(server, session, wanted, pace):
    with server.operations.held("CREATE"):
        pace.at = {2: server.clusters.all.clear}
        message = refused(lambda: up(session, wanted()), Exit.REFUSED)
    assert "was deleted by somebody else while it started" in message


def test_a_cluster_that_somebody_deletes_in_a_run_ends_the_run(server, session, wanted, program):
    def deleted(cluster, job, write, cancelled):
        server.clusters.all.clear()
        return 1

    server.jobs.driver = deleted
    up(session, wanted())
    ended = run(session, "mine", program)
    assert (ended.state.phase, ended.exit_code) == (RunPhase.FAILED, Exit.RUN_FAILED)
    message = refused(lambda: run(session, "mine", program), Exit.NOT_FOUND)
    assert "there is no deployment 'mine'" in message


def test_a_deletion_that_ends_late_is_waited_for(server, session, wanted, pace):
    up(session, wanted())
    with server.operations.held("DELETE") as gate:
        pace.at = {3: gate.set}
        deleted = deployer.down(session, "mine")
    assert (deleted[0][:12], server.clusters.names) == ("cluster mine", [])
    assert session.report.waits[-1].startswith("deleting: DELETING")


def test_a_deletion_that_goes_on_is_waited_for_and_not_asked_again(server, session, wanted):
    state = up(session, wanted())
    with server.operations.held("DELETE") as gate:
        refused(lambda: deployer.down(session, "mine"), Exit.TIMEOUT)
        session.cloud.delete(state)  # as of somebody who saw it before it was deleted
        asked = server.calls.count("DeleteCluster")
        session.report.on_wait = lambda text: gate.set()
        deleted = deployer.down(session, "mine")
    assert (deleted[0][:12], server.clusters.names) == ("cluster mine", [])
    assert server.calls.count("DeleteCluster") == asked


def test_a_deletion_that_does_not_end_says_that_it_may_bill(server, session, wanted):
    up(session, wanted())
    with server.operations.held("DELETE"):
        message = refused(lambda: deployer.down(session, "mine"), Exit.TIMEOUT)
    assert "is still there after 15 min: DELETING. It may bill; run `spark-sidecar dataproc down" in message


def test_a_run_whose_time_is_up_here_may_go_on_there(server, session, wanted, program):
    server.jobs.driver = lambda cluster, job, write, cancelled: int(cancelled.wait(60))
    up(session, wanted())
    server.operations.settle = lambda: None
    message = refused(lambda: run(session, "mine", program, timeout_s=60), Exit.TIMEOUT)
    assert re.search(r"run mine-\w+ is still \w+ after 11 min\. Run mine-\w+ may go on: .*--resume .*--cancel", message)
    for run_id in session.cloud.active_runs("mine"):
        session.cloud.cancel(run_id)


def test_down_names_a_bucket_that_is_gone(server, pace):
    gone = Session(connect(bucket="no-such-bucket"), Recorder(), clock=pace.clock())
    message = refused(lambda: deployer.down(gone, "mine"), Exit.REFUSED)
    assert "looking into gs://no-such-bucket/spark-sidecar/mine" in message
    assert "Look whether the bucket or volume still exists" in message
