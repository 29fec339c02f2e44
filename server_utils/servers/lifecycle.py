"""Start a server for an executor unless one runs, wait for it, and stop it. Executors; no Spark.

`ensure` is idempotent and safe under concurrent callers. `start_servers()` calls it, and so does any task on an
executor that has no server yet. `stop` lets the supervisor end its server first, and then ends whatever is left.
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

from server_utils.environments import interpreters
from server_utils.errors import ServerStartError, ServerStopError, ServerUnavailableError
from server_utils.host import logs
from server_utils.host.files import exclusive_lock
from server_utils.host.processes import ProcessId, terminate, wait_until, with_command
from server_utils.servers import state_dir
from server_utils.servers.launch import Launch, Server, State
from server_utils.servers.orphans import SERVER_MARKER, find_orphans, free_shared_memory

_STOPPED = "was stopped; run actions before stop_servers(), inside the with block, or start it again"
_SUPERVISOR_END_S = 9.0  # after the grace: a supervisor may take five seconds to kill, and a health check two
_LOCK_S = 60.0
_WATCHDOG_END_S = 5.0


def ensure(
    launch: Launch,
    owner: ProcessId,
    *,
    timeout_s: float,
    replica: int = 0,
    replace: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Server:
    """A ready server of this launch for this owner: the one that runs, else a new one. Callers share one start.

    Args:
        launch: what to run.
        owner: the process that the server must not outlive, such as the executor's JVM.
        timeout_s: seconds to wait until it is ready, start included.
        replica: which of the owner's servers, from 0.
        replace: whether a running server of the same name but another launch is stopped first.
        environ: variables for the server on top of this process's, such as CUDA_VISIBLE_DEVICES.

    Raises:
        ServerStartError: it failed; the message ends with the last lines of its log.
        ServerUnavailableError: it was stopped, belongs to another launch, or is not ready in time.
    """
    deadline = time.monotonic() + timeout_s
    folder = ensure_supervisor(launch, owner, timeout_s=timeout_s, replica=replica, replace=replace, environ=environ)
    while not (server := poll(folder, launch)):
        if time.monotonic() > deadline:
            raise ServerUnavailableError(timeout_message(folder, launch, timeout_s))
        time.sleep(0.03)
    return server


def ensure_supervisor(
    launch: Launch,
    owner: ProcessId,
    *,
    timeout_s: float,
    replica: int = 0,
    replace: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Path:
    """The first half of `ensure`: start a supervisor unless one runs, without waiting for the server.

    Returns the server's folder.
    """
    folder = state_dir.folder(launch.application, launch.name, owner, replica)
    if state_dir.is_stopped(launch):
        raise ServerUnavailableError(f"server {launch.name!r} on {socket.gethostname()} {_STOPPED}")
    try:
        with exclusive_lock(folder / "lock", timeout_s=timeout_s):
            if _needs_start(folder, launch, replace=replace):
                _start_supervisor(folder, launch, owner, replica, environ or {})
    except TimeoutError as error:
        raise ServerUnavailableError(timeout_message(folder, launch, timeout_s)) from error
    return folder


def poll(folder: Path, launch: Launch) -> Server | None:
    """The server if it is ready, None while it starts. Raises as `ensure` does when it never will be."""
    server = state_dir.read(folder)
    if server is None or server.launch_id != launch.id:
        raise ServerUnavailableError(f"server {launch.name!r} on {socket.gethostname()} was replaced by another launch")
    if server.state is State.READY:
        return server
    _refuse_final(server)
    # A supervisor that ends writes the record first: if it ended just now, the next poll reads that.
    if not server.supervisor.alive() and server == state_dir.read(folder):
        quoted = logs.tail(folder / "supervisor.log") or "(its log is empty)"
        raise ServerStartError(f"{_who(server)}: its supervisor died while it was {server.state.value}:\n{quoted}")
    return None


def is_supervised(server: Server) -> bool:
    """Whether a supervisor still works on the server."""
    return not server.state.final and server.supervisor.alive()


def _needs_start(folder: Path, launch: Launch, *, replace: bool) -> bool:
    server = state_dir.read(folder)
    if server is None:
        return True
    if server.launch_id == launch.id:
        alive = server.supervisor.alive()
        _refuse_final(state_dir.read(folder) or server)  # read again: a supervisor writes the record before it ends
        return not alive
    if is_supervised(server) and not replace:
        raise ServerUnavailableError(
            f"{_who(server)} runs for another manager of the same name; stop that one, or choose another name"
        )
    return True


def _start_supervisor(folder: Path, launch: Launch, owner: ProcessId, replica: int, environ: Mapping[str, str]) -> None:
    """Start a supervisor, after ending what an earlier one has left."""
    before = state_dir.read(folder)
    if before:
        end_processes(folder, before, signal.SIGTERM)
    state_dir.write_launch(folder, launch)
    python, path = interpreters.lasting()
    read_end, write_end = os.pipe()  # it reads to the end of its input before it reads its record
    with os.fdopen(write_end, "wb", buffering=0) as pipe:
        with os.fdopen(read_end) as stdin, (folder / "supervisor.log").open("ab") as log:
            child = subprocess.Popen(
                [python, "-m", "server_utils.servers.supervisor", str(folder)],
                env=dict(os.environ) | {"PYTHONPATH": os.pathsep.join(path)} | dict(environ),
                stdin=stdin,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with suppress(BrokenPipeError):  # it ended at once: `poll` reports that, with its log
            pipe.write(json.dumps(dict(launch.env)).encode())
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


def timeout_message(folder: Path, launch: Launch, timeout_s: float) -> str:
    """The error message for a server that is not ready in time: its state and the end of its log."""
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
    """As `stop`, but by SIGKILL at once."""
    _end_server(folder, signal.SIGKILL)


def _end_server(folder: Path, number: int) -> None:
    """End the processes and record it, but not while `ensure_supervisor` is half-way through a start."""
    try:
        with exclusive_lock(folder / "lock", timeout_s=_LOCK_S):
            _end_locked(folder, number)
    except TimeoutError as error:
        raise ServerStopError(
            f"another process has held {folder / 'lock'} for {_LOCK_S:.0f} s; is it stopped?"
        ) from error


def _end_locked(folder: Path, number: int) -> None:
    server = state_dir.read(folder)
    if server is None:
        return
    end_processes(folder, server, number)
    last = state_dir.read(folder) or server
    if not last.state.final:
        state_dir.write(folder, dataclasses.replace(last, state=State.STOPPED, process=None))


def end_processes(folder: Path, server: Server, number: int) -> None:
    """End the supervisor, which ends its server, and then any process of the server that it has lost."""
    server.supervisor.signal(number)
    wait_until(lambda: not server.supervisor.alive(), state_dir.read_launch(folder).stop_grace_s + _SUPERVISOR_END_S)
    server.supervisor.signal(signal.SIGKILL)
    left = terminate(lambda: find_orphans(SERVER_MARKER, str(folder)), leader=None, grace_s=0)
    # The watchdog has the supervisor's command line, and ends a moment after it.
    wait_until(lambda: not with_command("server_utils.servers.supervisor", str(folder)), _WATCHDOG_END_S)
    if server.process:
        free_shared_memory(server.process)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise ServerStopError(
            f"server {server.name!r} on {server.host}: processes {pids} survive SIGKILL; "
            "the node needs a look or a reboot"
        )
