"""Who may do what, looked at for free before a cluster is made: the user, the nodes' account, and the bucket. Laptop.

Only what is certain is refused. A policy says which roles it gives an account by its name. What an account has by a
group, by a custom role, or from a folder above the project is not seen: then the check says so, and passes. The same
holds for a bucket: `up` writes into it before it makes a cluster, and Google refuses that for free.
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

_TO_CREATE = tuple(f"dataproc.clusters.{verb}" for verb in ("create", "get", "list"))  # `up` needs no more
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
# No role of these services does. One of any other service may, such as roles/dataproc.serviceAgent.
_NO_WORKERS = tuple(f"roles/{each}." for each in ("artifactregistry", "bigquery", "logging", "monitoring", "storage"))
_USERS = {_OBJECT_USER, "roles/storage.objectAdmin", "roles/storage.admin"}
# Editors and owners of a project have no objects by that. A new bucket gives them these two roles.
_BASIC = {"roles/editor": "projectEditor", "roles/owner": "projectOwner"}
_LEGACY = {"roles/storage.legacyBucketOwner", "roles/storage.legacyObjectOwner"}
_MANY = ("group:", "domain:", "principalSet:", "allUsers", "allAuthenticatedUsers")
_MULTI = {"us": "US", "europe": "EU", "asia": "ASIA"}
_README = "csp/dataproc/README.md"
_FAILS = "the nodes fail"

Bindings = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Project:
    """What a project says of itself. number: "" and alone: False where that may not be asked."""

    name: str
    number: str
    alone: bool  # without a folder or an organization above it
    bindings: Bindings


def checks(clients: Clients, me: str, accounts: Iterable[str | None], bucket: str) -> Iterator[Check]:
    """One after the other.

    Args:
        clients: of the project.
        me: who is signed in; "" for credentials that do not tell.
        accounts: of the nodes; None for the project's default.
        bucket: its name.
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
        look = _act_as_default if email == default else _act_as
        yield Check.from_call("service account", lambda email=email, look=look: look(clients, email, me))  # type: ignore[misc]
        yield Check.from_call("roles of the nodes", lambda email=email: _worker(project(), email))  # type: ignore[misc]
    yield from _bucket(clients, me, project, emails, bucket)


def _permissions(clients: Clients) -> Check:
    path = f"v1/projects/{clients.project}:testIamPermissions"
    allowed = clients.post("cloudresourcemanager", path, {"permissions": list(_PERMISSIONS)}).get("permissions", [])
    missing = [each for each in _PERMISSIONS if each not in allowed]
    if not missing:
        return Check("permissions", f"all {len(_PERMISSIONS)} that are needed")
    found = f"you do not have {', '.join(missing)}"
    fix = f"ask for roles/dataproc.editor on {clients.project}; {_README} lists the roles"
    if not set(missing).isdisjoint(_TO_CREATE):
        return Check("permissions", found, fix)
    return Check("permissions", f"{found}. A cluster can be made. If a later step is refused, {fix}", was_checked=False)


def _default_account(clients: Clients) -> str:
    """The account of nodes for which none is named."""
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
    """Never a refusal: older organizations may run Dataproc's nodes as the default account without the permission."""
    check = _act_as(clients, email, me)
    if check.passed:
        return check
    return _unsure(check.name, f"{check.detail}, which older organizations do not need", "Google refuses it", check.fix)


def _project(clients: Clients) -> _Project:
    """Raises DeploymentError where its policy may not be read."""
    path = f"v1/projects/{clients.project}"
    asked = {"permissions": [_READ_POLICY]}
    if not clients.post("cloudresourcemanager", f"{path}:testIamPermissions", asked).get("permissions"):
        raise DeploymentError(f"who has which role on {clients.project} you may not read ({_READ_POLICY})")
    # An older version is refused where a grant has a condition.
    newest = {"options": {"requestedPolicyVersion": 3}}
    policy = clients.post("cloudresourcemanager", f"{path}:getIamPolicy", newest)
    try:
        told = clients.get("cloudresourcemanager", path)
    except DeploymentError:
        return _Project(clients.project, "", alone=False, bindings=policy.get("bindings", []))
    alone = "parent" not in told
    return _Project(clients.project, str(told.get("projectNumber", "")), alone, policy.get("bindings", []))


def _worker(project: _Project, email: str) -> Check:
    held = _roles(project.bindings, {_member(email)})
    if enough := sorted(held & _WORKERS):
        return Check("roles of the nodes", f"{email} has {enough[0]}")
    found = f"{project.name} gives {email} {', '.join(sorted(held)) or 'no role'}, and nodes need {_WORKER}"
    command = f"gcloud projects add-iam-policy-binding {project.name} --member={_member(email)} --role={_WORKER}"
    if elsewhere := _unseen(project, held):
        return _unsure("roles of the nodes", f"{found}, which {elsewhere} may give", _FAILS, f"run `{command}`")
    return Check("roles of the nodes", found, f"run `{command}`")


def _bucket(
    clients: Clients, me: str, project: Callable[[], _Project], emails: Sequence[str], name: str
) -> Iterator[Check]:
    """Where it is, and whether the user and the nodes may use it."""
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
    except (BadRequest, Forbidden) as error:  # roles/storage.objectUser may not look, and is enough
        lack = f"where it is could not be checked: {short(error.message)}"
        return Check("bucket", f"gs://{name}; {lack}", was_checked=False)
    except NotFound:
        fix = f"`gcloud storage buckets create gs://{name} --location={clients.region} --uniform-bucket-level-access`"
        return Check("bucket", f"there is no gs://{name}", fix)
    location = (bucket.location or "").upper()
    if not _near(location, clients.region):
        far = f"gs://{name} is in {location}, and the cluster in {clients.region}: nodes read gigabytes from it"
        return Check("bucket", f"{far}. A --bucket in {clients.region} is faster and costs less", was_checked=False)
    return Check("bucket", f"gs://{name} in {location or 'an unknown place'}")


def _near(location: str, region: str) -> bool:
    """Whether a bucket is in a region. Dual regions have names such as NAM4: which regions they hold is not told."""
    multi = _MULTI.get(region.partition("-")[0])
    return location in {"", region.upper(), multi} or re.fullmatch(r"[A-Z]+\d+", location) is not None


def _objects(bucket: Any, me: str) -> Check:
    """Never a refusal: Google's answer leaves out ACLs of objects, managed folders, and conditions on names."""
    with translated():
        allowed = bucket.test_iam_permissions(list(_OBJECTS), timeout=TIMEOUT_S, retry=None)
    if missing := [each for each in _OBJECTS if each not in allowed]:
        found = f"nothing that is seen gives you {', '.join(missing)} on gs://{bucket.name}"
        fix = f"ask for `{_grant(bucket, me)}`, or give another --bucket"
        return _unsure("access to the bucket", found, "a file is refused", fix)
    return Check("access to the bucket", f"you may write, read and delete files of gs://{bucket.name}")


def _of_nodes(project: _Project, bucket: Any, email: str) -> Check:
    """Never a refusal: a role of the project in which the bucket is may be enough, and is not seen here."""
    held = _roles(project.bindings, {_member(email)})
    foreign = project.number and bucket.project_number and str(bucket.project_number) != project.number
    if not foreign and (by_project := held & {_WORKER, *_USERS}):
        return Check("bucket of the nodes", f"{email} has {min(by_project)} on {project.name}")
    members = {_member(email)} | {f"{_BASIC[role]}:{project.name}" for role in held & _BASIC.keys()}
    with translated():
        policy = bucket.get_iam_policy(requested_policy_version=3, timeout=TIMEOUT_S, retry=None)
    on_bucket = _roles(policy.bindings, members)
    if enough := on_bucket & _USERS or (_LEGACY if on_bucket >= _LEGACY else set()):
        return Check("bucket of the nodes", f"{email} has {min(enough)} on gs://{bucket.name}")
    found = f"nothing that is seen lets {email} use gs://{bucket.name}"
    return _unsure("bucket of the nodes", found, _FAILS, f"run `{_grant(bucket, email)}`")


def _grant(bucket: Any, email: str) -> str:
    command = f"gcloud storage buckets add-iam-policy-binding gs://{bucket.name}"
    return f"{command} --member={_member(email)} --role={_OBJECT_USER}"


def _member(email: str) -> str:
    """An account as policies name it."""
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{email or 'YOU'}"


def _roles(bindings: Bindings, members: set[str]) -> set[str]:
    return {each["role"] for each in bindings if not members.isdisjoint(each.get("members", []))}


def _unseen(project: _Project, held: set[str]) -> str:
    """What may give more roles than are seen; "" where that is all."""
    many = {each["role"] for each in project.bindings if any(m.startswith(_MANY) for m in each.get("members", []))}
    unclear = sorted(role for role in held | many if not role.startswith(_NO_WORKERS))
    if any(not role.startswith("roles/") for role in unclear):
        return "a custom role"
    if not many.isdisjoint(unclear):
        return "a group"
    return unclear[0] if unclear else "" if project.alone else "a folder or organization above it"


def _unsure(name: str, found: str, fails: str, fix: str) -> Check:
    """What is not seen may be there all the same. fails: how the user finds that it is not."""
    return Check(name, f"could not be checked: {found}. If {fails}, {fix}", was_checked=False)
