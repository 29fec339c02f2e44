"""Clusters that fail: why, what to do, and that they are deleted; and the logs of clusters."""

from __future__ import annotations

import pytest
from support.databricks_server.faults import ClusterFate, Fault, fate

from csp import deployer
from csp.cloud import Exit
from csp.up import up
from unit.csp.databricks.workspace import ROOT, refusal, wanted_folder


@pytest.mark.parametrize(
    ("code", "fix"),
    [
        ("AWS_RESOURCE_QUOTA_EXCEEDED", "Ask the cloud for more"),
        ("BOOTSTRAP_TIMEOUT", "Look at routes, NAT"),
        ("TRIAL_EXPIRED", "paid account"),
        ("GCP_DENIED_BY_ORG_POLICY", "administrator"),
        ("REQUEST_REJECTED", "event log"),
    ],
)
def test_a_cluster_that_ends_is_explained_and_deleted(server, session, wanted, code, fix):
    server.plan.clusters.append(fate(code))
    message = refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert code in message
    assert fix in message
    assert "It is deleted, and nothing bills" in message
    refusal(lambda: deployer.status(session, "reviews"), Exit.NOT_FOUND)


def test_a_failed_cluster_is_kept_where_the_user_says_so(server, session, wanted):
    server.plan.clusters.append(fate("BOOTSTRAP_TIMEOUT"))
    assert "It is kept" in refusal(lambda: up(session, wanted, keep=True), Exit.REFUSED)
    assert deployer.status(session, "reviews")[0].ours


def test_a_failure_whose_events_may_not_be_read_is_still_deleted(server, session, wanted):
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    server.plan.faults.append(Fault("POST /api/2.1/clusters/events", 403, "PERMISSION_DENIED", "no", times=9))
    message = refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert "Its cause could not be read: reading the events is not allowed: no" in message
    assert "It is deleted, and nothing bills" in message
    refusal(lambda: deployer.status(session, "reviews"), Exit.NOT_FOUND)


def test_a_failure_whose_log_may_not_be_read_is_still_deleted(server, session, wanted):
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    logs = Fault("GET /api/2.0/fs/directories/*/logs", 403, "PERMISSION_DENIED", "no READ VOLUME", times=9)
    server.plan.faults.append(logs)
    message = refusal(lambda: up(session, wanted), Exit.REFUSED)
    assert "the init script ended with an error" in message
    assert "It is deleted, and nothing bills" in message
    assert server.clusters.all == {}


def test_a_missing_init_script_is_named(server, session, wanted):
    up(session, wanted)
    server.clock.advance(2 * 3600)
    deployer.status(session, "reviews")
    server.clock.advance(60)
    (state,) = deployer.status(session, "reviews")
    server.volumes.on_disk(f"{wanted_folder(session, wanted)}/databricks.sh").unlink()
    session.cloud.start(state)
    server.clock.advance(60)
    session.cloud.state(state.cluster_id)
    server.clock.advance(60)
    failure = session.cloud.failure(session.cloud.state(state.cluster_id))
    assert failure.code == "INIT_SCRIPT_FAILURE"
    assert "databricks.sh does not exist" in failure.log


def test_logs_are_those_of_the_volume(server, session, wanted):
    state = up(session, wanted)
    logs = server.volumes.on_disk(f"{ROOT}/logs")
    for name in (f"{state.cluster_id}/driver/stdout", "host-1/init.log", "servers/app-1/init/host-1.log"):
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text("one\ntwo\n")
    shown = deployer.logs(session, "reviews", ["driver", "init", "executor", "server"])
    assert [(each.kind, each.text) for each in shown] == [
        ("driver", "one\ntwo"),
        ("init", "one\ntwo"),
        ("server", "one\ntwo"),
    ]
    for route in ("POST /api/2.0/fs/create-download-url", "GET /api/2.0/fs/files/*/stdout"):
        server.plan.faults.append(Fault(route, 404, "NOT_FOUND", "It was deleted"))
    assert [each.kind for each in deployer.logs(session, "reviews", ["driver", "init"])] == ["init"]
    assert server.plan.not_met() == []


def test_the_log_of_the_node_that_failed_explains_it_whatever_other_nodes_and_clusters_wrote(server, session, wanted):
    def write(text):
        (cluster_id,) = server.clusters.all
        names = {f"{cluster_id}-10-0-0-{number}/init.log": "ready\n" for number in range(3, 13)}
        names |= {f"{cluster_id}-10-0-0-2/init.log": "error: spark-sidecar: no space left\n"}
        names |= {"9999-000001-abc-10-0-0-99/init.log": "error: spark-sidecar: of an older cluster\n"}
        for name, content in names.items():
            path = server.volumes.on_disk(f"{ROOT}/logs") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    session.report.on_wait = write
    server.plan.clusters.append(ClusterFate("INIT_SCRIPT_FAILURE"))
    message = refusal(lambda: up(session, wanted, keep=True), Exit.REFUSED)
    assert message.endswith("The init script's log ends:\nerror: spark-sidecar: no space left")
    shown = [each.name.rpartition("-")[2] for each in deployer.logs(session, "reviews", ["init"])]
    assert shown == [f"{number}/init.log" for number in (9, 10, 11, 12)]


def test_why_workers_do_not_come_is_said_in_the_wait_and_at_its_end(server, session, wanted):
    server.plan.clusters.append(ClusterFate(workers=1, missing="AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE"))
    message = refusal(lambda: up(session, wanted, timeout_s=600), Exit.TIMEOUT)
    why = "AWS_INSUFFICIENT_INSTANCE_CAPACITY_FAILURE: the cloud has no such node in this zone now"
    assert "the cluster is running with 1 of 2 workers" in message
    assert why in message
    assert any(why in each for each in session.report.waits)
    server.plan.faults.append(Fault("POST /api/2.1/clusters/events", 403, "PERMISSION_DENIED", "no", times=99))
    assert deployer.status(session, "reviews")[0].detail == "RUNNING"
