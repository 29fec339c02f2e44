"""Process trees: who is above, who is below, who was lost, and the ladder that ends them all. Linux; no Spark."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable

import psutil

from server_utils.process import ProcessId, wait_until


def ancestor(name: str) -> ProcessId | None:
    """The nearest ancestor of this process whose executable has the name, such as the executor's `java`."""
    for process in psutil.Process().parents():
        if process.name() == name:
            return ProcessId.of(process.pid)
    return None


def descendants(pid: int) -> list[ProcessId]:
    """All living processes below this one, nearest first."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return _living(child.pid for child in children)


def marked(variable: str, value: str) -> list[ProcessId]:
    """All living processes whose environment holds variable=value: finds orphans that no tree leads to any more."""
    processes = psutil.process_iter(["environ"])
    return _living(p.pid for p in processes if (p.info["environ"] or {}).get(variable) == value)


def called(*words: str) -> list[ProcessId]:
    """All living processes whose command line ends with these words."""
    processes = psutil.process_iter(["cmdline"])
    return _living(p.pid for p in processes if tuple(p.info["cmdline"] or ())[-len(words) :] == words)


def _living(pids: Iterable[int]) -> list[ProcessId]:
    found = []
    for pid in pids:
        try:
            identity = ProcessId.of(pid)
        except ProcessLookupError:
            continue
        if identity.alive():
            found.append(identity)
    return found


def end(
    tree: Callable[[], list[ProcessId]], *, leader: ProcessId | None, grace_s: float, insist_s: float = 5
) -> list[ProcessId]:
    """The ladder: ask the leader, wait, then kill whatever of the tree is left, until nothing is.

    tree: lists the living processes afresh; asked again on each step, as processes may fork while they are killed.
    Returns those that outlived even SIGKILL (uninterruptible sleep in a driver).
    """
    if leader and grace_s > 0:
        leader.signal(signal.SIGTERM)
        wait_until(lambda: not tree(), grace_s)
    deadline = time.monotonic() + insist_s
    while (left := tree()) and time.monotonic() < deadline:
        for process in left:
            process.signal(signal.SIGKILL)
        wait_until(lambda: not tree(), 0.2)
    return left
