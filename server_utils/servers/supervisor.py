"""The process that owns one server: starts it, follows it, restarts it, ends it with its executor. No Spark.

Run as `python -m server_utils.servers.supervisor FOLDER` by `lifecycle.ensure`, in a session of its own. The Python
worker that
starts it is reaped after an idle minute, so what it watches is the owner: the executor's JVM.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server_utils.errors import SidecarError
from server_utils.host import logs, platform, processes
from server_utils.host.processes import ProcessId, descendants, terminate
from server_utils.servers import model_download, orphans, state_dir
from server_utils.servers.engine_process import Attempt
from server_utils.servers.events import End, Events
from server_utils.servers.launch import State
from server_utils.servers.ports import Lease

_STARTING_PAUSE_S, _READY_PAUSE_S = 0.03, 1.0
_REFUSED = 3  # health checks in a row that nobody listened to: the server is gone though its leader lives
_WINDOW_S = 600.0  # a restart counts against the bound for as long
_BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_ORPHAN_GRACE_S = 1.0  # without an executor nobody waits for answers
_TRIES = 3  # of a first start, where the server is not to blame
_PR_SET_CHILD_SUBREAPER = 36


class Supervisor:
    """One server's life. The record on disk tells how it goes, and how it went."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """Take over a folder that `lifecycle.ensure` laid out. env: the launch's, which is not on disk.

        Raises ProcessLookupError when the owner is gone, SystemExit when the folder is another supervisor's.
        """
        found = state_dir.read(folder)
        if found is None or found.supervisor != ProcessId.of(os.getpid()):  # `ensure` was killed half-way
            raise SystemExit(f"{folder} holds no record of this supervisor: they are started by sidecar.ensure")
        self.folder, self.server = folder, found
        self.launch = dataclasses.replace(state_dir.read_launch(folder), env=env)
        self.events = Events(found.owner)
        self.lease = Lease(state_dir.ports(), self.launch.ports, preferred=found.ports)
        self.restarts: list[float] = []
        self.tries = 1
        self.was_ready = False
        self.deadline = time.monotonic() + self.launch.start_timeout_s

    def run(self) -> None:
        """Have the model here, then attempt after attempt, until one ends for good."""
        try:
            model = model_download.fetch(self.launch.model, self.folder, self.events, self.launch.start_timeout_s)
        except model_download.NotArrivedError as error:
            return self._record(
                state=error.state, reason=f"{error}{processes.memory_limit_hint()}", log_tail=error.log_tail
            )
        while True:
            try:
                attempt = Attempt(self.folder, self.launch, self.lease.ports, model)
            except (SidecarError, OSError) as error:
                return self._record(state=State.FAILED, reason=f"{error}{processes.memory_limit_hint()}")
            self._record(process=attempt.process, ports=self.lease.ports, started_at=time.time())
            watched = self.events.watch_server(attempt.process.pid)
            how = self._follow(attempt)
            self.events.forget(watched)
            if not self._again(attempt, how):
                return None

    def _follow(self, attempt: Attempt) -> End:
        """Wait for the end of an attempt; mark the server ready on the way."""
        ready, refused, last_sign = False, 0, attempt.started
        # The first start shares its time with the fetch of the model; a restart has all of it.
        deadline = attempt.started + self.launch.start_timeout_s if self.was_ready else self.deadline
        while True:
            if happened := self.events.wait(_READY_PAUSE_S if ready else _STARTING_PAUSE_S):
                return happened
            now = time.monotonic()
            if attempt.healthy():
                last_sign, refused = now, 0
                ready = ready or self._ready(attempt)
            elif not ready and now > deadline:
                return End.LATE
            elif ready:
                refused = 0 if attempt.listening() else refused + 1
                if refused >= _REFUSED:
                    return End.DEAF
                if now - last_sign > self.launch.hang_timeout_s:
                    return End.HUNG
            attempt.reap()
            logs.bound(self.folder / "server.log")

    def _ready(self, attempt: Attempt) -> bool:
        self.was_ready = True
        took = round(time.monotonic() - attempt.started, 3)
        self._record(state=State.READY, ready_s=took, models=attempt.models())
        return True

    def _again(self, attempt: Attempt, how: End) -> bool:
        """End an attempt, and decide whether there is another one."""
        log_tail = attempt.log_tail()  # before the ladder: what a server says while it is ended is not the reason
        status = attempt.end({End.TOLD: self.launch.stop_grace_s, End.OWNER_GONE: _ORPHAN_GRACE_S}.get(how, 0.0))
        reason = self._reason(how, status)
        if how in (End.TOLD, End.OWNER_GONE):
            self._record(state=State.STOPPED, reason=reason, process=None)
            return False
        if not self.was_ready:
            return self._once_more(status) or self._failed(reason, log_tail)
        return self._restart(reason, log_tail)

    def _once_more(self, status: int | None) -> bool:
        """Whether a first start is tried again: the program asks for it, or a stranger took a port before the server.

        For the latter there are new ones.
        """
        stolen = not self.lease.all_free()
        if self.tries >= _TRIES or not (stolen or status == os.EX_TEMPFAIL):
            return False
        self.tries += 1
        if stolen:
            self._new_lease()
        return True

    def _restart(self, reason: str, log_tail: str) -> bool:
        now = time.monotonic()
        self.restarts = [when for when in self.restarts if now - when < _WINDOW_S]
        if len(self.restarts) >= self.launch.max_restarts:
            return self._failed(f"{reason}; restarted {len(self.restarts)} times in ten minutes already", log_tail)
        pause = _BACKOFF_S[min(len(self.restarts), len(_BACKOFF_S) - 1)]
        self.restarts.append(now)
        restarts = self.server.restarts + 1
        self._record(state=State.RESTARTING, reason=reason, log_tail=log_tail, restarts=restarts, process=None)
        if not self.lease.all_free():
            self._new_lease()
        if how := self.events.wait(pause):
            self._record(state=State.STOPPED, reason=how.value)
        return how is None

    def _new_lease(self) -> None:
        self.lease.release()
        self.lease = Lease(state_dir.ports(), self.launch.ports)

    def _failed(self, reason: str, log_tail: str) -> bool:
        self._record(
            state=State.FAILED, reason=f"{reason}{processes.memory_limit_hint()}", log_tail=log_tail, process=None
        )
        return False

    def _reason(self, how: End, status: int | None) -> str:
        if how is End.LATE:
            return f"was not ready within {self.launch.start_timeout_s:g} s"
        if how is End.HUNG:
            return f"stopped answering health checks (limit: {self.launch.hang_timeout_s:g} s)"
        if how is not End.EXITED or status is None:
            return str(how.value)
        if status == -signal.SIGKILL:
            return f"was killed by SIGKILL ({platform.what_kills()})"
        if status < 0:
            return f"died of signal {-status} ({signal.strsignal(-status)})"
        return f"exited with status {status}"

    def _record(self, **changes: Any) -> None:
        self.server = dataclasses.replace(self.server, **changes)
        state_dir.write(self.folder, self.server)


def main() -> None:
    """Own the server of the folder that the command line names, once standard input has ended.

    It brings the launch's `env`: in no file, no command line, and no environment but the program's.
    """
    processes.lift_memory_limit()
    env = json.loads(sys.stdin.read() or "{}")  # nothing where `ensure` was killed half-way: there is no record then
    state_dir.hold()
    orphans.watch_over(ProcessId.of(os.getpid()))
    # Orphans of the server become our children: the tree below us stays whole whatever they do.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        Supervisor(Path(sys.argv[1]), env).run()
    finally:  # a full disk or a fault of ours must not leave the server's children without a keeper
        terminate(lambda: descendants(os.getpid()), leader=None, grace_s=0)


if __name__ == "__main__":
    main()
