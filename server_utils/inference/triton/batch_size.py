"""How many rows a request holds: more of them while answers are quick. Executors; no Spark."""

from __future__ import annotations

_QUICK_S, _SLOW_S = 0.1, 1.0


class Pace:
    """Rows of a request: twice as many as long as answers take less than 0.1 s, half as many after more than a second.

    A request costs Triton and its client some 5 ms of processor time, however few rows it holds. Models that are quick
    should not pay it more often than they must; those that are slow should not have so many rows wait in line that
    the last of them miss their deadline.

    Attributes:
        rows: of the next request, at most.
    """

    def __init__(self, least: int, most: int) -> None:
        """Begin with `least`, which is where it returns to at the slowest; `most` is never exceeded."""
        self._least, self._most = least, most
        self.rows = least

    def answered(self, rows: int, seconds: float) -> None:
        """A request of so many rows took so long. One that was much smaller than it might have been is no sign."""
        if seconds > _SLOW_S:
            self.rows = max(self.rows // 2, self._least)
        elif seconds < _QUICK_S and 2 * rows > self.rows:
            self.rows = min(2 * self.rows, self._most)
