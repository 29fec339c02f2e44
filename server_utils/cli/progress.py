"""The progress of a deployment, on standard error: lines that stay, and one that is written over. Laptop."""

from __future__ import annotations

import os
import re
import sys

import typer

_TIME = re.compile(r"\d+ (s|min|h)\b")  # changes at every look


class Progress:
    """What `csp.cloud_session.Report` asks for. Standard output is for the result, and for what a run prints."""

    def __init__(self, *, output_to_stderr: bool) -> None:
        self._output_to_stderr = output_to_stderr  # where standard output is for JSON alone
        self._last = ""
        self._is_open = False  # whether the cursor stands behind a line that is to be written over

    def say(self, text: str) -> None:
        """A line that stays."""
        self.close()
        typer.echo(text, err=True)

    def wait(self, text: str) -> None:
        """The state of a wait: over the last one on a terminal; else only where more than the time has changed."""
        line = " ".join(text.split())
        if sys.stderr.isatty():
            # Back to the start of the line, and clear it: ECMA-48, which every terminal of today knows.
            typer.echo(f"\r\x1b[K{_fitting(line)}", nl=False, err=True)
            self._is_open = True
        elif (changed := _TIME.sub("", line)) != self._last:
            typer.echo(line, err=True)
            self._last = changed

    def output(self, text: str) -> None:
        """What a run printed."""
        if text:
            self.close()
            typer.echo(text, nl=False, err=self._output_to_stderr)

    def close(self) -> None:
        """Go to the next line where this one is to be written over: what follows is no progress."""
        if self._is_open:
            typer.echo("", err=True)
        self._is_open = False


def _fitting(line: str) -> str:
    """What fits on one line of the screen: of more lines, only the last one would be written over."""
    width = os.get_terminal_size(sys.stderr.fileno()).columns
    return line if len(line) < width else f"{line[: width - 2]}…"
