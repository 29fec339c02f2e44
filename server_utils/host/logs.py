"""Logs of servers: read their tail, truncate them, and find the reason of a failure. No Spark."""

from __future__ import annotations

import os
import re
from pathlib import Path

_KEEP_BYTES = 1 << 20
_READ_BYTES = 100_000
_CAUSE_IS_ABOVE = "root cause above"  # the end of the log of a vLLM whose engine did not start
_ERROR = re.compile(r"\b\w*(Error|Exception): ")
_AT_EXIT = ("Exception ignored in atexit callback", "Error in atexit._run_exitfuncs")
_LINE = 600  # characters of one line that are quoted


def tail(path: Path, *, lines: int = 20, since: int = 0) -> str:
    """The last lines of a log, of what was written after byte `since`; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            since = since if since <= size else 0  # the log was truncated meanwhile
            file.seek(max(since, size - _READ_BYTES, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    logged = _without_exit_errors(text.strip().splitlines())
    last = logged[-lines:]
    if any(_CAUSE_IS_ABOVE in line for line in last):
        last = [line for line in logged[:-lines] if _ERROR.search(line)][-1:] + last
    return "\n".join(map(_shortened, last))


def _without_exit_errors(lines: list[str]) -> list[str]:
    """Without the failures of atexit functions, which follow when a process could not start."""
    for at, line in enumerate(lines):
        if at and line.startswith(_AT_EXIT) and not any(map(_starts_traceback, lines[at - 1 :], lines[at:])):
            return lines[:at]
    return lines


def _starts_traceback(before: str, line: str) -> bool:
    """Whether a line starts a traceback that is not an atexit function's, nor chained to another."""
    return line.startswith("Traceback (most") and bool(before) and not before.startswith(_AT_EXIT)


def _shortened(line: str) -> str:
    """Both ends of a long line: vLLM writes what is wrong before a list of hundreds of valid values."""
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} … {line[-_LINE // 4 :]}"


def reason(output: str) -> str:
    """The lines that say why a command failed (uv, pip, our own), else its last line; "" for no output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith(("error:", "cause:", "ERROR:"))]
    # Our command's own error refers to uv's, which stands above it.
    own = [line for line in reasons if "its reason is above" not in line]
    return "; ".join(own or reasons or lines[-1:])


def truncate(path: Path, *, limit: int = 64 << 20) -> None:
    """Keep only the end of a log that is over the limit, so that a server's log does not fill the disk.

    The server has the file open in append mode, so it is truncated in place; a line written meanwhile may be lost.
    """
    if not path.exists() or path.stat().st_size <= limit:  # a cleaner of /tmp may have removed it
        return
    with path.open("r+b") as file:
        file.seek(-_KEEP_BYTES, os.SEEK_END)
        kept = file.read()
        file.seek(0)
        file.truncate()
        file.write(b"[earlier lines were cut]\n" + kept)
