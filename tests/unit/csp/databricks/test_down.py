"""The end of a deployment: what `down` deletes, what it keeps, and whose it is."""

from __future__ import annotations

from support.databricks_server.accounts import ME
from support.databricks_server.faults import Fault

from csp import deployer, run
from csp.cloud import Exit, RunPhase
from csp.databricks.deployer import connect
from csp.up import up
from unit.csp.databricks.workspace import CREATE, ROOT, VOLUME, as_user, refusal, request_count
from unit.csp.deployments import deployment, new_session


def test_a_cluster_ends_before_it_is_forgotten(server, session, wanted):
    up(session, wanted)
    (cluster,) = server.clusters.all.values()
    deployer.down(session, "reviews")
    assert [each["type"] for each in cluster.events][-1] == "TERMINATING"
    assert cluster.state == "TERMINATED"
    assert server.clusters.all == {}


def test_another_persons_deployment_is_left_alone(server, session, wanted, monkeypatch):
    up(session, wanted)
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    other = new_session(connect(volume=VOLUME), server.clock)
    message = refusal(lambda: up(other, wanted), Exit.TAKEN)
    assert f"is a deployment of {ME}, and you are other@example.com" in message
    refusal(lambda: deployer.down(other, "reviews"), Exit.TAKEN)
    assert deployer.status(other, "reviews")[0].owner == ME


def test_what_is_made_for_another_person_is_run_and_removed_by_who_made_it(server, wanted, notebook):
    acting = new_session(connect(volume=VOLUME, owner="ann@example.com"), server.clock, owner="ann@example.com")
    assert up(acting, wanted).owner == ME
    assert up(acting, wanted).is_ready
    assert run.run(acting, "reviews", notebook).exit_code is Exit.DONE
    assert f"/Users/{ME}/spark-sidecar/reviews" in deployer.down(acting, "reviews")
    assert server.clusters.all == {}


def test_another_persons_files_are_left_alone_where_there_is_no_cluster(server, session, wanted, monkeypatch):
    up(session, wanted)
    session.cloud._client.files.create_directory(f"{ROOT}/models/m")
    deployer.down(session, "reviews")
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    other = new_session(connect(volume=VOLUME), server.clock)
    for change in (lambda: deployer.down(other, "reviews", models=True), lambda: up(other, wanted)):
        assert f"is a deployment of {ME}, and you are other@example.com" in refusal(change, Exit.TAKEN)
    assert request_count(server, CREATE) == 1
    assert server.volumes.on_disk(f"{ROOT}/models/m").is_dir()
    acting = new_session(connect(volume=VOLUME), server.clock, owner=ME)
    assert deployer.down(acting, "reviews", models=True) == [f"{ROOT}/models"]
    assert up(other, wanted).owner == "other@example.com"  # nothing is left, so the name is free


def test_down_deletes_the_deployment_and_only_that_and_keeps_models(server, session, wanted, tmp_path):
    up(session, wanted)
    up(session, deployment(tmp_path, "databricks-aws", name="other"))
    session.cloud._client.files.create_directory(f"{ROOT}/models/m")
    deleted = deployer.down(session, "reviews")
    assert any(each.startswith("cluster reviews") for each in deleted)
    assert [each.name for each in deployer.status(session, "other")] == ["other"]
    assert session.cloud.store(ROOT).folders() == ["models", "owner"]
    assert session.cloud.store(f"{VOLUME}/spark-sidecar/other").folders() != []
    assert deployer.down(session, "reviews") == []
    assert deployer.down(session, "reviews", models=True) == [f"{ROOT}/models"]


def test_status_and_down_need_the_name_alone(server, session, wanted):
    first = up(session, wanted)
    elsewhere = new_session(connect(), server.clock)
    assert deployer.status(elsewhere, "reviews")[0].cluster_id == first.cluster_id
    assert any(each.startswith(ROOT) for each in deployer.down(elsewhere, "reviews"))


def test_status_and_down_know_a_run_on_a_cluster_of_its_own(server, session, left):
    message = refusal(lambda: deployer.status(session, "reviews"), Exit.NOT_FOUND)
    assert f"run {left} goes on, on a cluster of its own that bills" in message
    assert session.cloud.active_runs("review") == []
    deleted = deployer.down(session, "reviews")
    assert f"Cancelling run {left}." in session.report.messages
    assert any(each.startswith(f"{ROOT}/files-") for each in deleted)
    assert not any(each.alive for each in server.clusters.all.values())
    assert session.cloud.active_runs("reviews") == []


def test_down_for_another_person_ends_that_persons_runs_and_notebooks(server, session, left, monkeypatch):
    as_user(server, monkeypatch, name="other@example.com", admin=True)
    acting = new_session(connect(volume=VOLUME, owner=ME), server.clock, owner=ME)
    assert f"/Users/{ME}/spark-sidecar/reviews" in deployer.down(acting, "reviews")
    assert acting.cancel(left).phase is RunPhase.CANCELLED


def test_down_for_another_person_ends_the_runs_of_who_is_signed_in_too(server, left):
    acting = new_session(connect(volume=VOLUME, owner="ann@example.com"), server.clock, owner="ann@example.com")
    deployer.down(acting, "reviews")
    assert f"Cancelling run {left}." in acting.report.messages


def test_a_folder_into_which_a_last_log_is_written_is_deleted_again(server, session, wanted):
    up(session, wanted)
    conflict = Fault("DELETE /api/2.0/fs/directories/*", 409, "RESOURCE_CONFLICT", "The directory is not empty.")
    server.plan.faults.append(conflict)
    deployer.down(session, "reviews")
    assert session.cloud.store(ROOT).folders() == []
    assert any("The directory is not empty.; again in" in each for each in session.report.waits)
