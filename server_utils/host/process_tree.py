"""Process trees: who is above, who is below, who was lost, and the ladder that ends them all. Linux; no Spark."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

from server_utils.servers.launch import ProcessId, wait_until


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


def lost(variable: str, value: str) -> list[ProcessId]:
    """Those that are `marked`, and whoever is in a session with one; never those of the session of this process.

    A program that sets its title may write it over its environment, and the mark with it: vLLM's engines do.
    """
    found = marked(variable, value)
    sessions = {_session(process.pid) for process in found} - {_session(os.getpid()), None}
    mates = _living(pid for pid in psutil.pids() if _session(pid) in sessions)
    return [*found, *(mate for mate in mates if mate not in found)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


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
