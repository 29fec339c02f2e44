"""The free checks before a cluster is made: who one is, APIs, permissions, zones, quota, and the bucket. Laptop.

A check that Google does not answer for lack of a permission passes, and says so: the cluster may still be possible.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from csp.cloud import Check, Deployment
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from server_utils.clusters.cluster import Cluster
from server_utils.errors import DeploymentError

_APIS = ("dataproc.googleapis.com", "compute.googleapis.com", "storage.googleapis.com")
_PERMISSIONS = (
    "dataproc.clusters.create", "dataproc.clusters.delete", "dataproc.clusters.get", "dataproc.clusters.list",
    "dataproc.jobs.create", "dataproc.jobs.get", "dataproc.jobs.list", "dataproc.operations.get",
    "dataproc.operations.list",
)  # fmt: skip
_ACT_AS = "iam.serviceAccounts.actAs"
_README = "csp/dataproc/README.md"
_MULTI = {"us": "US", "europe": "EU", "asia": "ASIA"}


def free_checks(clients: Clients, deployment: Deployment, bucket: str) -> Iterator[Check]:
    """Every check of a deployment, one after the other."""
    yield _asked("signed in", lambda: Check("signed in", f"{user(clients)}, project {clients.project}"))
    yield _asked("APIs", lambda: _apis(clients))
    yield _asked("permissions", lambda: _permissions(clients))
    for account in sorted({each.options.service_account for each in deployment.clusters} - {None}, key=str):
        yield _asked("service account", lambda email=str(account): _account(clients, email))  # type: ignore[misc]
    yield _bucket(clients, bucket)
    for cluster in deployment.clusters:
        yield _asked("zones", lambda each=cluster: _zones(clients, each))  # type: ignore[misc]
    yield _asked("quota", lambda: _quota(clients, deployment.clusters))


def user(clients: Clients) -> str:
    """Who is signed in; "" for credentials that do not tell."""
    try:
        told = str(clients.get("oauth2", "oauth2/v3/userinfo").get("email", ""))
    except DeploymentError:
        told = ""
    account = told or str(getattr(clients.credentials, "service_account_email", ""))
    return account if "@" in account else ""


def zones(clients: Clients, cluster: Cluster) -> list[str]:
    """The zones of the region that sell the machines and GPUs of a cluster, sorted."""
    wanted = {("machineTypes", cluster.node.node_type), ("machineTypes", cluster.driver_node_type)}
    if cluster.node.accelerator:
        wanted.add(("acceleratorTypes", cluster.node.accelerator))
    sold = [_sold(clients, kind, name) for kind, name in sorted(wanted)]
    return sorted(set.intersection(*sold))


def needed(cluster: Cluster) -> dict[str, int]:
    """GPU quota by metric for all nodes: the catalogue has it for one."""
    nodes = max(cluster.workers, 1)
    pairs = re.findall(r"(\w+): (\d+)", cluster.node.quota or "")
    total = {metric: int(number) * nodes for metric, number in pairs}
    if spot := cluster.options.spot_workers:
        for metric, number in pairs:
            total[f"PREEMPTIBLE_{metric}"] = int(number) * spot
    return total


def by_quota(clients: Clients, clusters: Sequence[Cluster]) -> list[Cluster]:
    """The clusters, those first for which there is quota; as they are where it may not be asked."""
    if len(clusters) == 1:
        return list(clusters)
    try:
        left = _quota_left(clients)
    except DeploymentError:
        return list(clusters)
    return sorted(clusters, key=lambda each: bool(_lacking(each, left)))


def _asked(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except DeploymentError as error:
        return Check(name, f"could not be checked: {error}")


def _apis(clients: Clients) -> Check:
    names = [f"projects/{clients.project}/services/{each}" for each in _APIS]
    answer = clients.get("serviceusage", f"v1/projects/{clients.project}/services:batchGet", names=names)
    states = {each["name"].rpartition("/")[2]: each["state"] for each in answer.get("services", [])}
    if off := [each for each in _APIS if states.get(each) == "DISABLED"]:
        fix = f"run `gcloud services enable {' '.join(off)} --project={clients.project}`, and wait a minute"
        return Check("APIs", f"{', '.join(off)} of {clients.project} are off", fix)
    return Check("APIs", "all on")


def _permissions(clients: Clients) -> Check:
    path = f"v1/projects/{clients.project}:testIamPermissions"
    allowed = clients.post("cloudresourcemanager", path, {"permissions": list(_PERMISSIONS)}).get("permissions", [])
    if missing := [each for each in _PERMISSIONS if each not in allowed]:
        fix = f"ask for roles/dataproc.editor on {clients.project}; {_README} lists the roles"
        return Check("permissions", f"you do not have {', '.join(missing)}", fix)
    return Check("permissions", f"all {len(_PERMISSIONS)} that are needed")


def _account(clients: Clients, email: str) -> Check:
    path = f"v1/projects/-/serviceAccounts/{email}:testIamPermissions"
    if _ACT_AS in clients.post("iam", path, {"permissions": [_ACT_AS]}).get("permissions", []):
        return Check("service account", f"you may run nodes as {email}")
    fix = f"ask for roles/iam.serviceAccountUser on {email}"
    return Check("service account", f"you may not run nodes as {email} ({_ACT_AS})", fix)


def _bucket(clients: Clients, name: str) -> Check:
    from google.api_core.exceptions import Forbidden

    try:
        with translated(but=Forbidden):
            bucket = clients.storage.lookup_bucket(name, timeout=TIMEOUT_S, retry=None)
    except Forbidden:
        return _objects(clients, name)
    except DeploymentError as error:
        return _unreadable(name, error)
    if bucket is None:
        fix = f"`gcloud storage buckets create gs://{name} --location={clients.region} --uniform-bucket-level-access`"
        return Check("bucket", f"there is no gs://{name}", fix)
    location = (bucket.location or "").upper()
    if not _near(location, clients.region):
        fix = f"give a --bucket in {clients.region}, or a --region near the bucket: nodes read gigabytes from it"
        return Check("bucket", f"gs://{name} is in {location}, and the cluster in {clients.region}", fix)
    return Check("bucket", f"gs://{name} in {location or 'an unknown place'}")


def _objects(clients: Clients, name: str) -> Check:
    """For who may use the objects of a bucket, and not ask what it is: roles/storage.objectAdmin has no buckets.get."""
    try:
        with translated():
            next(iter(clients.storage.list_blobs(name, max_results=1, timeout=TIMEOUT_S, retry=None)), None)
    except DeploymentError as error:
        return _unreadable(name, error)
    return Check("bucket", f"gs://{name}; where it is could not be checked, for lack of storage.buckets.get")


def _unreadable(name: str, error: Exception) -> Check:
    return Check("bucket", f"gs://{name} cannot be read: {error}", "ask for roles/storage.objectAdmin on it")


def _near(location: str, region: str) -> bool:
    """Whether a bucket is in a region. Dual regions have names such as NAM4: which regions they hold is not told."""
    multi = _MULTI.get(region.partition("-")[0])
    return location in {"", region.upper(), multi} or re.fullmatch(r"[A-Z]+\d+", location) is not None


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
    """Whether there is quota for one of the clusters, which are tried in turn."""
    left = _quota_left(clients)
    lacking = [_lacking(each, left) for each in clusters]
    if all(lacking):
        fix = "ask for more (console, IAM, Quotas), or take a smaller --shape or fewer --workers"
        return Check("quota", "; ".join(dict.fromkeys(text for each in lacking for text in each)), fix)
    wanted = needed(clusters[lacking.index([])])
    return Check("quota", ", ".join(f"{name}: {number}" for name, number in wanted.items()) or "no GPUs")


def _quota_left(clients: Clients) -> dict[str, float]:
    """What is left of each quota, by metric."""
    region = clients.get("compute", f"projects/{clients.project}/regions/{clients.region}").get("quotas", [])
    everywhere = clients.get("compute", f"projects/{clients.project}").get("quotas", [])
    return {each["metric"]: each["limit"] - each["usage"] for each in [*everywhere, *region]}


def _lacking(cluster: Cluster, left: Mapping[str, float]) -> list[str]:
    """Which quota is too small for a cluster, such as "NVIDIA_L4_GPUS: 2 needed, 1 left"."""
    return [f"{name}: {number} needed, {left[name]:g} left" for name, number in needed(cluster).items()
            if name in left and left[name] < number]  # fmt: skip


def _sold(clients: Clients, kind: str, name: str) -> set[str]:
    """Zones of the region that have a machine type or GPU type."""
    path, places, page = f"projects/{clients.project}/aggregated/{kind}", set(), ""
    while True:
        query = {"filter": f'name = "{name}"', "returnPartialSuccess": "true"} | ({"pageToken": page} if page else {})
        answer = clients.get("compute", path, **query)
        places |= {place.removeprefix("zones/") for place, each in answer.get("items", {}).items() if each.get(kind)}
        page = answer.get("nextPageToken", "")
        if not page:
            return {zone for zone in places if zone.startswith(f"{clients.region}-")}


def unsold(clients: Clients, clusters: Sequence[Cluster]) -> DeploymentError:
    """The error for clusters that no zone of the region can have."""
    machines = ", ".join(dict.fromkeys(each.node.node_type for each in clusters))
    return DeploymentError(f"no zone of {clients.region} has {machines}; choose another --region or --shape")
