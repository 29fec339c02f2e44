"""What a manager's tasks do on executors: start, poll and stop servers. They never raise for what a server did."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from server_utils.errors import ConfigurationError, SidecarError
from server_utils.host.processes import ProcessId, wait_until
from server_utils.inference import request_counters
from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.servers.launch import Launch, Server, ServerStatus, State
from server_utils.spark import worker_python
from server_utils.spark.executors import TaskPlacement

_WAITING, _READY, _FAILED = "waiting", "ready", "failed"  # what tasks tell their peers
_FINAL_STATUS_S = 0.5
_ROUND_S, _PAUSE_S = 1.0, 0.03


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The state of one executor's servers. servers: those that are ready. failure: why one failed, "" if none did."""

    owner: ProcessId
    servers: list[Server]
    failure: str


def merge(polled: Sequence[Outcome], killed: Sequence[Outcome]) -> list[Outcome]:
    """One outcome per executor: its failure when it was polled, else the one from when its servers were killed."""
    by_owner = {outcome.owner: outcome for outcome in killed}
    by_owner |= {outcome.owner: outcome for outcome in polled if outcome.failure}
    return list(by_owner.values())


def checking_python(
    driver: worker_python.Driver, task: Callable[[TaskPlacement], Outcome], placement: TaskPlacement
) -> Outcome:
    """Run a task if this worker's Python can run the column functions later. Raises PlacementError if it cannot.

    Not for tasks whose peers wait for them.
    """
    worker_python.check(driver)
    return task(placement)


def start_and_poll(launch: Launch, seconds: float, timeout_s: float, placement: TaskPlacement) -> Outcome:
    """Start this executor's servers unless they run, and poll them for a while, without waiting for peers.

    timeout_s: when a server that is not ready has failed.
    """
    folders, failure = _start(launch, placement)
    servers = list[Server]()
    if not failure:
        servers, failure = _poll_for(launch, folders, seconds, time.monotonic() + timeout_s)
    return Outcome(placement.owner, servers, failure)


def start_and_wait(launch: Launch, timeout_s: float, placement: TaskPlacement) -> Outcome:
    """Start this executor's servers unless they run, and wait until all peers' are ready as well.

    As soon as one of any executor failed, all are killed.
    """
    folders, failure = _start(launch, placement)
    deadline, servers = time.monotonic() + timeout_s, list[Server]()
    while True:
        if not failure:
            # An exchange takes a second however fast the peers are: a task in one does not see its servers get ready.
            servers, failure = _poll_for(launch, folders, _ROUND_S, deadline)
        ready = len(servers) == launch.replicas
        messages = placement.exchange(_FAILED if failure else _READY if ready else _WAITING)
        if _FAILED in messages:
            return _kill(launch, folders, failure, placement)
        if set(messages) == {_READY}:
            return Outcome(placement.owner, servers, "")


def kill_servers(launch: Launch, placement: TaskPlacement) -> Outcome:
    """Kill this executor's servers because a peer's failed. Returns why one of these failed as well, if so."""
    try:
        folders = _folders(launch, placement)
    except (SidecarError, OSError):  # reported by the task that was to start one
        return Outcome(placement.owner, [], "")
    return _kill(launch, folders, "", placement)


def _kill(launch: Launch, folders: list[Path], failure: str, placement: TaskPlacement) -> Outcome:
    failure = failure or _final_failure(launch, folders)
    for folder in folders:
        lifecycle.kill(folder)
    return Outcome(placement.owner, [], failure)


def _folders(launch: Launch, placement: TaskPlacement) -> list[Path]:
    replicas = range(launch.replicas)
    return [state_dir.folder(launch.application, launch.name, placement.owner, replica) for replica in replicas]


def _start(launch: Launch, placement: TaskPlacement) -> tuple[list[Path], str]:
    """Start the servers' supervisors unless they run. Returns their folders, and why one cannot be started."""
    folders = list[Path]()
    try:
        state_dir.remove_old(launch.application)
        folders = _folders(launch, placement)
        for replica in range(launch.replicas):
            environ = gpu_assignment.environment(placement.gpus, launch, replica) | dict(placement.environ)
            lifecycle.ensure_supervisor(
                launch,
                placement.owner,
                timeout_s=launch.start_timeout_s,
                replica=replica,
                replace=True,
                environ=environ,
            )
    except SidecarError as error:
        return folders, _with_server(launch, placement, str(error))
    except OSError as error:  # the disk is full, or somebody changed it under us
        advice = f"{error}: make room on its disk, or set SPARK_SIDECAR_STATE to a folder on another, on every node"
        return folders, _with_server(launch, placement, advice)
    return folders, ""


def _with_server(launch: Launch, placement: TaskPlacement, failure: str) -> str:
    """A failure with the name of its server, unless it has it already."""
    host = socket.gethostname()
    if launch.name in failure and host in failure:
        return failure
    return f"server {launch.name!r} on {host} (executor {placement.owner.pid}) cannot be started: {failure}"


def _poll_for(launch: Launch, folders: list[Path], seconds: float, deadline: float) -> tuple[list[Server], str]:
    """As `_poll`, until all servers are ready, one failed, or the seconds are over."""
    until = time.monotonic() + seconds
    while True:
        now = time.monotonic()
        servers, failure = _poll(launch, folders, late=now > deadline)
        if failure or len(servers) == launch.replicas or now > until:
            return servers, failure
        time.sleep(_PAUSE_S)


def _poll(launch: Launch, folders: list[Path], *, late: bool) -> tuple[list[Server], str]:
    """The servers that are ready, and why one failed, "" if none did. late: the time for the start is over."""
    ready = list[Server]()
    for folder in folders:
        try:
            server = lifecycle.poll(folder, launch)
        except SidecarError as error:
            return ready, str(error)
        if server:
            ready.append(server)
        elif late:
            return ready, lifecycle.timeout_message(folder, launch, launch.start_timeout_s)
    return ready, ""


def _final_failure(launch: Launch, folders: list[Path]) -> str:
    """Why a server here failed as well: servers that fail for one reason seldom do so in the same round."""
    wait_until(lambda: bool(_poll(launch, folders, late=False)[1]), _FINAL_STATUS_S)
    return _poll(launch, folders, late=False)[1]


def read_servers(application: str, name: str, _placement: TaskPlacement | None) -> list[ServerStatus]:
    """The status of all servers of a name on this host."""
    records = [(folder, state_dir.read(folder)) for folder in state_dir.folders(application, name)]
    return [_status(folder, server) for folder, server in records if server]


def _status(folder: Path, server: Server) -> ServerStatus:
    """The status of a record: with the server's counters and metrics, and STOPPED if its supervisor was killed."""
    if not server.state.final and not server.supervisor.alive():
        server = dataclasses.replace(server, state=State.STOPPED, reason="its supervisor was killed", process=None)
    return ServerStatus.of(server, metrics=state_dir.read_metrics(folder), **request_counters.totals(folder))


def stop_servers(application: str, name: str, launch_id: str | None, _placement: TaskPlacement | None) -> None:
    """Stop all servers of a name on this host, whichever executor they belong to, and this launch for good."""
    if launch_id:
        with suppress(ConfigurationError):  # without a state folder nothing can be started either
            state_dir.mark_stopped(application, name, launch_id)
    for folder in state_dir.folders(application, name):
        lifecycle.stop(folder)
