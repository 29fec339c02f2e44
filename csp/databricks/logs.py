"""The logs of a cluster that are in its volume: of the driver, of executors, of nodes and of inference servers. Laptop.

The folder is that of the deployment, so it holds the logs of earlier clusters too. The id of a cluster tells its own
logs apart: names of folders and hosts begin with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from csp.cloud import NEWEST_LOGS, Log, tail
from server_utils.storage.stores.base import ObjectNotFoundError, Store

_CLUSTER_ID = re.compile(r"\d{4}-\d{6}-[a-z0-9]+")
_EXPLAINING_LINES = 20
# How the names of logs look: the cluster's own, those of our nodes, those of our servers.
_KINDS = {
    "driver": r"[^/]+/driver/",
    "executor": r"[^/]+/executor/",
    "init": r"[^/]+/init[._]",
    "server": r"servers/",
}


def logs(store: Store, cluster_id: str, kinds: Sequence[str]) -> Iterator[Log]:
    """The ends of the newest logs of each kind, the newest last."""
    names = _names(store, cluster_id)
    for kind in kinds:
        yield from _ends(store, kind, [name for name in names if _kind_of(name) == kind][-NEWEST_LOGS:])


def of_failed_node(store: Store, cluster_id: str) -> str:
    """The end of the log of a node that failed, which it copied beside its bundle; any of them may have."""
    names = [name for name in _names(store, cluster_id) if _kind_of(name) == "init"]
    found = list(_ends(store, "init", names))
    failed = [each for each in found if "error: spark-sidecar" in each.text] or found
    return "\n".join(failed[-1].text.splitlines()[-_EXPLAINING_LINES:]) if failed else ""


def _names(store: Store, cluster_id: str) -> list[str]:
    """The names of the logs of a cluster; those that name another cluster are left out."""
    names = [name for name, size in store.names() if size and not name.endswith((".gz", ".json"))]
    named = {name: _CLUSTER_ID.match(name) for name in names}
    return sorted((name for name, its in named.items() if not its or its[0] == cluster_id), key=_order)


def _order(name: str) -> list[tuple[int, str]]:
    """In which order names stand: numbers count as numbers, as times and addresses of hosts have them."""
    return [(int(number or 0), text) for number, text in re.findall(r"(\d+)|(\D+)", name)]


def _kind_of(name: str) -> str:
    """The kind of a log, by its name; a server may be called "init"."""
    return next((kind for kind in reversed(_KINDS) if re.match(_KINDS[kind], name)), "")


def _ends(store: Store, kind: str, names: Iterable[str]) -> Iterator[Log]:
    for name in names:
        with suppress(ObjectNotFoundError):  # deleted a moment ago
            yield Log(kind, name, tail(store.read(name)[0]).rstrip("\n"))
