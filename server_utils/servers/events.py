"""What a supervisor waits for, without polling: the end of its owner or its server, and the signal to stop."""

from __future__ import annotations

import os
import select
import signal
from enum import Enum

from server_utils.host.processes import ProcessId


class ExitReason(Enum):
    """Why one run of a server is over; of several that happen at once the first in this list counts."""

    STOP_REQUESTED = "told to stop"
    OWNER_GONE = "its executor is gone"
    EXITED = "exited"
    START_TIMEOUT = "was not ready in time"
    HUNG = "stopped answering"
    NOT_LISTENING = "nobody listens on its port any more"

    @property
    def is_unwanted(self) -> bool:
        """Whether nobody wants the server any more."""
        return self in (ExitReason.STOP_REQUESTED, ExitReason.OWNER_GONE)


class Events:
    """Waits on pidfds (Linux 5.3) of the owner and the server, and on SIGTERM to this process."""

    def __init__(self, owner: ProcessId) -> None:
        """Watch an owner; ProcessLookupError when it is gone already."""
        self._reasons: dict[int, ExitReason] = {}  # by file descriptor
        self._poll = select.poll()
        if owner.alive():  # else its number may be a thread's by now, which pidfd_open refuses
            self._watch(os.pidfd_open(owner.pid), ExitReason.OWNER_GONE)
        if not owner.alive():
            raise ProcessLookupError(owner.pid)
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watch(read_end, ExitReason.STOP_REQUESTED)
        signal.set_wakeup_fd(write_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)

    def _watch(self, descriptor: int, reason: ExitReason) -> int:
        self._reasons[descriptor] = reason
        self._poll.register(descriptor, select.POLLIN)
        return descriptor

    def watch_server(self, pid: int) -> int:
        """Watch a server as well; hand the result to `forget` when it is over."""
        return self._watch(os.pidfd_open(pid), ExitReason.EXITED)

    def forget(self, watched: int) -> None:
        """Watch a server no longer."""
        self._poll.unregister(watched)
        del self._reasons[watched]
        os.close(watched)

    def wait(self, seconds: float) -> ExitReason | None:
        """What has happened by now or happens within the time; None when nothing does."""
        happened = {self._reasons[descriptor] for descriptor, _ in self._poll.poll(seconds * 1000)}
        return next((reason for reason in ExitReason if reason in happened), None)
