"""Deadlines: when a wait ends. Driver, executors and laptop.

A deadline is made once, and passed on. Each step reads from it how long the wait has lasted, and whether it is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """The time and the pauses of a wait.

    Attributes:
        now: returns seconds of a clock that never goes back.
        pause: waits for some seconds. A test moves its own clock in place of a wait.
    """

    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep


@dataclass(frozen=True)
class Deadline:
    """The end of one wait: `limit_s` seconds after `began`, a time of `clock`."""

    clock: Clock
    limit_s: float
    began: float

    @classmethod
    def after(cls, clock: Clock, limit_s: float) -> Deadline:
        """Return a deadline that begins now."""
        return cls(clock, limit_s, clock.now())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the deadline began."""
        return self.clock.now() - self.began

    @property
    def is_over(self) -> bool:
        """Whether the wait has lasted as long as it may."""
        return self.elapsed_s >= self.limit_s
