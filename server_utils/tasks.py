"""What a manager's tasks do on the executors: start, look and stop. They never raise for what a server did."""

from __future__ import annotations

import time

from server_utils import records, sidecar
from server_utils.errors import SidecarError
from server_utils.placement import Here
from server_utils.process import Launch, Server

_WAITING, _READY, _FAILED = "waiting", "ready", "failed"


def start_here(launch: Launch, here: Here) -> tuple[Server | None, str]:
    """Start this executor's server and wait until all peers' are ready, or end it as soon as one of them failed.

    Returns the server, None where it failed, and why it failed, "" where it did not.
    """
    deadline = time.monotonic() + launch.start_timeout_s
    while True:
        server, failure = _look(launch, here, max(deadline - time.monotonic(), 0.0))
        said = here.exchange(_FAILED if failure else _READY if server else _WAITING)
        if _FAILED in said:
            sidecar.kill(records.folder(launch.application, launch.name, here.owner))
            return None, failure
        if set(said) == {_READY}:
            return server, ""


def _look(launch: Launch, here: Here, left_s: float) -> tuple[Server | None, str]:
    """The server if it is ready, and why it never will be if that is so."""
    try:
        folder = sidecar.begin(launch, here.owner, timeout_s=left_s, replace=True, environ=here.environ)
        server = sidecar.look(folder, launch)
        if server is None and left_s <= 0:
            return None, sidecar.late(folder, launch, launch.start_timeout_s)
    except SidecarError as error:
        return None, str(error)
    return server, ""


def look_here(application: str, name: str, _here: Here | None) -> list[Server]:
    """The records of all servers of a name on this host."""
    found = [records.read(folder) for folder in records.folders(application, name)]
    return [server for server in found if server]


def stop_here(application: str, name: str, _here: Here | None) -> None:
    """Stop all servers of a name on this host, whichever executor they belong to."""
    for folder in records.folders(application, name):
        sidecar.stop(folder)
