"""Check for free what a workspace offers: node types with their quota, zones, runtimes. Laptop.

Only Azure reports quotas. The SDK's types do not have them, so the code reads node types as the API sends them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from csp.cloud import Check, Deployment
from csp.databricks.client import translated
from server_utils.clusters.cluster import Cluster

_OTHER_SHAPE = "take another --shape: `spark-sidecar shapes` lists them"
_AUTOMATIC = {"", "auto", "AUTO"}  # the cloud chooses the zone


def all_of(client: Any, deployment: Deployment) -> Iterator[tuple[str, Callable[[], Check]]]:
    """Yield the name and the function of each check."""
    offered: dict[str, Any] = {}  # read once, by the first check that needs it

    def node_type(name: str, count: int) -> Check:
        if not offered:
            offered.update(_offered(client))
        return _node_type(name, count, offered.get(name))

    for name, count in sorted(_wanted(deployment.clusters).items()):
        yield "node type", lambda name=name, count=count: node_type(name, count)  # type: ignore[misc]
    zones = {each.options.zone or "" for each in deployment.clusters} - _AUTOMATIC
    if zones:
        yield "zone", lambda: _zones(client, sorted(zones))
    yield "runtime", lambda: _runtime(client, deployment.clusters[0].runtime.name)


def _wanted(clusters: tuple[Cluster, ...]) -> Counter[str]:
    """Return node type -> the largest number of such nodes in one of the clusters."""
    most = Counter[str]()
    for each in clusters:
        most |= Counter([each.driver_node_type] + [each.node.node_type] * each.workers)
    return most


def _offered(client: Any) -> Mapping[str, Any]:
    with translated("listing node types"):
        listed = client.api_client.do("GET", "/api/2.1/clusters/list-node-types")
    return {each["node_type_id"]: each for each in listed.get("node_types", [])}


def _node_type(name: str, count: int, offered: Any) -> Check:
    if offered is None:
        return Check("node type", f"the workspace does not offer {name}", _OTHER_SHAPE)
    info = offered.get("node_info") or {}
    if status := info.get("status"):
        return Check("node type", f"{name} is {' and '.join(status)}", _OTHER_SHAPE)
    if offered.get("is_deprecated"):
        return Check("node type", f"{name} is deprecated", _OTHER_SHAPE)
    if "available_core_quota" not in info:
        return Check("node type", f"{name} is offered")
    needed, free = count * float(offered["num_cores"]), float(info["available_core_quota"])
    quota = f"{count} x {name} need {needed:g} cores, and {free:g} of {info.get('total_core_quota', free):g} are free"
    fix = f"ask the cloud for more quota, or give fewer --workers, or {_OTHER_SHAPE}"
    return Check("node type", quota, fix if needed > free else "")


def _zones(client: Any, wanted: list[str]) -> Check:
    """Check the zones. Only AWS lists its zones."""
    with translated("listing zones"):
        zones = client.clusters.list_zones().zones or []
    if unknown := [each for each in wanted if zones and each not in zones]:
        return Check("zone", f"the workspace has no {', '.join(unknown)}", f"give --zone, one of {', '.join(zones)}")
    return Check("zone", ", ".join(wanted))


def _runtime(client: Any, name: str) -> Check:
    with translated("listing runtimes"):
        offered = [each.key for each in client.clusters.spark_versions().versions or []]
    if name in offered:
        return Check("runtime", f"{name} is offered")
    near = [each for each in offered if each and "-gpu-ml-" in each]
    return Check(
        "runtime", f"the workspace does not offer {name}", f"give --runtime, one of {', '.join(near) or 'none'}"
    )
