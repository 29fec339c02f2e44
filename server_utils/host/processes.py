"""Processes: their identity, their trees, terminate-then-kill, and Spark's memory limit. Linux; no Spark.

`spark.executor.pyspark.memory` limits the address space of Spark's Python workers, and whatever they start inherits it.
It is meant for the rows that Python holds. A server reserves many times what it uses (threads, arenas, CUDA), and fails
under such a limit with all kinds of errors. So a supervisor lifts the limit, or names it in its errors.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_SETTING = "spark.executor.pyspark.memory"
_LIMIT_VARIABLE = "PYSPARK_EXECUTOR_MEMORY_MB"  # Spark's, in the environment of a worker that has this limit


@dataclass(frozen=True)
class ProcessId:
    """A process, which is not mistaken for a later one with the same number.

    started: clock ticks since boot (field 22 of /proc/PID/stat); wall-clock start times move with the clock.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The identity of a running process. Raises ProcessLookupError when there is none."""
        fields = _stat(pid)
        if fields is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """Whether this very process runs; a zombie does not, once no thread of it is left that holds its sockets."""
        fields = _stat(self.pid)
        if fields is None or int(fields[19]) != self.started:
            return False
        return fields[0] not in "ZX" or int(fields[17]) > 1

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone or its number belongs to another one by now."""
        if not self.alive():  # first: pidfd_open raises another error when the number belongs to a thread by now
            return
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            pass  # it ended between the check and the signal
        finally:
            os.close(descriptor)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on; the command before them may hold any character."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def wait_until(condition: Callable[[], bool], seconds: float, *, pause_s: float = 0.02) -> bool:
    """Poll a condition that has no event to wait for. Returns whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause_s)
    return True


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
    return living(child.pid for child in children)


def with_command(*words: str) -> list[ProcessId]:
    """All living processes whose command line ends with these words."""
    processes = psutil.process_iter(["cmdline"])
    return living(p.pid for p in processes if tuple(p.info["cmdline"] or ())[-len(words) :] == words)


def living(pids: Iterable[int]) -> list[ProcessId]:
    """The identities of those of the processes that are alive."""
    identities = []
    for pid in pids:
        try:
            identity = ProcessId.of(pid)
        except ProcessLookupError:
            continue
        if identity.alive():
            identities.append(identity)
    return identities


def terminate(
    tree: Callable[[], list[ProcessId]], *, leader: ProcessId | None, grace_s: float, insist_s: float = 5
) -> list[ProcessId]:
    """Terminate, then kill: SIGTERM to the leader, a grace period, then SIGKILL until nothing of the tree is left.

    tree: lists the living processes; called again on each step, because processes may fork while they are killed.
    Returns those that outlive SIGKILL (uninterruptible sleep in a driver).
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


def lift_memory_limit() -> None:
    """Lift the limit that Spark set for the parent of this process, if this user may: only root can, as a rule.

    Spark lowers the hard limit as well. A limit that others set, such as a batch system, stays.
    """
    if _LIMIT_VARIABLE in os.environ:
        with suppress(ValueError, OSError):  # only root can raise the hard limit; see `memory_limit_hint`
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def memory_limit_hint() -> str:
    """What an error about a server that did not start adds about the limit; "" where there is none."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return ""
    whose = _SETTING if _LIMIT_VARIABLE in os.environ else "the limit on virtual memory (ulimit -v) of Spark's worker"
    return (
        f"; it has {limit / 2**30:.1f} GiB of address space, by {whose}, which servers inherit: unset that, and give "
        "servers memory by spark.executor.memoryOverhead"
    )
