"""What `up` looks at before anything is made on Dataproc: what the user and the nodes' account may do."""

from __future__ import annotations

import dataclasses

import pytest
from google.auth.credentials import AnonymousCredentials
from support.dataproc_server.compute import DEFAULT_ACCOUNT
from support.dataproc_server.server import NODES_ACCOUNT, PROJECT

from csp import deployer
from csp.dataproc.deployer import Dataproc
from csp.up import up
from server_utils.errors import DeploymentError, StorageError

ROLES, BUCKET, FILES = "roles of the nodes", "bucket of the nodes", "access to the bucket"
OBJECTS = {f"storage.objects.{verb}" for verb in ("create", "get", "list", "delete")}
MEMBER = f"--member=serviceAccount:{NODES_ACCOUNT}"
WORKER = f"gcloud projects add-iam-policy-binding {PROJECT} {MEMBER} --role=roles/dataproc.worker"


def check_named(session, deployment, name):
    (check,) = (each for each in deployer.check(session, deployment) if each.name == name)
    return check


def test_what_is_not_seen_of_the_files_is_a_notice_and_no_refusal(server, session, wanted):
    """An ACL of the objects, a managed folder or a condition on their names may allow it."""
    server.storage.permissions = OBJECTS - {"storage.objects.get"}
    server.storage.unseen = {"storage.objects.get"}
    name = server.bucket.name
    check = check_named(session, wanted(), FILES)
    assert (check.passed, check.was_checked) == (True, False)
    assert check.detail == (
        f"could not be checked: nothing that is seen gives you storage.objects.get on gs://{name}. If a file is "
        f"refused, ask for `gcloud storage buckets add-iam-policy-binding gs://{name} --member=user:ann@example.com "
        "--role=roles/storage.objectUser`, or give another --bucket"
    )
    assert up(session, wanted()).is_ready
    assert f"Not sure: {FILES} {check.detail}." in session.report.messages


def test_a_bucket_that_the_user_may_not_write_into_ends_it_before_anything_bills(server, session, wanted):
    server.storage.permissions = OBJECTS - {"storage.objects.create"}
    with pytest.raises(StorageError, match=r"is refused: 403 .*does not have storage\.objects\.create access"):
        up(session, wanted())
    assert any("gives you storage.objects.create on gs://" in each for each in session.report.messages)
    assert "CreateCluster" not in server.calls
    assert list(server.bucket.list_blobs()) == []


class Renewed(AnonymousCredentials):
    """A sign-in that is renewed, and refused all the same."""

    def refresh(self, request):
        """Get nothing new."""


REFUSED = {
    (400, "Bucket is a requester pays bucket but no user project provided."): (
        "gs://{name}; where it is could not be checked: {asked} {message}"
    ),
    (401, "Invalid Credentials"): (
        "could not be checked: Google does not accept the credentials: {asked} {message}; "
        "run `gcloud auth application-default login`, and try again"
    ),
}


@pytest.mark.parametrize("error", REFUSED)
def test_a_bucket_that_cannot_be_read_is_told_in_the_words_of_google(server, session, wanted, error):
    name = server.bucket.name
    server.storage.failing = {f"GET /storage/v1/b/{name}": error}
    asked = f"GET {server.storage_url}/storage/v1/b/{name}?***"
    clients = dataclasses.replace(session.cloud._clients, credentials=Renewed())
    check = check_named(dataclasses.replace(session, cloud=Dataproc(clients, name)), wanted(), "bucket")
    assert check.detail == REFUSED[error].format(name=name, asked=asked, message=error[1])
    assert (check.passed, check.was_checked) == (True, False)


@pytest.mark.parametrize("location", ["EU", "EUROPE-WEST1", "US-EAST1"])
def test_a_bucket_that_is_far_away_is_said_and_not_refused(server, session, wanted, location):
    server.storage.location = location
    check = check_named(session, wanted(), "bucket")
    assert (check.passed, check.was_checked) == (True, False)
    assert f"is in {location}, and the cluster in us-central1: nodes read gigabytes from it. A --bucket" in check.detail


def test_a_bucket_whose_objects_may_be_used_is_enough(server, session, wanted):
    server.storage.permissions = OBJECTS
    assert up(session, wanted()).is_ready
    assert any("where it is could not be checked" in each for each in session.report.messages)


def test_an_account_without_the_role_of_nodes_is_said_before_anything_is_made(server, session, wanted):
    server.compute.roles["roles/logging.logWriter"] = {f"serviceAccount:{NODES_ACCOUNT}"}
    with pytest.raises(DeploymentError) as caught:
        up(session, wanted(service_account=NODES_ACCOUNT))
    assert str(caught.value) == (
        f"nothing was made, because {ROLES}: {PROJECT} gives {NODES_ACCOUNT} roles/logging.logWriter, and nodes need "
        f"roles/dataproc.worker; run `{WORKER}`"
    )
    assert "CreateCluster" not in server.calls
    server.compute.roles["roles/dataproc.worker"] = {f"serviceAccount:{NODES_ACCOUNT}"}
    assert up(session, wanted(service_account=NODES_ACCOUNT)).is_ready
    assert not any("Not sure" in each for each in session.report.messages)


def test_without_an_account_the_default_one_of_the_project_is_looked_at(server, session, wanted):
    """New projects give it no role."""
    assert check_named(session, wanted(), ROLES).detail == f"{DEFAULT_ACCOUNT} has roles/editor"
    server.compute.roles = {}
    assert f"{PROJECT} gives {DEFAULT_ACCOUNT} no role" in check_named(session, wanted(), ROLES).detail


UNSEEN = {
    "a folder": (lambda compute: setattr(compute, "parent", {"type": "folder", "id": "1"}), "a folder or organization"),
    "a group": (lambda compute: compute.roles.update({"roles/dataproc.worker": {"group:n@example.com"}}), "a group"),
    "a custom role": (
        lambda compute: compute.roles.update({f"projects/{PROJECT}/roles/nodes": {f"serviceAccount:{NODES_ACCOUNT}"}}),
        "a custom role",
    ),
    "another role": (
        lambda compute: compute.roles.update({"roles/dataproc.serviceAgent": {f"serviceAccount:{NODES_ACCOUNT}"}}),
        "which roles/dataproc.serviceAgent may give",
    ),
    "no answer": (lambda compute: setattr(compute, "roles", None), "resourcemanager.projects.getIamPolicy"),
}


@pytest.mark.parametrize("why", UNSEEN)
def test_what_cannot_be_seen_is_a_notice_and_no_refusal(server, session, wanted, why):
    hide, expected = UNSEEN[why]
    hide(server.compute)
    check = check_named(session, wanted(service_account=NODES_ACCOUNT), ROLES)
    assert (check.passed, check.was_checked, expected in check.detail) == (True, False, True), check.detail
    assert up(session, wanted(service_account=NODES_ACCOUNT)).is_ready
    (notice,) = (each for each in session.report.messages if each.startswith(f"Not sure: {ROLES}"))
    assert why == "no answer" or f"If the nodes fail, run `{WORKER}`" in notice


def test_a_bucket_of_another_project_needs_a_role_for_the_nodes(server, session, wanted):
    server.compute.roles["roles/dataproc.worker"] = {f"serviceAccount:{NODES_ACCOUNT}"}
    deployment = wanted(service_account=NODES_ACCOUNT)
    assert check_named(session, deployment, BUCKET).detail == f"{NODES_ACCOUNT} has roles/dataproc.worker on {PROJECT}"
    server.storage.number, name = "999", server.bucket.name
    grant = f"gcloud storage buckets add-iam-policy-binding gs://{name} --member=serviceAccount:{NODES_ACCOUNT}"
    check = check_named(session, deployment, BUCKET)
    assert (check.passed, check.was_checked) == (True, False)
    assert (
        f"{NODES_ACCOUNT} use gs://{name}. If the nodes fail, run `{grant} --role=roles/storage.objectUser`"
        in check.detail
    )
    server.storage.roles["roles/storage.objectUser"] = {f"serviceAccount:{NODES_ACCOUNT}"}
    assert (
        check_named(session, deployment, BUCKET).detail
        == f"{NODES_ACCOUNT} has roles/storage.objectUser on gs://{name}"
    )
    server.storage.permissions = {"storage.buckets.get"}
    assert "storage.buckets.getIamPolicy" in check_named(session, deployment, BUCKET).detail


def test_an_editor_uses_a_bucket_only_by_the_policy_of_the_bucket(server, session, wanted):
    name = server.bucket.name
    policy = check_named(session, wanted(), BUCKET)
    assert policy.detail == f"{DEFAULT_ACCOUNT} has roles/storage.legacyBucketOwner on gs://{name}"
    del server.storage.roles["roles/storage.legacyObjectOwner"]  # which reads files
    lacking = check_named(session, wanted(), BUCKET)
    assert (lacking.passed, lacking.was_checked) == (True, False)
    assert f"nothing that is seen lets {DEFAULT_ACCOUNT} use gs://{name}" in lacking.detail
    server.storage.roles["roles/storage.objectAdmin"] = {f"projectEditor:{PROJECT}"}
    assert (
        check_named(session, wanted(), BUCKET).detail
        == f"{DEFAULT_ACCOUNT} has roles/storage.objectAdmin on gs://{name}"
    )


def test_a_custom_role_that_is_enough_to_make_a_cluster_is_enough(server, session, wanted):
    """Without actAs too: older organizations do not ask for it on the default account."""
    server.compute.permissions = {f"dataproc.clusters.{verb}" for verb in ("create", "get", "list")}
    assert up(session, wanted()).is_ready
    notices = "\n".join(each for each in session.report.messages if each.startswith("Not sure"))
    assert "permissions you do not have dataproc.clusters.delete, " in notices
    assert f"you may not run nodes as {DEFAULT_ACCOUNT} (iam.serviceAccounts.actAs), which older organ" in notices
    assert "If Google refuses it, ask for roles/iam.serviceAccountUser on" in notices
