"""The end of a server from outside: its supervisor's own ladder first, then whatever is left. Executors; no Spark."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

from filelock import FileLock, Timeout

from server_utils.errors import ServerStopError
from server_utils.host.processes import terminate, wait_until, with_command
from server_utils.servers import state_dir
from server_utils.servers.launch import Server, State
from server_utils.servers.orphans import SERVER_MARKER, find_orphans, free_shared_memory

_LADDER_S = 9.0  # a supervisor's own ladder takes five seconds after the grace, a health check two; then we insist
_LOCK_S = 60.0
_KEEPER_S = 5.0


def stop(folder: Path) -> None:
    """Stop the server of a folder and whatever is left of its processes. Stopping twice is fine.

    Raises ServerStopError when processes outlive SIGKILL.
    """
    _end(folder, signal.SIGTERM)


def kill(folder: Path) -> None:
    """As `stop`, but without a moment of grace."""
    _end(folder, signal.SIGKILL)


def _end(folder: Path, number: int) -> None:
    """Halt, and leave a record that says so; not while `begin` is half-way through starting another supervisor."""
    try:
        with FileLock(folder / "lock", timeout=_LOCK_S, mode=0o600):
            _end_locked(folder, number)
    except Timeout as error:
        raise ServerStopError(
            f"another process has held {folder / 'lock'} for {_LOCK_S:.0f} s; is it stopped?"
        ) from error


def _end_locked(folder: Path, number: int) -> None:
    server = state_dir.read(folder)
    if server is None:
        return
    halt(folder, server, number)
    last = state_dir.read(folder) or server
    if not last.state.final:
        state_dir.write(folder, dataclasses.replace(last, state=State.STOPPED, process=None))


def halt(folder: Path, server: Server, number: int) -> None:
    """End the supervisor, which ends its server, and then any process of the server that it has lost."""
    server.supervisor.signal(number)
    wait_until(lambda: not server.supervisor.alive(), state_dir.read_launch(folder).stop_grace_s + _LADDER_S)
    server.supervisor.signal(signal.SIGKILL)
    left = terminate(lambda: find_orphans(SERVER_MARKER, str(folder)), leader=None, grace_s=0)
    # Its keeper bears its name, and needs a moment to see that there is nothing left to keep.
    wait_until(lambda: not with_command("server_utils.servers.supervisor", str(folder)), _KEEPER_S)
    if server.process:
        free_shared_memory(server.process)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise ServerStopError(
            f"server {server.name!r} on {server.host}: processes {pids} survive SIGKILL; "
            "the node needs a look or a reboot"
        )
