"""Download the model of a server onto its host, before the server's first start. In the supervisor; no Spark.

The download is a process of its own: the supervisor has one thread, and must see meanwhile that its executor is gone,
that it is told to stop, or that the time is over. The download ends with its supervisor.
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
from server_utils.servers.events import Events
from server_utils.servers.launch import State
from server_utils.servers.orphans import SERVER_MARKER, die_with
from server_utils.storage import cache
from server_utils.storage.urls import in_place


class ModelDownloadError(Exception):
    """The model could not be downloaded. state: the state of the server that follows."""

    def __init__(self, reason: str, *, state: State = State.FAILED, log_tail: str = "") -> None:
        super().__init__(reason)
        self.state, self.log_tail = state, log_tail


def fetch(model: str | None, folder: Path, events: Events, timeout_s: float) -> str:
    """The folder of a model on this host, locked in the cache as long as this process lives.

    A model that is used in place is not locked. Raises ModelDownloadError when the download fails or takes too long, or
    the server is to stop meanwhile.
    """
    if not model:
        return ""
    if (place := in_place(model)) is not None:
        return place
    deadline = time.monotonic() + timeout_s
    while True:
        path = _download(model, folder, events, deadline, timeout_s)
        if cache.hold_of(path):  # else another model took its space in the cache after the download had ended
            return str(path)


def _download(model: str, folder: Path, events: Events, deadline: float, timeout_s: float) -> Path:
    log, result = folder / "server.log", folder / "model"
    result.unlink(missing_ok=True)
    with log.open("ab") as output:
        since = output.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "server_utils.storage.load", model, str(result)],
            env=os.environ | {SERVER_MARKER: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=functools.partial(die_with, os.getpid()),  # noqa: PLW1509 - safe: a supervisor has one thread
        )
    watched = events.watch_server(child.pid)
    try:
        ended_by = events.wait(max(deadline - time.monotonic(), 0))
    finally:
        events.forget(watched)
        child.kill()
        child.wait()
    if ended_by is None:
        raise ModelDownloadError(
            f"could not fetch its model {model} within {timeout_s:g} s", log_tail=logs.tail(log, since=since)
        )
    if ended_by.is_unwanted:
        raise ModelDownloadError(ended_by.value, state=State.STOPPED)
    return _path(model, result, log_tail=logs.tail(log, since=since))


def _path(model: str, result: Path, *, log_tail: str) -> Path:
    """The folder in the result of a download. Raises ModelDownloadError when it has none."""
    try:
        answer = json.loads(result.read_text())
    except FileNotFoundError:
        raise ModelDownloadError(
            f"could not fetch its model {model}: the download ended early", log_tail=log_tail
        ) from None
    if "error" in answer:
        raise ModelDownloadError(f"could not fetch its model: {answer['error']}")
    return Path(answer["path"])
