"""Read the logs of a cluster, also after it failed: of jobs, initialization actions, executors and servers. Laptop.

Jobs, initialization actions and the supervisors of servers write into the bucket of the cluster, which remains after
the cluster is deleted. The output of executors goes to Cloud Logging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from csp.cloud import NEWEST_LOGS, ClusterState, Log, tail
from csp.dataproc import runs
from csp.dataproc.clients import TIMEOUT_S, Clients, translated
from server_utils.storage import urls

_LAST_LINES = 30
_ENTRIES = 200  # of Cloud Logging, the newest
_OUTPUT = r"initialization-script-\d+_output$"


def logs(clients: Clients, state: ClusterState, kinds: Sequence[str]) -> Iterator[Log]:
    """Yield the logs of these kinds: driver, init, executor, server."""
    name, _, cluster_uuid = state.cluster_id.partition("/")
    if "driver" in kinds:
        for job in runs.jobs_of(clients, name, cluster_uuid):
            yield Log("driver", job.reference.job_id, tail(runs.printed(clients, job).encode()))
    root = urls.parse(state.root) if state.root else None
    if "init" in kinds and root:
        yield from _objects(clients, "init", root.bucket, f"google-cloud-dataproc-metainfo/{cluster_uuid}/", _OUTPUT)
        yield from _objects(clients, "init", root.bucket, f"{root.path}/logs/", r"/logs/(?!servers/).*\.log$")
    if "executor" in kinds:
        yield from _executors(clients, cluster_uuid)
    if "server" in kinds and root:
        yield from _objects(clients, "server", root.bucket, f"{root.path}/logs/servers/", r"\.log$")


def of_node(clients: Clients, message: str) -> str:
    """Return the end of the log of the initialization action in a message of Dataproc; "" if it names none."""
    match = re.search(r"gs://\S+_output", message)
    return _last_lines(clients, match[0]) if match else ""


def _last_lines(clients: Clients, address: str) -> str:
    """Return the end of an object of text, or why there is none."""
    from google.api_core.exceptions import NotFound

    place = urls.parse(address)
    try:
        with translated(but=NotFound):
            blob = clients.storage.bucket(place.bucket).blob(place.path)
            content = blob.download_as_bytes(retry=None, timeout=TIMEOUT_S)
    except NotFound:
        return f"{address} is not there: the node ended before it could write it"
    return tail(content, _LAST_LINES).rstrip("\n")


def _objects(clients: Clients, kind: str, bucket: str, prefix: str, pattern: str) -> Iterator[Log]:
    """Yield the ends of the newest objects. The folder has logs of earlier clusters and applications too."""
    with translated():
        listed = clients.storage.list_blobs(bucket, prefix=prefix, retry=None, timeout=TIMEOUT_S)
        matching = [blob for blob in listed if re.search(pattern, blob.name)]
        for blob in sorted(matching, key=lambda each: each.updated)[-NEWEST_LOGS:]:
            content = blob.download_as_bytes(retry=None, timeout=TIMEOUT_S)
            yield Log(kind, "/".join(blob.name.rsplit("/", 2)[-2:]), tail(content))


def _executors(clients: Clients, cluster_uuid: str) -> Iterator[Log]:
    """Yield the output of each container, the oldest line first."""
    query = {
        "resourceNames": [f"projects/{clients.project}"],
        "filter": f'resource.type="cloud_dataproc_cluster" AND resource.labels.cluster_uuid="{cluster_uuid}" '
        f'AND logName="projects/{clients.project}/logs/yarn-userlogs"',
        "orderBy": "timestamp desc",
        "pageSize": _ENTRIES,
    }
    lines: dict[str, list[str]] = {}
    for entry in reversed(clients.post("logging", "v2/entries:list", query).get("entries", [])):
        payload = entry.get("jsonPayload", {})
        lines.setdefault(str(payload.get("container", "executor")), []).append(str(payload.get("message", "")))
    for container, texts in lines.items():
        yield Log("executor", container, tail("\n".join(texts).encode()))
