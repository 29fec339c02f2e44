"""The model of a server comes onto its host, before the first attempt. In the supervisor; no Spark.

The download is a process of its own: the supervisor has one thread, and must see meanwhile that its executor is gone,
that it is told to stop, or that the time is over. It ends with its supervisor.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from server_utils.host import logs
from server_utils.servers.events import End, Events
from server_utils.servers.launch import State
from server_utils.servers.orphans import SERVER_MARKER, die_with
from server_utils.storage import cache
from server_utils.storage.urls import in_place


class NotArrivedError(Exception):
    """There is no model here, and there will be none. state: what that makes of the server."""

    def __init__(self, reason: str, *, state: State = State.FAILED, log_tail: str = "") -> None:
        super().__init__(reason)
        self.state, self.log_tail = state, log_tail


def fetch(model: str | None, folder: Path, events: Events, timeout_s: float) -> str:
    """The folder of a model on this host, held as long as this process lives; what is used in place is not.

    Raises NotArrivedError when it cannot be had within the time, or nobody wants it any more.
    """
    if not model:
        return ""
    if (place := in_place(model)) is not None:
        return place
    deadline = time.monotonic() + timeout_s
    while True:
        path = _fetched(model, folder, events, deadline, timeout_s)
        if cache.hold_of(path):  # else another model took its room after the process that had fetched it was gone
            return str(path)


def _fetched(model: str, folder: Path, events: Events, deadline: float, timeout_s: float) -> Path:
    log, answer = folder / "server.log", folder / "model"
    answer.unlink(missing_ok=True)
    with log.open("ab") as output:
        since = output.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "server_utils.storage.load", model, str(answer)],
            env=os.environ | {SERVER_MARKER: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - safe: a supervisor has one thread
        )
    watched = events.watch_server(child.pid)
    try:
        how = events.wait(max(deadline - time.monotonic(), 0))
    finally:
        events.forget(watched)
        child.kill()
        child.wait()
    if how in (End.TOLD, End.OWNER_GONE):
        raise NotArrivedError(how.value, state=State.STOPPED)
    return _path(model, answer, late=how is None, timeout_s=timeout_s, log_tail=logs.tail(log, since=since))


def _path(model: str, answer: Path, *, late: bool, timeout_s: float, log_tail: str) -> Path:
    if late:
        raise NotArrivedError(f"could not fetch its model {model} within {timeout_s:g} s", log_tail=log_tail)
    try:
        said = json.loads(answer.read_text())
    except FileNotFoundError:
        raise NotArrivedError(
            f"could not fetch its model {model}: the download ended early", log_tail=log_tail
        ) from None
    if "error" in said:
        raise NotArrivedError(f"could not fetch its model: {said['error']}")
    return Path(said["path"])
