"""Faults of workspace, network and sign-in, refusals, and Ctrl-C at each step."""

from __future__ import annotations

import pytest
from support.databricks_server.accounts import TOKEN
from support.databricks_server.faults import ClusterFate, Fault, RunFate
from support.databricks_server.server import profile

from csp import deployer, run
from csp.cloud import Exit
from csp.databricks.deployer import connect
from csp.up import up
from server_utils.errors import DeploymentError, StorageError
from unit.csp.databricks.workspace import CREATE, ROOT, VOLUME, refusal, request_count
from unit.csp.deployments import new_session


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_workspace_is_asked_again(server, session, wanted, status):
    codes = {429: "REQUEST_LIMIT_EXCEEDED", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE"}
    fault = Fault("GET /api/2.1/clusters/get", status, codes[status], "the quota of requests is used up", skip=1)
    server.plan.faults.append(fault)
    assert up(session, wanted).is_ready


def test_a_wait_goes_on_when_the_network_is_back(server, session, wanted):
    cuts = {"drop": "before", "skip": 1, "times": 1}
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", **cuts))
    assert up(session, wanted).is_ready


def test_ctrl_c_in_the_wait_says_what_bills_and_how_to_go_on(server, session, wanted):
    def interrupt(text):
        raise KeyboardInterrupt

    session.report.on_wait = interrupt
    message = refusal(lambda: up(session, wanted), Exit.INTERRUPTED)
    (state,) = deployer.status(session, "reviews")
    assert f"({state.cluster_id}, 1 x g5.2xlarge, 2 x g5.4xlarge) is starting and bills" in message
    assert "spark-sidecar databricks down --name reviews" in message
    session.report.on_wait = None
    assert up(session, wanted).cluster_id == state.cluster_id


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("A new token could not be retrieved because the refresh token is invalid", (1, "databricks auth login")),
        ("dial tcp: lookup workspace.example: no such host", (6, "no such host; tried for")),
    ],
)
def test_without_a_token_in_a_wait_the_message_says_why_and_what_bills(session, wanted, reason, end):
    code, expected = end

    def lose(text):
        def no_headers():
            raise OSError(f"cannot get access token: Error: {reason}")

        session.cloud._client.config._header_factory = no_headers

    session.report.on_wait = lose
    message = refusal(lambda: up(session, wanted, timeout_s=600), code)
    assert expected in message
    assert "is starting and bills" in message


def test_without_a_token_files_are_not_refused_by_a_traceback(server, session, wanted):
    def no_headers():
        raise OSError("cannot get access token: Error: the token has expired, to reauthenticate run x")

    session.cloud._client.config._header_factory = no_headers
    with pytest.raises(StorageError, match="the sign-in has ended"):
        session.cloud.store(ROOT).read("a")


def test_no_text_of_the_cloud_shows_a_token(server, session, wanted, notebook):
    ends = ClusterFate("REQUEST_REJECTED", parameters={"databricks_error_message": f"bad {TOKEN}"}, message=TOKEN)
    server.plan.clusters.append(ends)
    refusal(lambda: up(session, wanted), Exit.REFUSED)  # looks for the token
    state = up(session, wanted)
    log = server.volumes.on_disk(f"{ROOT}/logs/{state.cluster_id}/driver/stderr")
    log.parent.mkdir(parents=True)
    log.write_text(f"signed in with {TOKEN}")
    assert [each.text for each in deployer.logs(session, "reviews", ["driver"])] == ["signed in with ***"]
    server.plan.runs.append(RunFate("TERMINATED", "FAILED", "no", error=f"no {TOKEN}", error_trace="Trace"))
    assert run.run(session, "reviews", notebook).state.error.startswith("no ***")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ((403, "PERMISSION_DENIED", "Not authorized"), "It needs the entitlement 'unrestricted cluster creation'"),
        ((403, "PERMISSION_DENIED", "User lacks CREATE CLUSTER"), "is not allowed: User lacks CREATE CLUSTER"),
        ((400, "INVALID_PARAMETER_VALUE", "The custom tag x is invalid"), "is refused: The custom tag x is invalid"),
        ((400, "QUOTA_EXCEEDED", "The quota of clusters is exceeded"), "a quota is used up"),
        ((409, "RESOURCE_CONFLICT", "The workspace is being changed"), "conflicts with what is there"),
        ((404, "FEATURE_DISABLED", "Classic compute is disabled"), "Classic compute is disabled"),
    ],
)
def test_a_create_that_is_refused_is_one_sentence_and_is_not_repeated(server, session, wanted, fault, expected):
    status, code, message = fault
    server.plan.faults.append(Fault("POST /api/2.1/clusters/create", status, code, message, times=9))
    with pytest.raises(DeploymentError) as caught:
        up(session, wanted)
    assert expected in str(caught.value)
    assert request_count(server, CREATE) == 1


def test_a_workspace_that_says_how_long_to_wait_is_asked_after_that(server, session, wanted):
    fault = Fault("POST /api/2.1/clusters/create", 429, "REQUEST_LIMIT_EXCEEDED", "too many", retry_after_s=1)
    server.plan.faults.append(fault)
    assert up(session, wanted).is_ready


def test_a_wrong_token_is_one_sentence(server, wanted, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "dapi-a-wrong-token")
    message = refusal(lambda: up(new_session(connect(volume=VOLUME), server.clock), wanted), Exit.REFUSED)
    assert "databricks auth login" in message
    assert "dapi-a-wrong-token" not in message


def test_no_credentials_are_one_sentence(server, monkeypatch, tmp_path):
    for name in profile(server):
        monkeypatch.delenv(name)
    message = refusal(lambda: deployer.status(new_session(connect(), server.clock), "reviews"), Exit.REFUSED)
    assert "databricks auth login" in message


def test_ctrl_c_in_a_run_says_how_to_go_on(server, session, wanted, notebook):
    up(session, wanted)

    def interrupt(text):
        raise KeyboardInterrupt

    session.report.on_wait = interrupt
    message = refusal(lambda: run.run(session, "reviews", notebook), Exit.INTERRUPTED)
    (run_id,) = server.jobs.runs
    assert f"--resume {run_id}" in message
    assert f"--cancel {run_id}" in message


# What each step asks for, and what is said where the user presses Ctrl-C when the workspace has heard it.
UP_STEPS = {
    "GET /api/2.1/clusters/list": "No cluster was made, and nothing bills",
    "GET /api/2.1/clusters/list-node-types": "No cluster was made, and nothing bills",
    "POST /api/2.1/unity-catalog/volumes": "No cluster was made, and nothing bills",
    "PUT /api/2.0/fs/files/*.whl": "No cluster was made, and nothing bills",
    "POST /api/2.1/clusters/create": "A cluster may be there",
    "GET /api/2.1/clusters/get": "is starting and bills",
}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("route", UP_STEPS)
def test_ctrl_c_at_each_step_of_up_says_what_exists_and_the_same_command_goes_on(server, session, wanted, route):
    server.plan.faults.append(Fault(route, interrupt=True))
    message = refusal(lambda: up(session, wanted), Exit.INTERRUPTED)
    assert UP_STEPS[route] in message
    assert up(session, wanted).is_ready
    assert len(server.clusters.all) == 1


RUN_STEPS = {
    "POST /api/2.0/workspace/import": "it may run and bill",
    "POST /api/2.2/jobs/runs/submit": "it may run and bill",
    "GET /api/2.2/jobs/runs/get": "goes on, and its cluster bills",
    "GET /api/2.2/jobs/runs/export": "has ended, succeeded, and not all of its results are here",
}


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("route", RUN_STEPS)
def test_ctrl_c_at_each_step_of_a_run_says_how_to_go_on(server, session, wanted, notebook, route):
    up(session, wanted)
    server.plan.faults.append(Fault(route, interrupt=True))
    message = refusal(lambda: run.run(session, "reviews", notebook, out=notebook.parent / "out"), Exit.INTERRUPTED)
    assert RUN_STEPS[route] in message
    assert "spark-sidecar databricks" in message
    deployer.down(session, "reviews")
    assert session.cloud.active_runs("reviews") == []


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    "route", ["POST /api/2.1/clusters/delete", "POST /api/2.0/workspace/delete", "DELETE /api/2.0/fs/*"]
)
def test_ctrl_c_in_down_says_how_to_delete_the_rest(server, session, wanted, notebook, route):
    up(session, wanted)
    run.run(session, "reviews", notebook)
    server.plan.faults.append(Fault(route, interrupt=True))
    message = refusal(lambda: deployer.down(session, "reviews"), Exit.INTERRUPTED)
    assert f"`spark-sidecar databricks down --name reviews --volume {VOLUME}` deletes the rest" in message
    deployer.down(session, "reviews")
    assert server.clusters.all == {}
    assert session.cloud.store(ROOT).folders() == []


STEPS = (
    "GET /api/2.1/clusters/list", "GET /api/2.0/preview/scim/v2/Me", "GET /api/2.1/unity-catalog/volumes/*",
    "POST /api/2.1/unity-catalog/volumes", "PUT /api/2.0/fs/files/*", "POST /api/2.1/clusters/create",
    "GET /api/2.1/clusters/get", "POST /api/2.0/workspace/import", "POST /api/2.2/jobs/runs/submit",
    "GET /api/2.2/jobs/runs/get", "GET /api/2.2/jobs/runs/export", "GET /api/2.0/fs/directories/*",
    "GET /api/2.2/jobs/runs/list", "POST /api/2.1/clusters/delete", "POST /api/2.1/clusters/permanent-delete",
    "POST /api/2.0/workspace/delete", "DELETE /api/2.0/fs/directories/*",
)  # fmt: skip


def everything(session, wanted, notebook, out):
    """`up`, `run` and `down`, which leave nothing."""
    up(session, wanted)
    assert run.run(session, "reviews", notebook, out=out).exit_code is Exit.DONE
    deployer.down(session, "reviews")
    assert session.cloud.store(ROOT).folders() == []


def test_an_error_of_the_workspace_at_any_step_is_tried_again(server, session, wanted, notebook, tmp_path):
    server.plan.faults += [Fault(route, 500, "INTERNAL_ERROR", "Internal error") for route in STEPS]
    everything(session, wanted, notebook, tmp_path / "out")
    assert server.plan.not_met() == []
    assert request_count(server, CREATE) == 2
    assert len(server.jobs.runs) == 1


@pytest.fixture
def impatient(session):
    """The session with clients that give up at once, as the SDK's own does after half a minute."""
    session.cloud.__dict__["_client"] = session.cloud._once
    return session


def test_a_network_that_is_away_for_long_stops_no_wait(server, impatient, wanted, notebook):
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", drop="before", skip=1, times=2))
    server.plan.faults.append(Fault("GET /api/2.2/jobs/runs/get", drop="before", skip=1, times=2))
    up(impatient, wanted)
    assert run.run(impatient, "reviews", notebook).exit_code is Exit.DONE
    assert sum("again in" in each for each in impatient.report.waits) >= 2


def test_a_network_that_stays_away_is_one_sentence_with_what_bills(server, impatient, wanted):
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", drop="before", skip=1, times=99))
    message = refusal(lambda: up(impatient, wanted, timeout_s=15), Exit.TIMEOUT)
    assert "Check the network, then run it again" in message
    assert "is starting and bills" in message


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ((401, "UNAUTHENTICATED", "The token is expired"), "the workspace does not know you: The token is expired"),
        ((403, "PERMISSION_DENIED", "Invalid access token."), "Sign in with `databricks auth login`"),
        ((403, "PERMISSION_DENIED", "You lack CAN_ATTACH_TO"), "is not allowed: You lack CAN_ATTACH_TO"),
        ((404, "RESOURCE_DOES_NOT_EXIST", "Cluster does not exist"), "was deleted by somebody else while it started"),
        ((409, "RESOURCE_CONFLICT", "It is being edited"), "it conflicts with what is there: It is being edited"),
        ((400, "INVALID_STATE", "The workspace is being updated"), "is refused: The workspace is being updated"),
    ],
)
def test_a_refusal_in_a_wait_is_one_sentence_with_what_exists(server, session, wanted, fault, expected):
    status, code, message = fault
    server.plan.faults.append(Fault("GET /api/2.1/clusters/get", status, code, message, skip=1, times=9))
    text = refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert expected in text
    assert ("is starting and bills" in text) is (status != 404)


def test_a_start_that_is_refused_says_what_may_bill(server, session, wanted):
    up(session, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(session, "reviews")
    server.clock.advance(60)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/start", 403, "PERMISSION_DENIED", "no"))
    assert "It needs CAN RESTART on the cluster" in refusal(lambda: up(session, wanted), Exit.REFUSED)
