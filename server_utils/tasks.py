"""What a manager's tasks do on the executors: start, look and stop. They never raise for what a server did."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from server_utils import records, sidecar, stopping
from server_utils.errors import SidecarError
from server_utils.placement import Here
from server_utils.process import Launch, Server, State, wait_until

_WAITING, _READY, _FAILED = "waiting", "ready", "failed"
_LAST_WORDS_S = 0.5


def start_here(launch: Launch, here: Here) -> tuple[Server | None, str]:
    """Start this executor's server and wait until all peers' are ready, or end it as soon as one of them failed.

    Returns the server, None where it failed, and why it failed, "" where it did not.
    """
    folder, failure = _begin(launch, here)
    deadline, server = time.monotonic() + launch.start_timeout_s, None
    while True:
        if not failure:
            server, failure = _look(launch, folder, late=time.monotonic() > deadline)
        said = here.exchange(_FAILED if failure else _READY if server else _WAITING)
        if _FAILED in said:
            failure = failure or _last_words(launch, folder)
            stopping.kill(folder)
            return None, failure
        if set(said) == {_READY}:
            return server, ""


def _begin(launch: Launch, here: Here) -> tuple[Path, str]:
    folder = records.folder(launch.application, launch.name, here.owner)
    records.forget_old(launch.application)
    try:
        sidecar.begin(launch, here.owner, timeout_s=launch.start_timeout_s, replace=True, environ=here.environ)
    except SidecarError as error:
        return folder, str(error)
    return folder, ""


def _look(launch: Launch, folder: Path, *, late: bool) -> tuple[Server | None, str]:
    """The server if it is ready, and why it never will be if that is so."""
    try:
        server = sidecar.look(folder, launch)
    except SidecarError as error:
        return None, str(error)
    return server, sidecar.late(folder, launch, launch.start_timeout_s) if late and not server else ""


def _last_words(launch: Launch, folder: Path) -> str:
    """Why a server failed as well: what ends all of them seldom does so in the same round."""
    wait_until(lambda: bool(_look(launch, folder, late=False)[1]), _LAST_WORDS_S)
    return _look(launch, folder, late=False)[1]


def look_here(application: str, name: str, _here: Here | None) -> list[Server]:
    """The records of all servers of a name on this host; one whose supervisor was killed cannot say so itself."""
    found = [records.read(folder) for folder in records.folders(application, name)]
    return [
        server
        if server.state.final or server.supervisor.alive()
        else dataclasses.replace(server, state=State.STOPPED, reason="its supervisor was killed", process=None)
        for server in found
        if server
    ]


def stop_here(application: str, name: str, launch_id: str | None, _here: Here | None) -> None:
    """Stop all servers of a name on this host, whichever executor they belong to, and this launch for good."""
    if launch_id:
        records.bury(application, name, launch_id)
    for folder in records.folders(application, name):
        stopping.stop(folder)
