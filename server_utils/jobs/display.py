"""Where progress is shown: a terminal, a notebook, or the log. Driver; no Spark."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Callable
from typing import Any, Protocol, TextIO

from server_utils.jobs.progress import Progress, line, table

logger = logging.getLogger(__name__)

_SCREEN_S, _LOG_S = 1.0, 30.0


class Screen(Protocol):
    """Where progress is shown. every_s: how often, in seconds."""

    every_s: float

    def show(self, progress: Progress, each: dict[str, Progress]) -> None:
        """Show it in the place of what was shown before. each: by server."""

    def end(self) -> None:
        """Leave what is shown as it is."""


def screen() -> Screen:
    """A notebook's output where there is a kernel, a terminal where stderr is one, else the log."""
    display = _notebook()
    if display is not None:
        return Notebook(display)
    return Terminal(sys.stderr) if sys.stderr is not None and sys.stderr.isatty() else Log()


def _notebook() -> Callable[[str], Any] | None:
    """What displays HTML in the notebook that this runs in, and returns a handle to replace it; else None."""
    if "IPython" not in sys.modules:  # a kernel has imported it
        return None
    import IPython
    from IPython.display import HTML, display

    shell = IPython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    handle = display(HTML(""), display_id=True)
    return lambda text: handle.update(HTML(text))


class Notebook:
    """A table that is replaced by the next one."""

    every_s = _SCREEN_S

    def __init__(self, display: Callable[[str], Any]) -> None:
        """display: takes the HTML that is to stand there."""
        self._display = display

    def show(self, progress: Progress, each: dict[str, Progress]) -> None:
        """See `Screen`."""
        self._display(table(progress, each))

    def end(self) -> None:
        """See `Screen`."""


class Terminal:
    """One line, written over again and again."""

    every_s = _SCREEN_S

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._shown = stream, False

    def show(self, progress: Progress, _each: dict[str, Progress]) -> None:
        """See `Screen`."""
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap
        self._stream.write(f"\r{line(progress)[:width]}\x1b[K")
        self._stream.flush()
        self._shown = True

    def end(self) -> None:
        """See `Screen`."""
        if self._shown:
            self._stream.write("\n")
            self._stream.flush()


class Log:
    """A line of the log each time."""

    every_s = _LOG_S

    def show(self, progress: Progress, _each: dict[str, Progress]) -> None:
        """See `Screen`."""
        logger.info("%s", line(progress))

    def end(self) -> None:
        """See `Screen`."""
