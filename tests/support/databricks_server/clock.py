"""The server's time. It moves by what the test says, or by a step with each request, and never by itself."""

from __future__ import annotations

from databricks.sdk.clock import Clock

_START = 1_790_000_000.0  # any moment will do; a fixed one gives the same ids and time stamps in each run


class ServerClock(Clock):
    """Give it to the SDK too (`Config(clock=…)`): then a pause of the client is time that passes at the server.

    tick_s: how far each request moves it, for clients that have a clock of their own.
    """

    def __init__(self, tick_s=0.0):
        self.now = _START
        self.tick_s = tick_s

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds

    advance = sleep

    def tick(self):
        self.now += self.tick_s

    def milliseconds(self):
        return int(self.now * 1000)
