"""The free checks before a cluster is made: sign-in, privileges, volume, and those of policy and nodes. Laptop.

The checks change nothing. Grants do not list what owners and administrators may do, so both pass. A check also passes
if this user may not read what it needs, and says so: the workspace decides when the cluster is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csp.cloud import Check, Deployment
from csp.databricks import node_checks, policy_checks
from csp.databricks.client import GoneError, translated
from server_utils.errors import DeploymentError

_CREATE = "allow-cluster-create"
_CREATION = "may create clusters"
_EVERYONE = "account users"
_OTHER_VOLUME = "or give another --volume"
_READ_WRITE = ("READ_VOLUME", "WRITE_VOLUME")
_NEEDED = {"volume": _READ_WRITE, "schema": ("CREATE_VOLUME",)}


def checks(
    client: Any, deployment: Deployment, request: Mapping[str, Any], *, volume: str, dedicated: str | None
) -> Iterator[Check]:
    """Yield all checks, in the order in which a user would fix them.

    Args:
        client: of the workspace.
        deployment: the requested deployment.
        request: makes the first cluster of the deployment.
        volume: for the files of the deployment.
        dedicated: the user to whom the cluster is dedicated; None for the signed-in user.
    """
    with translated("asking who is signed in"):
        me = client.current_user.me()
    yield Check("identity", f"signed in as {me.user_name}")
    if policy := request.get("policy_id"):
        yield Check.from_call("policy", lambda: policy_checks.check(client, policy, request))
    else:
        yield Check.from_call(_CREATION, lambda: _creation(client, me))
    yield from _volume(client, me, volume, dedicated)
    for name, call in node_checks.all_of(client, deployment):
        yield Check.from_call(name, call)


def _creation(client: Any, me: Any) -> Check:
    """Check the entitlement of the user and of the user's groups. A user's own list leaves out those of groups."""
    if _CREATE in _values(me.entitlements) or "admins" in _groups(me):
        return Check(_CREATION, "yes")
    for each in me.groups or []:
        with translated(f"reading the entitlements of the group {each.display}"):
            group = client.groups.get(each.value)
        if _CREATE in _values(group.entitlements):
            return Check(_CREATION, f"yes, as a member of {each.display}")
    fix = "ask for 'unrestricted cluster creation', or for a policy that you may use, and give its id as --policy"
    return Check(_CREATION, f"{me.user_name} has no entitlement to it, and no group of theirs has", fix)


def _volume(client: Any, me: Any, volume: str, dedicated: str | None) -> Iterator[Check]:
    """Check the volume, or the schema in which it is made, and whether nodes of another user may use the volume."""
    catalog, schema, name = volume.removeprefix("/Volumes/").split("/")
    try:
        with translated(f"reading the volume {volume}", needs="USE CATALOG, USE SCHEMA and READ VOLUME"):
            existing = client.volumes.read(f"{catalog}.{schema}.{name}")
    except GoneError:
        yield _schema(client, me, f"{catalog}.{schema}", volume)
        return
    except DeploymentError as error:
        yield Check("volume", str(error), _OTHER_VOLUME)
        return
    yield Check.from_call("volume", lambda: _user_access(client, me, "volume", existing, volume))
    if dedicated and dedicated != me.user_name:
        yield Check.from_call("volume for the nodes", lambda: _of_nodes(client, existing, volume, dedicated))


def _schema(client: Any, me: Any, full_name: str, volume: str) -> Check:
    try:
        with translated(f"reading the schema {full_name}", needs="USE CATALOG and USE SCHEMA"):
            existing = client.schemas.get(full_name)
    except GoneError:
        fix = (
            "give --volume in a schema that is there: `databricks catalogs list` and `databricks schemas list CATALOG`"
        )
        return Check("volume", f"there is no schema {full_name}", fix)
    except DeploymentError as error:
        return Check("volume", str(error), _OTHER_VOLUME)
    return Check.from_call(
        "volume", lambda: _user_access(client, me, "schema", existing, f"{volume}, which is to be made")
    )


def _of_nodes(client: Any, volume: Any, path: str, dedicated: str) -> Check:
    """Check whether the user to whom the cluster is dedicated may use the volume. Their groups cannot be read."""
    privileges = _privileges(client, "volume", volume, {dedicated, _EVERYONE})
    if volume.owner == dedicated or privileges >= set(_READ_WRITE):
        return Check("volume for the nodes", f"{dedicated} may use {path}")
    detail = f"could not be checked: no grant on {path} names {dedicated}, and a group may have one. "
    detail += f"If the nodes fail, run {_grant('READ VOLUME, WRITE VOLUME', 'volume', volume, dedicated)}"
    return Check("volume for the nodes", detail, was_checked=False)


def _user_access(client: Any, me: Any, kind: str, securable: Any, label: str) -> Check:
    """Check whether the user has the privileges of `up` on a volume, or on the schema in which `up` makes one."""
    missing = _missing(client, me, kind, securable, _NEEDED[kind])
    if not missing:
        return Check("volume", label)
    names = ", ".join(each.replace("_", " ") for each in missing)
    grant = _grant(names, kind, securable, me.user_name)
    return Check("volume", f"{label}: you lack {names}", f"ask the owner for {grant}")


def _grant(privileges: str, kind: str, securable: Any, principal: str) -> str:
    """Return the SQL statement that grants the privileges. Names such as my-catalog need quotes."""
    name = ".".join(f"`{each}`" for each in securable.full_name.split("."))
    return f"GRANT {privileges} ON {kind.upper()} {name} TO `{principal}`"


def _missing(client: Any, me: Any, kind: str, securable: Any, needed: tuple[str, ...]) -> list[str]:
    """Return the privileges that the user has by no grant. Owners and administrators need no grants."""
    principals = {me.user_name, _EVERYONE, *_groups(me)}
    if securable.owner in principals or "admins" in principals:
        return []
    privileges = _privileges(client, kind, securable, principals)
    return [each for each in needed if each not in privileges]


def _privileges(client: Any, kind: str, securable: Any, principals: set[str]) -> set[str]:
    """Return the privileges that grants give to these principals."""
    with translated(f"reading the grants on {securable.full_name}"):
        assignments = client.grants.get_effective(kind, securable.full_name).privilege_assignments or []
    privileges = {
        each.privilege.value
        for one in assignments
        if one.principal in principals
        for each in one.privileges or []
        if each.privilege
    }
    return {*privileges, *_READ_WRITE, "CREATE_VOLUME"} if "ALL_PRIVILEGES" in privileges else privileges


def _values(entries: Any) -> set[str]:
    return {each.value for each in entries or []}


def _groups(me: Any) -> set[str]:
    return {each.display for each in me.groups or []}
