"""The free checks of permissions before a cluster is made: of the user, the nodes' account and the bucket. Laptop.

A check refuses only what is certain. A policy lists the roles that it gives to an account by its name. It does not tell
what an account has by a group, by a custom role, or from a folder above the project. Then the check says so and
passes. An unsure check of the bucket passes too: `up` writes into the bucket before it makes a cluster, and Google
refuses that for free.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from csp.cloud import Check
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from csp.dataproc.failures import short
from server_utils.errors import DeploymentError

_TO_CREATE = tuple(f"dataproc.clusters.{verb}" for verb in ("create", "get", "list"))  # all that `up` needs
_PERMISSIONS = (
    *_TO_CREATE, "dataproc.clusters.delete", "dataproc.jobs.create", "dataproc.jobs.get", "dataproc.jobs.list",
    "dataproc.operations.get", "dataproc.operations.list",
)  # fmt: skip
_READ_POLICY = "resourcemanager.projects.getIamPolicy"
_ACT_AS = "iam.serviceAccounts.actAs"
# `up` sends files, `run` replaces and fetches some, `down` deletes them.
_OBJECTS = tuple(f"storage.objects.{verb}" for verb in ("create", "get", "list", "delete"))
_WORKER, _OBJECT_USER = "roles/dataproc.worker", "roles/storage.objectUser"
_WORKERS = {_WORKER, "roles/editor", "roles/owner"}  # each lets a node report to Dataproc
# No role of these services does so. A role of another service may, such as roles/dataproc.serviceAgent.
_NO_WORKERS = tuple(f"roles/{each}." for each in ("artifactregistry", "bigquery", "logging", "monitoring", "storage"))
_USERS = {_OBJECT_USER, "roles/storage.objectAdmin", "roles/storage.admin"}
# The basic roles of a project give no access to objects. A new bucket gives editors and owners these two roles.
_BASIC = {"roles/editor": "projectEditor", "roles/owner": "projectOwner"}
_LEGACY = {"roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner"}
_MANY = ("group:", "domain:", "principalSet:", "allUsers", "allAuthenticatedUsers")
_MULTI = {"us": "US", "europe": "EU", "asia": "ASIA"}
_README = "csp/dataproc/README.md"
_FAILS = "the nodes fail"

Bindings = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Project:
    """A project and its policy. number: "", and has_parent: True, if this user may not read them."""

    name: str
    number: str
    has_parent: bool  # a folder or an organization above it
    bindings: Bindings


def checks(clients: Clients, me: str, accounts: Iterable[str | None], bucket: str) -> Iterator[Check]:
    """Yield the checks, one after the other.

    Args:
        clients: of the project.
        me: the signed-in user; "" if the credentials do not tell.
        accounts: of the nodes; None for the project's default account.
        bucket: name of the bucket.
    """
    yield Check.from_call("permissions", lambda: _permissions(clients))
    project = cache(lambda: _project(clients))
    emails, default = [each for each in accounts if each], ""
    if None in accounts:
        try:
            emails.append(default := _default_account(clients))
        except DeploymentError as error:
            yield Check("service account", f"could not be checked: {error}", was_checked=False)
    for email in sorted(emails):
        check = _act_as_default if email == default else _act_as
        yield Check.from_call("service account", lambda email=email, check=check: check(clients, email, me))  # type: ignore[misc]
        yield Check.from_call("roles of the nodes", lambda email=email: _worker(project(), email))  # type: ignore[misc]
    yield from _bucket(clients, me, project, emails, bucket)


def _permissions(clients: Clients) -> Check:
    path = f"v1/projects/{clients.project}:testIamPermissions"
    allowed = clients.post("cloudresourcemanager", path, {"permissions": list(_PERMISSIONS)}).get("permissions", [])
    missing = [each for each in _PERMISSIONS if each not in allowed]
    if not missing:
        return Check("permissions", f"all {len(_PERMISSIONS)} that are needed")
    detail = f"you do not have {', '.join(missing)}"
    fix = f"ask for roles/dataproc.editor on {clients.project}; {_README} lists the roles"
    if not set(missing).isdisjoint(_TO_CREATE):
        return Check("permissions", detail, fix)
    detail += f". A cluster can be made. If a later step is refused, {fix}"
    return Check("permissions", detail, was_checked=False)


def _default_account(clients: Clients) -> str:
    """Return the account of nodes without `--service-account`."""
    account = clients.get("compute", f"projects/{clients.project}").get("defaultServiceAccount")
    if not account:
        raise DeploymentError(f"{clients.project} has no default account for nodes; give --service-account")
    return str(account)


def _act_as(clients: Clients, email: str, me: str) -> Check:
    path = f"v1/projects/-/serviceAccounts/{email}:testIamPermissions"
    if _ACT_AS in clients.post("iam", path, {"permissions": [_ACT_AS]}).get("permissions", []):
        return Check("service account", f"you may run nodes as {email}")
    role = "roles/iam.serviceAccountUser"
    command = f"gcloud iam service-accounts add-iam-policy-binding {email} --member={_member(me)} --role={role}"
    fix = f"ask for {role} on {email}: `{command} --project={clients.project}`"
    return Check("service account", f"you may not run nodes as {email} ({_ACT_AS})", fix)


def _act_as_default(clients: Clients, email: str, me: str) -> Check:
    """Check the default account, and never refuse: older organizations do not need the permission."""
    check = _act_as(clients, email, me)
    if check.passed:
        return check
    return _unsure(check.name, f"{check.detail}, which older organizations do not need", "Google refuses it", check.fix)


def _project(clients: Clients) -> _Project:
    """Read the project. Raises DeploymentError if this user may not read its policy."""
    path = f"v1/projects/{clients.project}"
    body = {"permissions": [_READ_POLICY]}
    if not clients.post("cloudresourcemanager", f"{path}:testIamPermissions", body).get("permissions"):
        raise DeploymentError(f"who has which role on {clients.project} you may not read ({_READ_POLICY})")
    # Google refuses an older version if a grant has a condition.
    newest = {"options": {"requestedPolicyVersion": 3}}
    policy = clients.post("cloudresourcemanager", f"{path}:getIamPolicy", newest)
    try:
        project = clients.get("cloudresourcemanager", path)
    except DeploymentError:
        return _Project(clients.project, "", has_parent=True, bindings=policy.get("bindings", []))
    number, has_parent = str(project.get("projectNumber", "")), "parent" in project
    return _Project(clients.project, number, has_parent, policy.get("bindings", []))


def _worker(project: _Project, email: str) -> Check:
    """Check whether the nodes' account has a role by which a node reports to Dataproc."""
    roles = _roles(project.bindings, {_member(email)})
    if sufficient := sorted(roles & _WORKERS):
        return Check("roles of the nodes", f"{email} has {sufficient[0]}")
    detail = f"{project.name} gives {email} {', '.join(sorted(roles)) or 'no role'}, and nodes need {_WORKER}"
    command = f"gcloud projects add-iam-policy-binding {project.name} --member={_member(email)} --role={_WORKER}"
    if other_source := _other_source(project, roles):
        return _unsure("roles of the nodes", f"{detail}, which {other_source} may give", _FAILS, f"run `{command}`")
    return Check("roles of the nodes", detail, f"run `{command}`")


def _bucket(
    clients: Clients, me: str, project: Callable[[], _Project], emails: Sequence[str], name: str
) -> Iterator[Check]:
    """Check the location of the bucket, and whether the user and the nodes may use it."""
    bucket = clients.storage.bucket(name)
    place = Check.from_call("bucket", lambda: _place(clients, bucket))
    yield place
    if not place.passed:
        return
    yield Check.from_call("access to the bucket", lambda: _objects(bucket, me))
    for email in emails:
        yield Check.from_call("bucket of the nodes", lambda email=email: _of_nodes(project(), bucket, email))  # type: ignore[misc]


def _place(clients: Clients, bucket: Any) -> Check:
    from google.api_core.exceptions import BadRequest, Forbidden, NotFound

    name = bucket.name
    try:
        with translated(but=(BadRequest, Forbidden, NotFound)):
            bucket.reload(timeout=TIMEOUT_S, retry=None)
    except (BadRequest, Forbidden) as error:  # roles/storage.objectUser is enough, and may not read the location
        detail = f"gs://{name}; where it is could not be checked: {short(error.message)}"
        return Check("bucket", detail, was_checked=False)
    except NotFound:
        fix = f"`gcloud storage buckets create gs://{name} --location={clients.region} --uniform-bucket-level-access`"
        return Check("bucket", f"there is no gs://{name}", fix)
    location = (bucket.location or "").upper()
    if not _is_in(location, clients.region):
        far = f"gs://{name} is in {location}, and the cluster in {clients.region}: nodes read gigabytes from it"
        return Check("bucket", f"{far}. A --bucket in {clients.region} is faster and costs less", was_checked=False)
    return Check("bucket", f"gs://{name} in {location or 'an unknown place'}")


def _is_in(location: str, region: str) -> bool:
    """Return whether a bucket is in a region. A dual region such as NAM4 counts: Google does not tell its regions."""
    multi = _MULTI.get(region.partition("-")[0])
    return location in {"", region.upper(), multi} or re.fullmatch(r"[A-Z]+\d+", location) is not None


def _objects(bucket: Any, me: str) -> Check:
    """Check the user's access to objects, and never refuse: Google's answer leaves out ACLs and managed folders."""
    with translated():
        allowed = bucket.test_iam_permissions(list(_OBJECTS), timeout=TIMEOUT_S, retry=None)
    if missing := [each for each in _OBJECTS if each not in allowed]:
        detail = f"nothing that is seen gives you {', '.join(missing)} on gs://{bucket.name}"
        fix = f"ask for `{_grant(bucket, me)}`, or give another --bucket"
        return _unsure("access to the bucket", detail, "a file is refused", fix)
    return Check("access to the bucket", f"you may write, read and delete files of gs://{bucket.name}")


def _of_nodes(project: _Project, bucket: Any, email: str) -> Check:
    """Check the nodes' access to objects, and never refuse: a role on the bucket's own project may be sufficient."""
    roles = _roles(project.bindings, {_member(email)})
    foreign = project.number and bucket.project_number and str(bucket.project_number) != project.number
    if not foreign and (by_project := roles & {_WORKER, *_USERS}):
        return Check("bucket of the nodes", f"{email} has {min(by_project)} on {project.name}")
    members = {_member(email)} | {f"{_BASIC[role]}:{project.name}" for role in roles & _BASIC.keys()}
    with translated():
        policy = bucket.get_iam_policy(requested_policy_version=3, timeout=TIMEOUT_S, retry=None)
    on_bucket = _roles(policy.bindings, members)
    if sufficient := on_bucket & _USERS or (_LEGACY if on_bucket >= _LEGACY else set()):
        return Check("bucket of the nodes", f"{email} has {min(sufficient)} on gs://{bucket.name}")
    detail = f"nothing that is seen lets {email} use gs://{bucket.name}"
    return _unsure("bucket of the nodes", detail, _FAILS, f"run `{_grant(bucket, email)}`")


def _grant(bucket: Any, email: str) -> str:
    command = f"gcloud storage buckets add-iam-policy-binding gs://{bucket.name}"
    return f"{command} --member={_member(email)} --role={_OBJECT_USER}"


def _member(email: str) -> str:
    """Return an account as policies name it."""
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{email or 'YOU'}"


def _roles(bindings: Bindings, members: set[str]) -> set[str]:
    return {each["role"] for each in bindings if not members.isdisjoint(each.get("members", []))}


def _other_source(project: _Project, roles: set[str]) -> str:
    """Return what may give an account more permissions than its own roles do; "" for nothing."""
    many = {each["role"] for each in project.bindings if any(m.startswith(_MANY) for m in each.get("members", []))}
    unclear = sorted(role for role in roles | many if not role.startswith(_NO_WORKERS))
    if any(not role.startswith("roles/") for role in unclear):
        return "a custom role"
    if not many.isdisjoint(unclear):
        return "a group"
    return unclear[0] if unclear else "a folder or organization above it" if project.has_parent else ""


def _unsure(name: str, detail: str, symptom: str, fix: str) -> Check:
    """Return a check that passes without a result. symptom: how the user notices that a permission is missing."""
    return Check(name, f"could not be checked: {detail}. If {symptom}, {fix}", was_checked=False)
