"""Read the logs of a cluster in its volume: of the driver, executors, nodes and inference servers. Laptop.

All clusters of a deployment share the folder, so it holds the logs of earlier clusters too. The names of folders and
hosts begin with the id of their cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from csp.cloud import NEWEST_LOGS, Log, tail
from server_utils.storage.stores.base import ObjectNotFoundError, Store

_CLUSTER_ID = re.compile(r"\d{4}-\d{6}-[a-z0-9]+")
_EXPLAINING_LINES = 20
# Patterns of the names of logs: two of Databricks, one of our nodes, one of our servers.
_KINDS = {
    "driver": r"[^/]+/driver/",
    "executor": r"[^/]+/executor/",
    "init": r"[^/]+/init[._]",
    "server": r"servers/",
}


def logs(store: Store, cluster_id: str, kinds: Sequence[str]) -> Iterator[Log]:
    """Yield the ends of the newest logs of each kind, the newest last."""
    names = _names(store, cluster_id)
    for kind in kinds:
        yield from _ends(store, kind, [name for name in names if _kind_of(name) == kind][-NEWEST_LOGS:])


def of_failed_node(store: Store, cluster_id: str) -> str:
    """Return the end of the log of a failed node. Each node copies its log, so all of them are searched."""
    names = [name for name in _names(store, cluster_id) if _kind_of(name) == "init"]
    init_logs = list(_ends(store, "init", names))
    failed = [each for each in init_logs if "error: spark-sidecar" in each.text] or init_logs
    return "\n".join(failed[-1].text.splitlines()[-_EXPLAINING_LINES:]) if failed else ""


def _names(store: Store, cluster_id: str) -> list[str]:
    """Return the names of the logs of a cluster, without those that name another cluster."""
    names = [name for name, size in store.names() if size and not name.endswith((".gz", ".json"))]
    ids = {name: _CLUSTER_ID.match(name) for name in names}
    return sorted((name for name, match in ids.items() if not match or match[0] == cluster_id), key=_order)


def _order(name: str) -> list[tuple[int, str]]:
    """Return the sort key of a name. Numbers in it, such as times and addresses of hosts, sort by their value."""
    return [(int(number or 0), text) for number, text in re.findall(r"(\d+)|(\D+)", name)]


def _kind_of(name: str) -> str:
    """Return the kind of a log, by its name. A server may have the name "init"."""
    return next((kind for kind in reversed(_KINDS) if re.match(_KINDS[kind], name)), "")


def _ends(store: Store, kind: str, names: Iterable[str]) -> Iterator[Log]:
    for name in names:
        with suppress(ObjectNotFoundError):  # deleted a moment ago
            yield Log(kind, name, tail(store.read(name)[0]).rstrip("\n"))
