"""What `up` looks at before anything is made on Dataproc: what the user and the nodes' account may do."""

from __future__ import annotations

import pytest
from support.dataproc_server.compute import DEFAULT_ACCOUNT
from support.dataproc_server.server import PROJECT

from csp import deployer
from csp.cloud import Exit
from csp.up import up
from server_utils.errors import DeploymentError

NODES = f"nodes@{PROJECT}.iam.gserviceaccount.com"
ROLES, BUCKET = "roles of the nodes", "bucket of the nodes"
WORKER = (
    f"gcloud projects add-iam-policy-binding {PROJECT} --member=serviceAccount:{NODES} --role=roles/dataproc.worker"
)


def found(session, deployment, name):
    (check,) = (each for each in deployer.check(session, deployment) if each.name == name)
    return check


@pytest.mark.parametrize("lacking", ["create", "delete"])
def test_a_bucket_that_the_user_may_not_write_into_is_said_before_anything_is_made(server, session, wanted, lacking):
    server.storage.permissions = {f"storage.objects.{verb}" for verb in ("create", "get", "list", "delete")}
    server.storage.permissions.remove(f"storage.objects.{lacking}")
    name = server.bucket.name
    with pytest.raises(DeploymentError) as caught:
        up(session, wanted())
    assert str(caught.value) == (
        f"nothing was made, because access to the bucket: you lack storage.objects.{lacking} on gs://{name}; ask for "
        f"`gcloud storage buckets add-iam-policy-binding gs://{name} --member=user:ann@example.com "
        "--role=roles/storage.objectUser`, or give another --bucket"
    )
    assert caught.value.exit_code == Exit.CHECK_FAILED
    assert "CreateCluster" not in server.calls
    assert list(server.bucket.list_blobs()) == []


def test_a_bucket_whose_objects_may_be_used_is_enough(server, session, wanted):
    server.storage.permissions = {f"storage.objects.{verb}" for verb in ("create", "get", "list", "delete")}
    assert up(session, wanted()).is_ready
    assert any("where it is could not be checked" in each for each in session.report.said)


def test_an_account_without_the_role_of_nodes_is_said_before_anything_is_made(server, session, wanted):
    server.compute.roles["roles/logging.logWriter"] = {f"serviceAccount:{NODES}"}
    with pytest.raises(DeploymentError) as caught:
        up(session, wanted(service_account=NODES))
    assert str(caught.value) == (
        f"nothing was made, because {ROLES}: {PROJECT} gives {NODES} roles/logging.logWriter, and nodes need "
        f"roles/dataproc.worker; run `{WORKER}`"
    )
    assert "CreateCluster" not in server.calls
    server.compute.roles["roles/dataproc.worker"] = {f"serviceAccount:{NODES}"}
    assert up(session, wanted(service_account=NODES)).is_ready
    assert not any("Not sure" in each for each in session.report.said)


def test_without_an_account_the_default_one_of_the_project_is_looked_at(server, session, wanted):
    """New projects give it no role."""
    assert found(session, wanted(), ROLES).found == f"{DEFAULT_ACCOUNT} has roles/editor"
    server.compute.roles = {}
    assert f"{PROJECT} gives {DEFAULT_ACCOUNT} no role" in found(session, wanted(), ROLES).found


UNSEEN = {
    "a folder": (lambda compute: setattr(compute, "parent", {"type": "folder", "id": "1"}), "a folder or organization"),
    "a group": (lambda compute: compute.roles.update({"roles/dataproc.worker": {"group:n@example.com"}}), "a group"),
    "a custom role": (
        lambda compute: compute.roles.update({f"projects/{PROJECT}/roles/nodes": {f"serviceAccount:{NODES}"}}),
        "a custom role",
    ),
    "no answer": (lambda compute: setattr(compute, "roles", None), "resourcemanager.projects.getIamPolicy"),
}


@pytest.mark.parametrize("why", UNSEEN)
def test_what_cannot_be_seen_is_a_notice_and_no_refusal(server, session, wanted, why):
    hide, told = UNSEEN[why]
    hide(server.compute)
    check = found(session, wanted(service_account=NODES), ROLES)
    assert (check.passed, check.looked, told in check.found) == (True, False, True), check.found
    assert up(session, wanted(service_account=NODES)).is_ready
    (notice,) = (each for each in session.report.said if each.startswith(f"Not sure: {ROLES}"))
    assert why == "no answer" or f"Where nodes fail, run `{WORKER}`" in notice


def test_a_bucket_of_another_project_needs_a_role_for_the_nodes(server, session, wanted):
    server.compute.roles["roles/dataproc.worker"] = {f"serviceAccount:{NODES}"}
    deployment = wanted(service_account=NODES)
    assert found(session, deployment, BUCKET).found == f"{NODES} has roles/dataproc.worker on {PROJECT}"
    server.storage.number, name = "999", server.bucket.name
    grant = f"gcloud storage buckets add-iam-policy-binding gs://{name} --member=serviceAccount:{NODES}"
    check = found(session, deployment, BUCKET)
    assert (check.passed, check.looked) == (True, False)
    assert f"{NODES} use gs://{name}. Where nodes fail, run `{grant} --role=roles/storage.objectUser`" in check.found
    server.storage.roles["roles/storage.objectUser"] = {f"serviceAccount:{NODES}"}
    assert found(session, deployment, BUCKET).found == f"{NODES} has roles/storage.objectUser on gs://{name}"
    server.storage.permissions = {"storage.buckets.get"}
    assert "storage.buckets.getIamPolicy" in found(session, deployment, BUCKET).found
