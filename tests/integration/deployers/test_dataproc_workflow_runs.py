"""Runs on clusters of their own, which are workflows of Dataproc: what happens where the cluster cannot be had."""

from __future__ import annotations

import pytest
from support.dataproc_server import errors
from support.dataproc_server.server import ready
from unit.csp.deployments import Recorder

from csp import deployer
from csp.cloud import Exit, RunPhase, RunRequest
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from csp.run import run
from csp.up import up
from server_utils.errors import DeploymentError


def test_where_a_zone_has_no_machine_a_run_takes_the_next_zone(server, session, wanted, program):
    server.clusters.stocked_out["us-central1-a"] = errors.stock_out("us-central1-a")
    zones = []
    server.clusters.nodes = lambda cluster, *rest: (
        zones.append(cluster.config.gce_cluster_config.zone_uri) or ready(cluster, *rest)
    )
    ended = run(session, "mine", program, own_cluster=wanted())
    server.operations.settle()
    assert (ended.exit_code, set(zones), server.clusters.names) == (Exit.DONE, {"us-central1-b"}, [])
    assert any(
        "us-central1-a has no such machine now" in each and "choice 2 of 3" in each for each in session.report.messages
    )


def test_where_no_zone_has_a_machine_a_run_fails_and_nothing_is_left(server, session, wanted, program):
    for zone in server.compute.zones:
        server.clusters.stocked_out[zone] = errors.stock_out(zone)
    ended = run(session, "mine", program, own_cluster=wanted())
    server.operations.settle()
    assert (ended.exit_code, server.clusters.names) == (Exit.RUN_FAILED, [])
    assert "us-central1-c has no such machine now. Try another --zone" in ended.state.detail


def test_a_quota_that_is_used_up_is_no_reason_to_try_the_next_zone(server, session, wanted, program):
    server.clusters.stocked_out["us-central1-a"] = errors.quota("NVIDIA_L4_GPUS")  # since the checks
    ended = run(session, "mine", program, own_cluster=wanted())
    assert (ended.exit_code, len(server.operations.all("WORKFLOW"))) == (Exit.RUN_FAILED, 1)
    assert "the quota NVIDIA_L4_GPUS is used up" in ended.state.detail


def test_a_node_that_cannot_be_prepared_shows_the_end_of_its_own_log(server, session, wanted, program):
    server.clusters.nodes = lambda *_: (1, "error: spark-sidecar: no route to the package index\n")
    ended = run(session, "mine", program, own_cluster=wanted())
    assert (ended.exit_code, ended.state.error) == (
        Exit.RUN_FAILED,
        "error: spark-sidecar: no route to the package index",
    )
    assert "the initialization action gs://" in ended.state.detail


def test_who_may_not_ask_what_zones_sell_leaves_the_zone_to_dataproc(server, session, wanted, program):
    server.compute.failing = {r"aggregated/": (403, "Required 'compute.machineTypes.list' permission for 'projects/p'")}
    made = up(session, wanted())
    assert up(session, wanted()).cluster_id == made.cluster_id
    assert run(session, "mine", program, own_cluster=wanted()).exit_code == Exit.DONE


@pytest.fixture
def began(server, session, wanted, program, bucket):
    """A run in its first seconds: Dataproc does not tell its cluster yet. began(session) -> its id."""

    def submit(by=session):
        deployer.send(by, wanted())
        root = f"gs://{bucket}/spark-sidecar/mine"
        request = RunRequest("mine", program, {}, f"{root}/runs/1", "token", 60, deployment=wanted())
        return by.cloud.submit(request)

    return submit


def test_down_ends_a_run_in_its_first_seconds(server, session, began, pace):
    with server.operations.held("WORKFLOW") as gate:
        run_id = began()
        with pytest.raises(DeploymentError, match=f"run {run_id} goes on, on a cluster of its own that bills"):
            deployer.status(session, "mine")
        pace.at = {1: gate.set}
        deployer.down(session, "mine")
    assert session.cloud.run_state(run_id).phase is RunPhase.CANCELLED
    assert server.clusters.names == []


def test_a_run_in_its_first_seconds_is_not_a_colleagues_nor_another_deployments(server, session, began):
    with server.operations.held("WORKFLOW"):
        run_id = began()
        assert session.cloud.active_runs("min") == []
        server.compute.email = "bob@example.com"
        assert session.cloud.active_runs("mine") == []
        for_ann = connect(bucket=server.bucket.name, owner="ann@example.com")
        assert for_ann.active_runs("mine") == [run_id]
        assert connect().active_runs("mine") == []  # without a bucket nobody knows


def test_a_submission_that_is_repeated_notes_its_run_once(server, began):
    with server.operations.held("WORKFLOW"):
        assert began() == began()


def test_dataproc_forgets_the_token_of_a_run_with_its_end(server, began):
    ended = began()
    server.operations.settle()
    assert began() != ended


def test_down_for_another_person_ends_that_persons_run_on_its_own_cluster(server, session, began, pace):
    server.jobs.driver = lambda cluster, job, write, cancelled: int(cancelled.wait(60))
    run_id = began()
    server.compute.email = "bob@example.com"
    cloud = connect(bucket=server.bucket.name, owner="ann@example.com")
    for_ann = Session(cloud, Recorder(), "ann@example.com", pace.clock())
    deployer.down(for_ann, "mine")
    assert session.cloud.run_state(run_id).phase is RunPhase.CANCELLED
    assert server.clusters.names == []


def test_what_is_made_for_another_person_is_that_persons(wanted, session, pace, bucket):
    for_bob = Session(connect(bucket=bucket, owner="bob@example.com"), Recorder(), "bob@example.com", pace.clock())
    assert up(for_bob, wanted()).owner == "bob@example.com"
    with pytest.raises(DeploymentError, match=r"a deployment of bob@example\.com, and you are ann@") as caught:
        deployer.down(session, "mine")
    assert caught.value.exit_code == Exit.TAKEN
    assert deployer.down(for_bob, "mine")[0].startswith("cluster mine")


def test_a_run_is_found_among_many_jobs_and_operations(server, session, wanted, program, began):
    server.operations.page_size = server.jobs.page_size = 1
    state = up(session, wanted())
    for _ in range(3):
        run(session, "mine", program)
    server.jobs.driver = lambda cluster, job, write, cancelled: int(cancelled.wait(60))
    own = began()
    request = RunRequest("mine", program, {}, f"{state.root}/runs/2", "other", 60, cluster=state)
    on_it = session.cloud.submit(request)
    assert set(session.cloud.active_runs("mine")) == {own, on_it}
    assert len(deployer.logs(session, "mine", ["driver"])) == 4
    for run_id in (own, on_it):
        session.cloud.cancel(run_id)
