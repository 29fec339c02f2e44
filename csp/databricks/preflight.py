"""What can be looked at for free before a cluster is made: who, privileges, node types, runtime, policy. Laptop.

Nothing here changes anything. What an owner or an administrator may do stands in no grant, so they pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from csp.cloud import Check, Deployment
from csp.databricks.client import GoneError, explained
from server_utils.errors import DeploymentError

_CREATE = "allow-cluster-create"
_EVERYONE = "account users"
_OTHER_VOLUME = "or give another --volume"


def checks(client: Any, deployment: Deployment, volume: str, policy: str | None) -> Iterator[Check]:
    """All of them, in the order in which a user would repair them."""
    with explained("asking who is signed in"):
        me = client.current_user.me()
    yield Check("identity", f"signed in as {me.user_name}")
    yield _creation(client, me, policy)
    yield _volume(client, me, volume)
    yield from _node_types(client, deployment)
    yield _runtime(client, deployment)


def _creation(client: Any, me: Any, policy: str | None) -> Check:
    if policy:
        try:
            with explained("reading the policy"):
                found = client.cluster_policies.get(policy)
        except GoneError:
            return Check(
                "policy", f"there is no policy {policy}", "`databricks cluster-policies list` shows those you may use"
            )
        return Check("policy", f"{found.name} ({policy})")
    if _CREATE in _values(me.entitlements) or "admins" in _groups(me):
        return Check("may create clusters", "yes")
    fix = "ask for 'unrestricted cluster creation', or for a policy that you may use, and give its id as --policy"
    return Check("may create clusters", f"{me.user_name} has no entitlement to it", fix)


def _volume(client: Any, me: Any, volume: str) -> Check:
    """The volume, or where it is to be made."""
    catalog, schema, name = volume.removeprefix("/Volumes/").split("/")
    try:
        with explained(f"reading the volume {volume}", needs="USE CATALOG, USE SCHEMA and READ VOLUME"):
            found = client.volumes.read(f"{catalog}.{schema}.{name}")
    except GoneError:
        return _schema(client, me, f"{catalog}.{schema}", volume)
    except DeploymentError as error:
        return Check("volume", str(error), _OTHER_VOLUME)
    lacking = _lacking(client, me, "volume", found, ("READ_VOLUME", "WRITE_VOLUME"))
    return _granted(volume, lacking)


def _schema(client: Any, me: Any, full_name: str, volume: str) -> Check:
    try:
        with explained(f"reading the schema {full_name}", needs="USE CATALOG and USE SCHEMA"):
            found = client.schemas.get(full_name)
    except GoneError:
        fix = (
            "give --volume in a schema that is there: `databricks catalogs list` and `databricks schemas list CATALOG`"
        )
        return Check("volume", f"there is no schema {full_name}", fix)
    except DeploymentError as error:
        return Check("volume", str(error), _OTHER_VOLUME)
    lacking = _lacking(client, me, "schema", found, ("CREATE_VOLUME",))
    return _granted(f"{volume}, which is to be made", lacking)


def _granted(what: str, lacking: list[str]) -> Check:
    if not lacking:
        return Check("volume", what)
    names = " and ".join(each.replace("_", " ") for each in lacking)
    return Check("volume", f"{what}: you lack {names}", f"ask the owner for {names}")


def _lacking(client: Any, me: Any, kind: str, securable: Any, wanted: tuple[str, ...]) -> list[str]:
    """The privileges that are not seen; none for an owner or an administrator, whom grants do not name."""
    mine = {me.user_name, _EVERYONE, *_groups(me)}
    if securable.owner in mine or "admins" in mine:
        return []
    with explained(f"reading the grants on {securable.full_name}"):
        assignments = client.grants.get_effective(kind, securable.full_name).privilege_assignments or []
    held = {
        each.privilege.value
        for one in assignments
        if one.principal in mine
        for each in one.privileges or []
        if each.privilege
    }
    return [] if "ALL_PRIVILEGES" in held else [each for each in wanted if each not in held]


def _node_types(client: Any, deployment: Deployment) -> Iterator[Check]:
    with explained("listing node types"):
        offered = {each.node_type_id: each for each in client.clusters.list_node_types().node_types or []}
    wanted = {name for each in deployment.clusters for name in (each.node.node_type, each.driver_node_type)}
    for name in sorted(wanted):
        yield _node_type(name, offered.get(name))


def _node_type(name: str, offered: Any) -> Check:
    fix = "take another --shape: `spark-sidecar shapes` lists them"
    if offered is None:
        return Check("node type", f"the workspace does not offer {name}", fix)
    status = [each.value for each in (offered.node_info and offered.node_info.status) or []]
    if status:
        return Check("node type", f"{name} is {' and '.join(status)}", fix)
    if offered.is_deprecated:
        return Check("node type", f"{name} is deprecated", fix)
    return Check("node type", f"{name} is offered")


def _runtime(client: Any, deployment: Deployment) -> Check:
    with explained("listing runtimes"):
        offered = [each.key for each in client.clusters.spark_versions().versions or []]
    name = deployment.clusters[0].runtime.name
    if name in offered:
        return Check("runtime", f"{name} is offered")
    near = [each for each in offered if each and "-gpu-ml-" in each]
    return Check(
        "runtime", f"the workspace does not offer {name}", f"give --runtime, one of {', '.join(near) or 'none'}"
    )


def _values(entries: Any) -> set[str]:
    return {each.value for each in entries or []}


def _groups(me: Any) -> set[str]:
    return {each.display for each in me.groups or []}
