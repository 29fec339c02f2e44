"""Start a server for an executor unless one runs, wait for it, and stop it. Executors; no Spark.

`ensure` is idempotent and safe under concurrent callers. It is used twice: eagerly by `start_servers()`, and lazily by
any task that lands on an executor without a server. `stop` lets the supervisor end its server first, and then ends
whatever is left.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from server_utils.environments import interpreters
from server_utils.errors import ServerStartError, ServerStopError, ServerUnavailableError
from server_utils.host import logs
from server_utils.host.processes import ProcessId, terminate, wait_until, with_command
from server_utils.servers import state_dir
from server_utils.servers.launch import Launch, Server, State
from server_utils.servers.orphans import SERVER_MARKER, find_orphans, free_shared_memory

_STOPPED = "was stopped; run actions before stop_servers(), inside the with block, or start it again"
_LADDER_S = 9.0  # a supervisor's own ladder takes five seconds after the grace, a health check two; then we insist
_LOCK_S = 60.0
_KEEPER_S = 5.0


def ensure(
    launch: Launch,
    owner: ProcessId,
    *,
    timeout_s: float,
    replica: int = 0,
    replace: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Server:
    """A ready server of this launch for this owner: the one that runs, else a new one. Single flight per owner.

    Args:
        launch: what to run.
        owner: the process the server must not outlive, such as the executor's JVM.
        timeout_s: seconds to wait until it is ready, start included.
        replica: which of the owner's servers, from 0.
        replace: whether a running server of the same name but another launch is stopped first.
        environ: variables for the server on top of this process's, such as CUDA_VISIBLE_DEVICES.

    Raises:
        ServerStartError: it failed; the message ends with the last lines of its log.
        ServerUnavailableError: it was stopped, belongs to another launch, or is not ready in time.
    """
    deadline = time.monotonic() + timeout_s
    folder = begin(launch, owner, timeout_s=timeout_s, replica=replica, replace=replace, environ=environ)
    while not (server := look(folder, launch)):
        if time.monotonic() > deadline:
            raise ServerUnavailableError(late(folder, launch, timeout_s))
        time.sleep(0.03)
    return server


def begin(
    launch: Launch,
    owner: ProcessId,
    *,
    timeout_s: float,
    replica: int = 0,
    replace: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """The first half of `ensure`: see to it that a supervisor is at work, without waiting for the server."""
    folder = state_dir.folder(launch.application, launch.name, owner, replica)
    if state_dir.buried(launch):
        raise ServerUnavailableError(f"server {launch.name!r} on {socket.gethostname()} {_STOPPED}")
    try:
        with FileLock(folder / "lock", timeout=timeout_s, mode=0o600):
            if _needs_start(folder, launch, replace=replace):
                _start_supervisor(folder, launch, owner, replica, environ or {})
    except Timeout as error:
        raise ServerUnavailableError(late(folder, launch, timeout_s)) from error
    return folder


def look(folder: Path, launch: Launch) -> Server | None:
    """The server if it is ready, None while it starts. Raises as `ensure` does when it never will be."""
    server = state_dir.read(folder)
    if server is None or server.launch_id != launch.id:
        raise ServerUnavailableError(f"server {launch.name!r} on {socket.gethostname()} was replaced by another launch")
    if server.state is State.READY:
        return server
    _refuse_final(server)
    if not server.supervisor.alive() and server == state_dir.read(folder):  # else it left word between our two looks
        quoted = logs.tail(folder / "supervisor.log") or "(its log is empty)"
        raise ServerStartError(f"{_who(server)}: its supervisor died while it was {server.state.value}:\n{quoted}")
    return None


def running(server: Server) -> bool:
    """Whether a supervisor still works on the server."""
    return not server.state.final and server.supervisor.alive()


def _needs_start(folder: Path, launch: Launch, *, replace: bool) -> bool:
    server = state_dir.read(folder)
    if server is None:
        return True
    if server.launch_id == launch.id:
        alive = server.supervisor.alive()
        _refuse_final(state_dir.read(folder) or server)  # read after the look: a supervisor that ends leaves word first
        return not alive
    if running(server) and not replace:
        raise ServerUnavailableError(
            f"{_who(server)} runs for another manager of the same name; stop that one, or choose another name"
        )
    return True


def _start_supervisor(folder: Path, launch: Launch, owner: ProcessId, replica: int, environ: Mapping[str, str]) -> None:
    """Start the supervisor; what an earlier one left behind is ended first."""
    before = state_dir.read(folder)
    if before:
        halt(folder, before, signal.SIGTERM)
    state_dir.write_launch(folder, launch)
    python, path = interpreters.lasting()
    wait_end, go_end = os.pipe()  # it reads to the end of its input before it looks for its record
    with os.fdopen(go_end, "wb", buffering=0) as go:
        with os.fdopen(wait_end) as waiting, (folder / "supervisor.log").open("ab") as log:
            child = subprocess.Popen(
                [python, "-m", "server_utils.servers.supervisor", str(folder)],
                env=dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path)} | dict(environ),
                stdin=waiting,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with suppress(BrokenPipeError):  # it ended at once: who looks for the server sees that, and its log
            go.write(json.dumps(dict(launch.env)).encode())
        first = _first_record(folder, launch, owner, ProcessId.of(child.pid), before)
        state_dir.write(folder, dataclasses.replace(first, replica=replica))
    threading.Thread(target=child.wait, daemon=True).start()  # reaps it, should it end before this process


def _first_record(
    folder: Path, launch: Launch, owner: ProcessId, supervisor: ProcessId, before: Server | None
) -> Server:
    """Ports are kept where possible, so that URLs stay true; a start after a killed supervisor is a restart."""
    again = before is not None and before.launch_id == launch.id
    return Server(
        launch_id=launch.id,
        name=launch.name,
        host=socket.gethostname(),
        owner=owner,
        supervisor=supervisor,
        log=str(folder / "server.log"),
        ports=before.ports if before else {},
        restarts=before.restarts + 1 if before and again else 0,
        reason="its supervisor was killed" if again else "",
    )


def _refuse_final(server: Server) -> None:
    if server.state is State.FAILED:
        tail = f"\n{server.log_tail}" if server.log_tail else ""
        raise ServerStartError(f"{_who(server)} {server.reason}{tail}")
    if server.state is State.STOPPED:
        raise ServerUnavailableError(f"{_who(server)} {_STOPPED}")


def _who(server: Server) -> str:
    return f"server {server.name!r} on {server.host} (executor {server.owner.pid})"


def late(folder: Path, launch: Launch, timeout_s: float) -> str:
    """The message for a server that is not ready in time: its state and the end of its log."""
    server = state_dir.read(folder)
    state = server.state.value if server else "not started"
    tail = logs.tail(folder / "server.log") or "(its log is empty)"
    return f"server {launch.name!r} on {socket.gethostname()} is {state} after {timeout_s:.0f} s; its log ends:\n{tail}"


def stop(folder: Path) -> None:
    """Stop the server of a folder and whatever is left of its processes. Stopping twice is fine.

    Raises ServerStopError when processes outlive SIGKILL.
    """
    _end_server(folder, signal.SIGTERM)


def kill(folder: Path) -> None:
    """As `stop`, but without a moment of grace."""
    _end_server(folder, signal.SIGKILL)


def _end_server(folder: Path, number: int) -> None:
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
