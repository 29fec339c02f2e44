"""The progress of a deployment, on standard error: lines that stay, and one that is written over. Laptop."""

from __future__ import annotations

import re
import sys

import typer

_TIME = re.compile(r"\d+ (s|min|h)\b")  # changes at every look


class Progress:
    """What `csp.session.Report` asks for. Standard output is for the result, and for what a run prints."""

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
        if sys.stderr.isatty():
            # Back to the start of the line, and clear it: ECMA-48, which every terminal of today knows.
            typer.echo(f"\r\x1b[K{text}", nl=False, err=True)
            self._is_open = True
        elif (changed := _TIME.sub("", text)) != self._last:
            typer.echo(text, err=True)
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
