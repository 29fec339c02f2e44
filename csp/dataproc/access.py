"""Who may do what, looked at for free before a cluster is made: the user, the nodes' account, and the bucket. Laptop.

A policy says which roles it gives an account by its name. What an account has by a group, by a custom role, or from a
folder above the project is not seen: then the check says so, and passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from csp.cloud import Check
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from server_utils.errors import DeploymentError

_PERMISSIONS = (
    "dataproc.clusters.create", "dataproc.clusters.delete", "dataproc.clusters.get", "dataproc.clusters.list",
    "dataproc.jobs.create", "dataproc.jobs.get", "dataproc.jobs.list", "dataproc.operations.get",
    "dataproc.operations.list",
)  # fmt: skip
_READ_POLICY = "resourcemanager.projects.getIamPolicy"
_ACT_AS = "iam.serviceAccounts.actAs"
# `up` sends files, `run` replaces and fetches some, `down` deletes them.
_OBJECTS = tuple(f"storage.objects.{verb}" for verb in ("create", "get", "list", "delete"))
_WORKER, _OBJECT_USER = "roles/dataproc.worker", "roles/storage.objectUser"
_WORKERS = {_WORKER, "roles/editor", "roles/owner"}  # each holds what nodes need, the objects of the project too
_USERS = {_OBJECT_USER, "roles/storage.objectAdmin", "roles/storage.admin"}
_MANY = ("group:", "domain:", "principalSet:", "allUsers", "allAuthenticatedUsers")
_MULTI = {"us": "US", "europe": "EU", "asia": "ASIA"}
_README = "csp/dataproc/README.md"

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
    yield Check.asked("permissions", lambda: _permissions(clients))
    project = cache(lambda: _project(clients))
    emails = [each for each in accounts if each]
    if None in accounts:
        try:
            emails.append(_default_account(clients))
        except DeploymentError as error:
            yield Check("service account", f"could not be checked: {error}", looked=False)
    for email in sorted(emails):
        yield Check.asked("service account", lambda email=email: _act_as(clients, email, me))  # type: ignore[misc]
        yield Check.asked("roles of the nodes", lambda email=email: _worker(project(), email))  # type: ignore[misc]
    yield from _bucket(clients, me, project, emails, bucket)


def _permissions(clients: Clients) -> Check:
    path = f"v1/projects/{clients.project}:testIamPermissions"
    allowed = clients.post("cloudresourcemanager", path, {"permissions": list(_PERMISSIONS)}).get("permissions", [])
    if missing := [each for each in _PERMISSIONS if each not in allowed]:
        fix = f"ask for roles/dataproc.editor on {clients.project}; {_README} lists the roles"
        return Check("permissions", f"you do not have {', '.join(missing)}", fix)
    return Check("permissions", f"all {len(_PERMISSIONS)} that are needed")


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
    held = _roles(project.bindings, email)
    if enough := sorted(held & _WORKERS):
        return Check("roles of the nodes", f"{email} has {enough[0]}")
    found = f"{project.name} gives {email} {', '.join(sorted(held)) or 'no role'}, and nodes need {_WORKER}"
    command = f"gcloud projects add-iam-policy-binding {project.name} --member={_member(email)} --role={_WORKER}"
    if elsewhere := _unseen(project, held):
        found = f"could not be checked: {found}, which {elsewhere} may give. Where nodes fail, run `{command}`"
        return Check("roles of the nodes", found, looked=False)
    return Check("roles of the nodes", found, f"run `{command}`")


def _bucket(
    clients: Clients, me: str, project: Callable[[], _Project], emails: Sequence[str], name: str
) -> Iterator[Check]:
    """Where it is, and whether the user and the nodes may use it."""
    bucket = clients.storage.bucket(name)
    place = _place(clients, bucket)
    yield place
    if not place.passed:
        return
    yield Check.asked("access to the bucket", lambda: _objects(bucket, me))
    for email in emails:
        yield Check.asked("bucket of the nodes", lambda email=email: _of_nodes(project(), bucket, email))  # type: ignore[misc]


def _place(clients: Clients, bucket: Any) -> Check:
    from google.api_core.exceptions import Forbidden, NotFound

    name = bucket.name
    try:
        with translated(but=(Forbidden, NotFound)):
            bucket.reload(timeout=TIMEOUT_S, retry=None)
    except Forbidden:  # as for roles/storage.objectUser, which is enough
        lack = "where it is could not be checked, for lack of storage.buckets.get"
        return Check("bucket", f"gs://{name}; {lack}", looked=False)
    except NotFound:
        fix = f"`gcloud storage buckets create gs://{name} --location={clients.region} --uniform-bucket-level-access`"
        return Check("bucket", f"there is no gs://{name}", fix)
    except DeploymentError as error:
        return Check("bucket", f"gs://{name} cannot be read: {error}", f"ask for {_OBJECT_USER} on it")
    location = (bucket.location or "").upper()
    if not _near(location, clients.region):
        fix = f"give a --bucket in {clients.region}, or a --region near the bucket: nodes read gigabytes from it"
        return Check("bucket", f"gs://{name} is in {location}, and the cluster in {clients.region}", fix)
    return Check("bucket", f"gs://{name} in {location or 'an unknown place'}")


def _near(location: str, region: str) -> bool:
    """Whether a bucket is in a region. Dual regions have names such as NAM4: which regions they hold is not told."""
    multi = _MULTI.get(region.partition("-")[0])
    return location in {"", region.upper(), multi} or re.fullmatch(r"[A-Z]+\d+", location) is not None


def _objects(bucket: Any, me: str) -> Check:
    with translated():
        allowed = bucket.test_iam_permissions(list(_OBJECTS), timeout=TIMEOUT_S, retry=None)
    if missing := [each for each in _OBJECTS if each not in allowed]:
        found = f"you lack {', '.join(missing)} on gs://{bucket.name}"
        return Check("access to the bucket", found, f"ask for `{_grant(bucket, me)}`, or give another --bucket")
    return Check("access to the bucket", f"you may write, read and delete files of gs://{bucket.name}")


def _of_nodes(project: _Project, bucket: Any, email: str) -> Check:
    """Never a refusal: a role of the project in which the bucket is may be enough, and is not seen here."""
    foreign = project.number and bucket.project_number and str(bucket.project_number) != project.number
    by_project = set() if foreign else _roles(project.bindings, email) & (_WORKERS | _USERS)
    if by_project:
        return Check("bucket of the nodes", f"{email} has {min(by_project)} on {project.name}")
    with translated():
        policy = bucket.get_iam_policy(requested_policy_version=3, timeout=TIMEOUT_S, retry=None)
    if by_bucket := _roles(policy.bindings, email) & _USERS:
        return Check("bucket of the nodes", f"{email} has {min(by_bucket)} on gs://{bucket.name}")
    lack = f"nothing that is seen lets {email} use gs://{bucket.name}"
    found = f"could not be checked: {lack}. Where nodes fail, run `{_grant(bucket, email)}`"
    return Check("bucket of the nodes", found, looked=False)


def _grant(bucket: Any, email: str) -> str:
    command = f"gcloud storage buckets add-iam-policy-binding gs://{bucket.name}"
    return f"{command} --member={_member(email)} --role={_OBJECT_USER}"


def _member(email: str) -> str:
    """An account as policies name it."""
    kind = "serviceAccount" if email.endswith(".gserviceaccount.com") else "user"
    return f"{kind}:{email or 'YOU'}"


def _roles(bindings: Bindings, email: str) -> set[str]:
    return {each["role"] for each in bindings if _member(email) in each.get("members", [])}


def _unseen(project: _Project, held: set[str]) -> str:
    """What may give more roles than are seen; "" where that is all."""
    many = {each["role"] for each in project.bindings if any(m.startswith(_MANY) for m in each.get("members", []))}
    if any(not role.startswith("roles/") for role in held | many):
        return "a custom role"
    if many & _WORKERS:
        return "a group"
    return "" if project.alone else "a folder or organization above it"
