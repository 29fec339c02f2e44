"""How many rows a request holds: more of them while answers are quick. Executors; no Spark."""

from __future__ import annotations

from dataclasses import dataclass

_QUICK_S = 0.1


@dataclass
class Pace:
    """Rows of a request: `rows` to begin with, and twice as many while answers take less than a tenth of a second.

    A request costs Triton and its client some 5 ms of processor time, however few rows it holds. Models that are quick
    should not pay it more often than they must; those that are slow should not have so many rows wait in line that
    the last of them miss their deadline.

    Attributes:
        rows: of the next request, at most.
        most: which they never exceed.
    """

    rows: int
    most: int

    def answered(self, rows: int, seconds: float) -> None:
        """A request of so many rows took so long. One that was much smaller than it might have been says nothing."""
        if seconds < _QUICK_S and 2 * rows > self.rows:
            self.rows = min(2 * self.rows, self.most)
