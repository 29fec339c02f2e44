"""What can be looked at for free before a cluster is made: who may do it, and where its files go. Laptop.

Nothing here changes anything. What an owner or an administrator may do stands in no grant, so they pass. What the
workspace does not let this user read passes too, and says so: the workspace itself decides then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from csp.cloud import Check, Deployment
from csp.databricks import node_checks, policy_checks
from csp.databricks.client import GoneError, explained
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
    """All of them, in the order in which a user would repair them.

    Args:
        client: of the workspace.
        deployment: what is wanted.
        request: the one that makes its first cluster.
        volume: for its files.
        dedicated: whom the cluster is dedicated to, if it is not who is signed in.
    """
    with explained("asking who is signed in"):
        me = client.current_user.me()
    yield Check("identity", f"signed in as {me.user_name}")
    if policy := request.get("policy_id"):
        yield Check.from_call("policy", lambda: policy_checks.check(client, policy, request))
    else:
        yield Check.from_call(_CREATION, lambda: _creation(client, me))
    yield from _volume(client, me, volume, dedicated)
    for name, look in node_checks.all_of(client, deployment):
        yield Check.from_call(name, look)


def _creation(client: Any, me: Any) -> Check:
    """Whether a user, or a group of the user, has the entitlement. A user's own list leaves out those of groups."""
    if _CREATE in _values(me.entitlements) or "admins" in _groups(me):
        return Check(_CREATION, "yes")
    for each in me.groups or []:
        with explained(f"reading the entitlements of the group {each.display}"):
            group = client.groups.get(each.value)
        if _CREATE in _values(group.entitlements):
            return Check(_CREATION, f"yes, as a member of {each.display}")
    fix = "ask for 'unrestricted cluster creation', or for a policy that you may use, and give its id as --policy"
    return Check(_CREATION, f"{me.user_name} has no entitlement to it, and no group of theirs has", fix)


def _volume(client: Any, me: Any, volume: str, dedicated: str | None) -> Iterator[Check]:
    """The volume, or where it is to be made; and whether the nodes may use it, which act for another user."""
    catalog, schema, name = volume.removeprefix("/Volumes/").split("/")
    try:
        with explained(f"reading the volume {volume}", needs="USE CATALOG, USE SCHEMA and READ VOLUME"):
            existing = client.volumes.read(f"{catalog}.{schema}.{name}")
    except GoneError:
        yield _schema(client, me, f"{catalog}.{schema}", volume)
        return
    except DeploymentError as error:
        yield Check("volume", str(error), _OTHER_VOLUME)
        return
    yield Check.from_call("volume", lambda: _granted(client, me, "volume", existing, volume))
    if dedicated and dedicated != me.user_name:
        yield Check.from_call("volume for the nodes", lambda: _of_nodes(client, existing, volume, dedicated))


def _schema(client: Any, me: Any, full_name: str, volume: str) -> Check:
    try:
        with explained(f"reading the schema {full_name}", needs="USE CATALOG and USE SCHEMA"):
            existing = client.schemas.get(full_name)
    except GoneError:
        fix = (
            "give --volume in a schema that is there: `databricks catalogs list` and `databricks schemas list CATALOG`"
        )
        return Check("volume", f"there is no schema {full_name}", fix)
    except DeploymentError as error:
        return Check("volume", str(error), _OTHER_VOLUME)
    return Check.from_call("volume", lambda: _granted(client, me, "schema", existing, f"{volume}, which is to be made"))


def _of_nodes(client: Any, volume: Any, path: str, dedicated: str) -> Check:
    """Whom the cluster is dedicated to reads and writes the volume. Groups of others cannot be looked up."""
    held = _held(client, "volume", volume, {dedicated, _EVERYONE})
    if volume.owner == dedicated or held >= set(_READ_WRITE):
        return Check("volume for the nodes", f"{dedicated} may use {path}")
    seen = f"could not be checked: no grant on {path} names {dedicated}, and a group may have one. "
    seen += f"If the nodes fail, run {_grant('READ VOLUME, WRITE VOLUME', 'volume', volume, dedicated)}"
    return Check("volume for the nodes", seen, was_checked=False)


def _granted(client: Any, me: Any, kind: str, securable: Any, what: str) -> Check:
    """Whether the user has what `up` needs of a volume, or of the schema in which it makes one."""
    lacking = _lacking(client, me, kind, securable, _NEEDED[kind])
    if not lacking:
        return Check("volume", what)
    names = ", ".join(each.replace("_", " ") for each in lacking)
    grant = _grant(names, kind, securable, me.user_name)
    return Check("volume", f"{what}: you lack {names}", f"ask the owner for {grant}")


def _grant(privileges: str, kind: str, securable: Any, principal: str) -> str:
    """The SQL that gives what is missing. Names such as my-catalog need quotes."""
    name = ".".join(f"`{each}`" for each in securable.full_name.split("."))
    return f"GRANT {privileges} ON {kind.upper()} {name} TO `{principal}`"


def _lacking(client: Any, me: Any, kind: str, securable: Any, wanted: tuple[str, ...]) -> list[str]:
    """The privileges that are not seen; none for an owner or an administrator, whom grants do not name."""
    mine = {me.user_name, _EVERYONE, *_groups(me)}
    if securable.owner in mine or "admins" in mine:
        return []
    held = _held(client, kind, securable, mine)
    return [each for each in wanted if each not in held]


def _held(client: Any, kind: str, securable: Any, principals: set[str]) -> set[str]:
    """The privileges that these have by grants."""
    with explained(f"reading the grants on {securable.full_name}"):
        assignments = client.grants.get_effective(kind, securable.full_name).privilege_assignments or []
    held = {
        each.privilege.value
        for one in assignments
        if one.principal in principals
        for each in one.privileges or []
        if each.privilege
    }
    return {*held, *_READ_WRITE, "CREATE_VOLUME"} if "ALL_PRIVILEGES" in held else held


def _values(entries: Any) -> set[str]:
    return {each.value for each in entries or []}


def _groups(me: Any) -> set[str]:
    return {each.display for each in me.groups or []}
