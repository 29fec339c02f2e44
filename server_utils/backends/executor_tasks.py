"""What a manager's tasks do on the executors: start, look and stop. They never raise for what a server did."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from server_utils.errors import ConfigurationError, SidecarError
from server_utils.host.processes import ProcessId, wait_until
from server_utils.inference import request_counters
from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.servers.launch import Launch, Server, State
from server_utils.spark import worker_python
from server_utils.spark.executors import Here

_WAITING, _READY, _FAILED = "waiting", "ready", "failed"
_LAST_WORDS_S = 0.5
_WATCH_S, _PAUSE_S = 1.0, 0.03


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How it stands with an executor's servers. servers: those that are ready. failure: why one failed, "" if none."""

    owner: ProcessId
    servers: list[Server]
    failure: str


def in_a_fitting_python(driver: worker_python.Driver, glance: Callable[[Here], Outcome], here: Here) -> Outcome:
    """Glance, if this worker's Python can answer columns later. Raises PlacementError: no peer waits for this task."""
    worker_python.refuse_another(driver)
    return glance(here)


def glance_here(launch: Launch, seconds: float, timeout_s: float, here: Here) -> Outcome:
    """Start this executor's servers if that is not done yet, and watch them for a moment: nobody waits for peers.

    timeout_s: when a server that is not ready has failed.
    """
    folders, failure = _begin(launch, here)
    servers = list[Server]()
    if not failure:
        servers, failure = _watch(launch, folders, seconds, time.monotonic() + timeout_s)
    return Outcome(here.owner, servers, failure)


def end_here(launch: Launch, here: Here) -> Outcome:
    """End this executor's servers because a peer's failed. Returns why one of these failed as well, if so."""
    try:
        folders = _folders(launch, here)
    except (SidecarError, OSError):  # told by the task that was to start one
        return Outcome(here.owner, [], "")
    return _ended(launch, folders, "", here)


def start_here(launch: Launch, timeout_s: float, here: Here) -> Outcome:
    """As `glance_here`, but wait until all peers' are ready too, or end all as soon as one of them failed."""
    folders, failure = _begin(launch, here)
    deadline, servers = time.monotonic() + timeout_s, list[Server]()
    while True:
        if not failure:
            # An exchange takes a second however fast the peers are: who is in one does not see its servers get ready.
            servers, failure = _watch(launch, folders, _WATCH_S, deadline)
        ready = len(servers) == launch.replicas
        said = here.exchange(_FAILED if failure else _READY if ready else _WAITING)
        if _FAILED in said:
            return _ended(launch, folders, failure, here)
        if set(said) == {_READY}:
            return Outcome(here.owner, servers, "")


def _ended(launch: Launch, folders: list[Path], failure: str, here: Here) -> Outcome:
    failure = failure or _last_words(launch, folders)
    for folder in folders:
        lifecycle.kill(folder)
    return Outcome(here.owner, [], failure)


def _folders(launch: Launch, here: Here) -> list[Path]:
    replicas = range(launch.replicas)
    return [state_dir.folder(launch.application, launch.name, here.owner, replica) for replica in replicas]


def _begin(launch: Launch, here: Here) -> tuple[list[Path], str]:
    """The servers' folders, and why one of them cannot be started."""
    folders = list[Path]()
    try:
        state_dir.forget_old(launch.application)
        folders = _folders(launch, here)
        for replica in range(launch.replicas):
            environ = gpu_assignment.environment(here.gpus, launch, replica) | dict(here.environ)
            lifecycle.begin(
                launch, here.owner, timeout_s=launch.start_timeout_s, replica=replica, replace=True, environ=environ
            )
    except SidecarError as error:
        return folders, _at(launch, here, str(error))
    except OSError as error:  # the disk is full, or somebody changed it under us
        place = f"{error}: make room on its disk, or set SPARK_SIDECAR_STATE to a folder on another, on every node"
        return folders, _at(launch, here, place)
    return folders, ""


def _at(launch: Launch, here: Here, failure: str) -> str:
    """A failure with the name of its server, unless it says that itself."""
    host = socket.gethostname()
    return (
        failure
        if launch.name in failure and host in failure
        else (f"server {launch.name!r} on {host} (executor {here.owner.pid}) cannot be started: {failure}")
    )


def _watch(launch: Launch, folders: list[Path], seconds: float, deadline: float) -> tuple[list[Server], str]:
    """As `_look`, once that says something final or the seconds are over."""
    until = time.monotonic() + seconds
    while True:
        now = time.monotonic()
        servers, failure = _look(launch, folders, late=now > deadline)
        if failure or len(servers) == launch.replicas or now > until:
            return servers, failure
        time.sleep(_PAUSE_S)


def _look(launch: Launch, folders: list[Path], *, late: bool) -> tuple[list[Server], str]:
    """Those that are ready, and why one of the others never will be if that is so."""
    found = list[Server]()
    for folder in folders:
        try:
            server = lifecycle.look(folder, launch)
        except SidecarError as error:
            return found, str(error)
        if server:
            found.append(server)
        elif late:
            return found, lifecycle.late(folder, launch, launch.start_timeout_s)
    return found, ""


def _last_words(launch: Launch, folders: list[Path]) -> str:
    """Why a server failed as well: what ends all of them seldom does so in the same round."""
    wait_until(lambda: bool(_look(launch, folders, late=False)[1]), _LAST_WORDS_S)
    return _look(launch, folders, late=False)[1]


def look_here(application: str, name: str, _here: Here | None) -> list[Server]:
    """The records of all servers of a name on this host; one whose supervisor was killed cannot say so itself."""
    found = [(folder, state_dir.read(folder)) for folder in state_dir.folders(application, name)]
    return [_as_it_is(folder, server) for folder, server in found if server]


def _as_it_is(folder: Path, server: Server) -> Server:
    """A record, and what is known besides: whether its supervisor lives, and what the server has done."""
    seen: dict[str, Any] = {"metrics": state_dir.read_metrics(folder), **request_counters.totals(folder)}
    if not server.state.final and not server.supervisor.alive():
        seen |= {"state": State.STOPPED, "reason": "its supervisor was killed", "process": None}
    return dataclasses.replace(server, **seen)


def stop_here(application: str, name: str, launch_id: str | None, _here: Here | None) -> None:
    """Stop all servers of a name on this host, whichever executor they belong to, and this launch for good."""
    if launch_id:
        with suppress(ConfigurationError):  # where the records cannot be, nothing can be started either
            state_dir.bury(application, name, launch_id)
    for folder in state_dir.folders(application, name):
        lifecycle.stop(folder)
