"""The free checks before a cluster is made: sign-in, APIs, zones, quota, and those of access_checks.py. Laptop.

If this user may not read what a check needs, the check passes and says so: Google may still make the cluster.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from csp.cloud import Check, Deployment
from csp.dataproc import access_checks
from csp.dataproc.clients import Clients
from server_utils.clusters.cluster import Cluster
from server_utils.errors import DeploymentError

_APIS = ("dataproc.googleapis.com", "compute.googleapis.com", "storage.googleapis.com")


@dataclass(frozen=True)
class Quota:
    """A quota of a project. limit: 0 if Google has not granted it."""

    limit: float
    usage: float

    @property
    def left(self) -> float:
        """The unused part."""
        return self.limit - self.usage


def free_checks(clients: Clients, deployment: Deployment, bucket: str) -> Iterator[Check]:
    """Yield every check of a deployment, one after the other."""
    me = user(clients)
    yield Check("signed in", f"{me or 'an account that Google does not tell'}, project {clients.project}")
    yield Check.from_call("APIs", lambda: _apis(clients))
    yield from access_checks.checks(clients, me, {each.options.service_account for each in deployment.clusters}, bucket)
    for cluster in deployment.clusters:
        yield Check.from_call("zones", lambda each=cluster: _zones(clients, each))  # type: ignore[misc]
    yield Check.from_call("quota", lambda: _quota(clients, deployment.clusters))


def user(clients: Clients) -> str:
    """Return the signed-in user; "" if the credentials do not tell."""
    try:
        email = str(clients.get("oauth2", "oauth2/v3/userinfo").get("email", ""))
    except DeploymentError:
        email = ""
    account = email or str(getattr(clients.credentials, "service_account_email", ""))
    return account if "@" in account else ""


def zones(clients: Clients, cluster: Cluster) -> list[str]:
    """Return the zones of the region that offer the machines and GPUs of a cluster, sorted."""
    wanted = {("machineTypes", cluster.node.node_type), ("machineTypes", cluster.driver_node_type)}
    if cluster.node.accelerator:
        wanted.add(("acceleratorTypes", cluster.node.accelerator))
    zones_of_each = [_zones_with(clients, kind, name) for kind, name in sorted(wanted)]
    return sorted(set.intersection(*zones_of_each))


def needed(cluster: Cluster, quotas: Mapping[str, Quota]) -> dict[str, int]:
    """Return the GPU quota that all nodes need, by metric. The catalogue has the quota of one node.

    Spot workers count against the preemptible quota of a metric only if there is one and Google has granted it.
    """
    per_node = {metric: int(number) for metric, number in re.findall(r"(\w+): (\d+)", cluster.node.quota or "")}
    total: Counter[str] = Counter()
    for metric, number in per_node.items():
        preemptible = quotas.get(f"PREEMPTIBLE_{metric}")
        total[metric] += number * max(cluster.workers, 1)
        total[f"PREEMPTIBLE_{metric}" if preemptible and preemptible.limit else metric] += (
            number * cluster.options.spot_workers
        )
    return {metric: number for metric, number in total.items() if number}


def by_quota(clients: Clients, clusters: Sequence[Cluster]) -> list[Cluster]:
    """Return the clusters, those with enough quota first. If this user may not read quotas, the order stays."""
    if len(clusters) == 1:
        return list(clusters)
    try:
        quotas = _quotas(clients)
    except DeploymentError:
        return list(clusters)
    return sorted(clusters, key=lambda each: bool(_lacking(each, quotas)))


def _apis(clients: Clients) -> Check:
    names = [f"projects/{clients.project}/services/{each}" for each in _APIS]
    answer = clients.get("serviceusage", f"v1/projects/{clients.project}/services:batchGet", names=names)
    states = {each["name"].rpartition("/")[2]: each["state"] for each in answer.get("services", [])}
    if off := [each for each in _APIS if states.get(each) == "DISABLED"]:
        fix = f"run `gcloud services enable {' '.join(off)} --project={clients.project}`, and wait a minute"
        return Check("APIs", f"{', '.join(off)} of {clients.project} are off", fix)
    return Check("APIs", "all on")


def _zones(clients: Clients, cluster: Cluster) -> Check:
    gpu = f" with {cluster.node.accelerator}" if cluster.node.accelerator else ""
    machine, offered = f"{cluster.node.node_type}{gpu}", zones(clients, cluster)
    zone = cluster.options.zone
    if not offered:
        fix = "choose another --region or shape: `gcloud compute accelerator-types list` shows where GPUs are sold"
        return Check("zones", f"no zone of {clients.region} has {machine} and {cluster.driver_node_type}", fix)
    if zone and zone not in offered:
        return Check("zones", f"{zone} has no {machine}", f"give --zone {' or '.join(offered)}, or none")
    return Check("zones", f"{machine} is sold in {zone or ', '.join(offered)}")


def _quota(clients: Clients, clusters: Sequence[Cluster]) -> Check:
    """Check whether there is quota for one of the clusters, which are tried in order."""
    quotas = _quotas(clients)
    lacking = [_lacking(each, quotas) for each in clusters]
    if all(lacking):
        fix = "ask for more (console, IAM, Quotas), or take a smaller --shape or fewer --workers"
        return Check("quota", "; ".join(dict.fromkeys(text for each in lacking for text in each)), fix)
    sufficient = needed(clusters[lacking.index([])], quotas)
    return Check("quota", ", ".join(f"{name}: {number}" for name, number in sufficient.items()) or "no GPUs")


def _quotas(clients: Clients) -> dict[str, Quota]:
    """Return the quotas of the project and of the region, by metric."""
    region = clients.get("compute", f"projects/{clients.project}/regions/{clients.region}").get("quotas", [])
    everywhere = clients.get("compute", f"projects/{clients.project}").get("quotas", [])
    return {each["metric"]: Quota(each["limit"], each["usage"]) for each in [*everywhere, *region]}


def _lacking(cluster: Cluster, quotas: Mapping[str, Quota]) -> list[str]:
    """Return the quotas that are too small for a cluster, such as "NVIDIA_L4_GPUS: 2 needed, 1 left"."""
    return [
        f"{name}: {number} needed, {quotas[name].left:g} left"
        for name, number in needed(cluster, quotas).items()
        if name in quotas and quotas[name].left < number
    ]


def _zones_with(clients: Clients, kind: str, name: str) -> set[str]:
    """Return the zones of the region that have a machine type or GPU type."""
    path, places, page = f"projects/{clients.project}/aggregated/{kind}", set(), ""
    while True:
        query = {"filter": f'name = "{name}"', "returnPartialSuccess": "true"} | ({"pageToken": page} if page else {})
        response = clients.get("compute", path, **query)
        places |= {place.removeprefix("zones/") for place, each in response.get("items", {}).items() if each.get(kind)}
        page = response.get("nextPageToken", "")
        if not page:
            return {zone for zone in places if zone.startswith(f"{clients.region}-")}


def no_zone_error(clients: Clients, clusters: Sequence[Cluster]) -> DeploymentError:
    """Return the error for clusters that no zone of the region offers."""
    machines = ", ".join(dict.fromkeys(each.node.node_type for each in clusters))
    return DeploymentError(f"no zone of {clients.region} has {machines}; choose another --region or --shape")
