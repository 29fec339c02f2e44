"""Find and end processes that a server left behind, and the watchdog that does so after a killed supervisor. No Spark.

SIGKILL of a supervisor ends the leading process of its server as well, but not what that has started (measured:
tritonserver goes on, and holds the GPU until somebody asks for a server again, which may be never).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import select
import signal
from pathlib import Path

import psutil

from server_utils.host.processes import ProcessId, living, terminate

# In the environment of every process of a server, so that orphans are found: its supervisor's identity, its folder.
SUPERVISOR_MARKER = "SPARK_SIDECAR_SUPERVISOR"
SERVER_MARKER = "SPARK_SIDECAR_SERVER"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open puts its files
_libc = ctypes.CDLL(None)


def marker_value(supervisor: ProcessId) -> str:
    """The value of SUPERVISOR_MARKER in the processes of a supervisor's server."""
    return f"{supervisor.pid}-{supervisor.started}"


def start_watchdog(supervisor: ProcessId) -> None:
    """Start the watchdog of this process, which is a supervisor that has started nothing yet.

    Forked twice: the watchdog is no child of the supervisor, so that the process tree below it is the server's alone.
    """
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        _watch(supervisor)
    os._exit(0)


def _watch(supervisor: ProcessId) -> None:
    os.setsid()
    waiting = select.poll()
    waiting.register(os.pidfd_open(supervisor.pid), select.POLLIN)
    waiting.poll()
    terminate(lambda: find_orphans(SUPERVISOR_MARKER, marker_value(supervisor)), leader=None, grace_s=0)


def marked(variable: str, value: str) -> list[ProcessId]:
    """All living processes whose environment holds variable=value, also those that no process tree leads to."""
    processes = psutil.process_iter(["environ"])
    return living(p.pid for p in processes if (p.info["environ"] or {}).get(variable) == value)


def find_orphans(variable: str, value: str) -> list[ProcessId]:
    """The `marked` processes and all others in their sessions, but for the session of this process.

    A program that sets its title may overwrite its environment, and the marker with it: vLLM's engines do.
    """
    with_marker = marked(variable, value)
    sessions = {_session(process.pid) for process in with_marker} - {_session(os.getpid()), None}
    in_sessions = living(pid for pid in psutil.pids() if _session(pid) in sessions)
    return [*with_marker, *(process for process in in_sessions if process not in with_marker)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def free_shared_memory(leader: ProcessId) -> None:
    """Remove the files in /dev/shm that are named after a server's leading process, which has ended.

    PyTriton 0.7 names them pytrtion<pid>-<random>. Each takes 4 MB of memory or more, for ever after a SIGKILL. Our
    clients name theirs sidecar<pid>-…, and leave one if they are killed before the server has mapped it.
    """
    try:
        if ProcessId.of(leader.pid) != leader or leader.alive():
            return  # the number belongs to another process by now, and so may the files
    except ProcessLookupError:
        pass
    for file in _SHARED_MEMORY.glob(f"*{leader.pid}-*"):
        with contextlib.suppress(FileNotFoundError):  # a client may have removed it
            if re.match(rf"\D+{leader.pid}-", file.name) and file.stat().st_uid == os.getuid():
                file.unlink()


def adopt_orphans() -> None:
    """Make orphans of the server children of this process: the process tree below it stays complete."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(supervisor: int) -> None:
    """In the child: SIGKILL when the supervisor dies, so that not even its SIGKILL leaves a server behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
