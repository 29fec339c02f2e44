"""The process that owns one server: starts it, checks it, restarts it, and ends it with its executor. No Spark.

Run as `python -m server_utils.servers.supervisor FOLDER` by `lifecycle.ensure`, in a session of its own. Spark ends the
Python worker that starts it after an idle minute, so it watches the owner instead: the executor's JVM.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from server_utils.errors import SidecarError
from server_utils.host import logs, platform, processes
from server_utils.host.processes import ProcessId, descendants, terminate
from server_utils.servers import log_delivery, model_download, orphans, state_dir
from server_utils.servers.engine_process import EngineProcess, resolve
from server_utils.servers.events import Events, ExitReason
from server_utils.servers.launch import State
from server_utils.servers.ports import Lease

_STARTING_PAUSE_S, _READY_PAUSE_S = 0.03, 1.0
_MAX_REFUSALS = 3  # health checks in a row that nobody listened to: the server is gone though its leader lives
_RESTART_WINDOW_S = 600.0  # a restart counts against the limit for as long
_BACKOFF_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_ORPHAN_GRACE_S = 1.0  # without an executor nobody waits for answers
_MAX_FIRST_STARTS = 3  # where the server is not to blame


class Decision(Enum):
    """What follows the end of a server's process."""

    RETRY = "try the first start again"
    RESTART = "restart it after a pause"
    STOP = "nobody wants the server any more"
    FAIL = "give up"

    @property
    def final(self) -> bool:
        """Whether no other process follows."""
        return self in (Decision.STOP, Decision.FAIL)


class Supervisor:
    """Runs one server until it stops or fails. The record on disk holds its state."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        """Take over a folder that `lifecycle.ensure` laid out. env: the launch's, which is not on disk.

        Raises ProcessLookupError when the owner is gone, SystemExit when the folder is another supervisor's.
        """
        record = state_dir.read(folder)
        if record is None or record.supervisor != ProcessId.of(os.getpid()):  # `ensure` was killed half-way
            raise SystemExit(f"{folder} holds no record of this supervisor: they are started by lifecycle.ensure")
        self.folder, self.server = folder, record
        self.launch = dataclasses.replace(state_dir.read_launch(folder), env=env)
        self.events = Events(record.owner)
        preferred = record.ports or self.launch.preferred_ports
        self.lease = Lease(self.launch.ports, preferred=preferred)
        self.restarts: list[float] = []
        self.first_starts = 1
        self.was_ready = False
        self.deadline = time.monotonic() + self.launch.start_timeout_s

    def run(self) -> None:
        """Download the model, then run one process after the other, until a decision is final."""
        try:
            model = model_download.fetch(self.launch.model, self.folder, self.events, self.launch.start_timeout_s)
        except model_download.ModelDownloadError as error:
            reason = f"{error}{processes.memory_limit_hint()}"
            self._record(state=error.state, reason=reason, log_tail=error.log_tail)
            return
        while not self._run_once(model).final:
            pass

    def _run_once(self, model: str) -> Decision:
        """Run the server's process until it has ended. Returns what follows; the record says the same."""
        try:
            engine = EngineProcess(self.launch, resolve(self.launch, self.folder, self.lease.ports, model))
        except (SidecarError, OSError) as error:
            return self._fail(str(error), self.server.log_tail)
        self._record(process=engine.process, ports=self.lease.ports, started_at=time.time())
        watched = self.events.watch_server(engine.process.pid)
        exit_reason = self._monitor(engine)
        self.events.forget(watched)
        log_tail = engine.log_tail()  # before it is ended: what a server logs meanwhile is not the reason
        status = engine.end(self._grace_s(exit_reason))
        return self._carry_out(self._decide(exit_reason, status), self._reason(exit_reason, status), log_tail)

    def _monitor(self, engine: EngineProcess) -> ExitReason:
        """Check the health of a process until it has to end; mark the server ready on the way."""
        ready, refusals, last_healthy = False, 0, engine.started
        # The first start shares its time with the download of the model; a restart has all of it.
        deadline = engine.started + self.launch.start_timeout_s if self.was_ready else self.deadline
        while True:
            if happened := self.events.wait(_READY_PAUSE_S if ready else _STARTING_PAUSE_S):
                return happened
            now = time.monotonic()
            if engine.healthy():
                last_healthy, refusals = now, 0
                ready = ready or self._mark_ready(engine)
            elif not ready and now > deadline:
                return ExitReason.START_TIMEOUT
            elif ready:
                refusals = 0 if engine.listening() else refusals + 1
                if refusals >= _MAX_REFUSALS:
                    return ExitReason.NOT_LISTENING
                if now - last_healthy > self.launch.hang_timeout_s:
                    return ExitReason.HUNG
            engine.reap()
            logs.truncate(self.folder / "server.log")

    def _mark_ready(self, engine: EngineProcess) -> bool:
        self.was_ready = True
        took = round(time.monotonic() - engine.started, 3)
        self._record(state=State.READY, ready_s=took, models=engine.models())
        return True

    def _grace_s(self, exit_reason: ExitReason) -> float:
        graces = {ExitReason.STOP_REQUESTED: self.launch.stop_grace_s, ExitReason.OWNER_GONE: _ORPHAN_GRACE_S}
        return graces.get(exit_reason, 0.0)

    def _decide(self, exit_reason: ExitReason, status: int | None) -> Decision:
        """What follows the end of a process; changes nothing."""
        if exit_reason.is_unwanted:
            return Decision.STOP
        if self.was_ready:
            return Decision.RESTART if len(self._recent_restarts()) < self.launch.max_restarts else Decision.FAIL
        # The program requests another start, or another process took a port before the server did.
        not_to_blame = status == os.EX_TEMPFAIL or not self.lease.all_free()
        return Decision.RETRY if not_to_blame and self.first_starts < _MAX_FIRST_STARTS else Decision.FAIL

    def _carry_out(self, decision: Decision, reason: str, log_tail: str) -> Decision:
        if decision is Decision.RETRY:
            self.first_starts += 1
            self._replace_lost_ports()
        elif decision is Decision.RESTART:
            return self._pause_before_restart(reason, log_tail)
        elif decision is Decision.STOP:
            self._record(state=State.STOPPED, reason=reason, process=None)
        elif self.was_ready:
            return self._fail(
                f"{reason}; restarted {len(self._recent_restarts())} times in ten minutes already", log_tail
            )
        else:
            return self._fail(reason, log_tail)
        return decision

    def _recent_restarts(self) -> list[float]:
        now = time.monotonic()
        return [when for when in self.restarts if now - when < _RESTART_WINDOW_S]

    def _pause_before_restart(self, reason: str, log_tail: str) -> Decision:
        """Wait, the longer the more restarts there were. Returns STOP when nobody wants the server meanwhile."""
        self.restarts = self._recent_restarts()
        pause = _BACKOFF_S[min(len(self.restarts), len(_BACKOFF_S) - 1)]
        self.restarts.append(time.monotonic())
        restarts = self.server.restarts + 1
        self._record(state=State.RESTARTING, reason=reason, log_tail=log_tail, restarts=restarts, process=None)
        self._replace_lost_ports()
        if happened := self.events.wait(pause):
            self._record(state=State.STOPPED, reason=happened.value)
            return Decision.STOP
        return Decision.RESTART

    def _replace_lost_ports(self) -> None:
        """Lease other ports where another process listens on one of ours."""
        if not self.lease.all_free():
            self.lease.release()
            self.lease = Lease(self.launch.ports)

    def _fail(self, reason: str, log_tail: str) -> Decision:
        self._record(
            state=State.FAILED, reason=f"{reason}{processes.memory_limit_hint()}", log_tail=log_tail, process=None
        )
        return Decision.FAIL

    def _reason(self, exit_reason: ExitReason, status: int | None) -> str:
        if exit_reason is ExitReason.START_TIMEOUT:
            return f"was not ready within {self.launch.start_timeout_s:g} s"
        if exit_reason is ExitReason.HUNG:
            return f"stopped answering health checks (limit: {self.launch.hang_timeout_s:g} s)"
        if exit_reason is not ExitReason.EXITED or status is None:
            return str(exit_reason.value)
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

    Standard input holds the launch's `env`, which may be secret: it is in no file, no command line, and in no
    environment but the program's.
    """
    processes.lift_memory_limit()
    env = json.loads(sys.stdin.read() or "{}")  # nothing where `ensure` was killed half-way: there is no record then
    state_dir.lock_root()
    orphans.start_watchdog(ProcessId.of(os.getpid()))
    orphans.adopt_orphans()
    try:
        with log_delivery.delivered(Path(sys.argv[1]), env):
            Supervisor(Path(sys.argv[1]), env).run()
    finally:  # a full disk or a fault of ours must not leave the server's children without a supervisor
        terminate(lambda: descendants(os.getpid()), leader=None, grace_s=0)


if __name__ == "__main__":
    main()
