"""Time of a test that waits: each pause ends when the server has done what nobody holds."""

from __future__ import annotations

from server_utils.host.deadline import Clock


class Pace:
    """A clock that pauses move. at: number of a pause -> what to do in it."""

    def __init__(self, server):
        self._server, self._now, self.at, self._pauses = server, 0.0, {}, 0

    def clock(self):
        return Clock(now=lambda: self._now, pause=self._pause)

    def _pause(self, seconds):
        self._now += seconds
        self._pauses += 1
        self.at.pop(self._pauses, lambda: None)()
        self._server.operations.settle()
