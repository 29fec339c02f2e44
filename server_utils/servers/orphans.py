"""Find and end processes that a server left behind, and the watchdog that does so after a killed supervisor. No Spark.

SIGKILL of a supervisor takes the leader of its server along, but not what the leader started (measured: tritonserver
lives on, and holds the GPU until somebody asks for a server again, which may be never).
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

MARK = "SPARK_SIDECAR_SUPERVISOR"  # in the environment of every process below a supervisor, with its identity
SERVER_MARKER = "SPARK_SIDECAR_SERVER"  # in the environment of every process of a server: how orphans are found
_PR_SET_PDEATHSIG = 1
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open puts its files
_libc = ctypes.CDLL(None)


def identity(supervisor: ProcessId) -> str:
    """The value of the mark."""
    return f"{supervisor.pid}-{supervisor.started}"


def watch_over(supervisor: ProcessId) -> None:
    """Leave a keeper for this process, which is a supervisor that has started nothing yet.

    Forked twice: the keeper is no child of the supervisor, so the tree below that one is the server's alone.
    """
    if child := os.fork():
        os.waitpid(child, 0)
        return
    if os.fork() == 0:
        _keep(supervisor)
    os._exit(0)


def _keep(supervisor: ProcessId) -> None:
    os.setsid()
    waiting = select.poll()
    waiting.register(os.pidfd_open(supervisor.pid), select.POLLIN)
    waiting.poll()
    terminate(lambda: find_orphans(MARK, identity(supervisor)), leader=None, grace_s=0)


def marked(variable: str, value: str) -> list[ProcessId]:
    """All living processes whose environment holds variable=value: finds orphans that no tree leads to any more."""
    processes = psutil.process_iter(["environ"])
    return living(p.pid for p in processes if (p.info["environ"] or {}).get(variable) == value)


def find_orphans(variable: str, value: str) -> list[ProcessId]:
    """Those that are `marked`, and whoever is in a session with one; never those of the session of this process.

    A program that sets its title may write it over its environment, and the mark with it: vLLM's engines do.
    """
    found = marked(variable, value)
    sessions = {_session(process.pid) for process in found} - {_session(os.getpid()), None}
    mates = living(pid for pid in psutil.pids() if _session(pid) in sessions)
    return [*found, *(mate for mate in mates if mate not in found)]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def free_shared_memory(leader: ProcessId) -> None:
    """Remove the files in /dev/shm that are named after a server's leader, which is gone.

    PyTriton 0.7 calls them pytrtion<pid>-<random>; each holds 4 MB of memory and more, for ever once it was killed. Our
    clients call theirs sidecar<pid>-…, and leave one there if they are killed before the server has mapped it.
    """
    try:
        if ProcessId.of(leader.pid) != leader or leader.alive():
            return  # the number belongs to another process by now, and so may the files
    except ProcessLookupError:
        pass
    for file in _SHARED_MEMORY.glob(f"*{leader.pid}-*"):
        with contextlib.suppress(FileNotFoundError):  # a client may have been quicker
            if re.match(rf"\D+{leader.pid}-", file.name) and file.stat().st_uid == os.getuid():
                file.unlink()


def die_with(supervisor: int) -> None:
    """In the child: SIGKILL when the supervisor dies, so that not even its SIGKILL leaves a server behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
