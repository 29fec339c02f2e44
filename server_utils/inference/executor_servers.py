"""The servers of this executor, found or started for a request, and the deadline of a request to them. Executors."""

from __future__ import annotations

import time
from pathlib import Path

from server_utils.errors import ServerUnavailableError
from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.servers.launch import Launch, Server
from server_utils.spark.executors import current_placement

_LEAST_S = 0.1  # what an attempt may take in any case


def ready_server(launch: Launch, replica: int = 0) -> Server:
    """A server of this executor; the running task starts it where there is none.

    replica: which of the executor's servers, from 0.

    Raises:
        ServerUnavailableError, ServerStartError: it is not there and cannot be started.
    """
    placement = current_placement()
    environ = gpu_assignment.environment(placement.gpus, launch, replica) | dict(placement.environ)
    return lifecycle.ensure(launch, placement.owner, replica=replica, timeout_s=launch.start_timeout_s, environ=environ)


def server_folder(launch: Launch, replica: int = 0) -> Path:
    """The folder of a server of this executor, where it may not have been started yet."""
    return state_dir.folder(launch.application, launch.name, current_placement().owner, replica)


class RequestDeadline:
    """The deadline of one request. It begins anew with each server process, which needs its time to start again."""

    def __init__(self, timeout_s: float) -> None:
        """timeout_s: for one server process."""
        self._timeout_s = timeout_s
        self._server: Server | None = None
        self._ends_at = 0.0

    def begin(self, server: Server) -> bool:
        """Begin anew, unless the deadline is for this process already. Returns whether it is another process."""
        if self._server is not None and self._server.process == server.process:
            return False
        self._server, self._ends_at = server, time.monotonic() + self._timeout_s
        return True

    @property
    def left_s(self) -> float:
        """Seconds that an attempt may take."""
        return max(self._ends_at - time.monotonic(), _LEAST_S)

    def pause(self, pause_s: float, problem: str) -> None:
        """Wait until the next attempt. Raises ServerUnavailableError if the deadline is before that.

        problem: why there was no answer.
        """
        if self._server is not None and time.monotonic() + pause_s > self._ends_at:
            raise ServerUnavailableError(
                f"server {self._server.name!r} on {self._server.host} gave no answer within {self._timeout_s:g} s "
                f"({problem}); see its log {self._server.log}, or allow more with timeout_s="
            )
        time.sleep(pause_s)
