"""Logs: those of servers, appended to by the server and bounded by the supervisor; what errors quote. No Spark."""

from __future__ import annotations

import os
import re
from pathlib import Path

_KEEP_BYTES = 1 << 20
_LOOK_BYTES = 100_000
_ABOVE = "root cause above"  # the last words of a vLLM whose engine did not start
_ERROR = re.compile(r"\b\w*(Error|Exception): ")
_AT_EXIT = ("Exception ignored in atexit callback", "Error in atexit._run_exitfuncs")
_LINE = 600  # characters that are quoted of one line


def tail(path: Path, *, lines: int = 20, since: int = 0) -> str:
    """The last lines of a log, of what was written after byte `since`; empty when there is none."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            since = since if since <= size else 0  # the log was cut meanwhile
            file.seek(max(since, size - _LOOK_BYTES, 0))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    found = _without_afterwords(text.strip().splitlines())
    last = found[-lines:]
    if any(_ABOVE in line for line in last):
        last = [line for line in found[:-lines] if _ERROR.search(line)][-1:] + last
    return "\n".join(map(_shortened, last))


def _without_afterwords(lines: list[str]) -> list[str]:
    """Without the failures of atexit functions: a process that could not start has little for them to tidy up."""
    for at, line in enumerate(lines):
        if at and line.startswith(_AT_EXIT) and not any(map(_begins_anew, lines[at - 1 :], lines[at:])):
            return lines[:at]
    return lines


def _begins_anew(before: str, line: str) -> bool:
    """Whether a line begins a traceback that is not an atexit function's, nor chained to another."""
    return line.startswith("Traceback (most") and bool(before) and not before.startswith(_AT_EXIT)


def _shortened(line: str) -> str:
    """Both ends of a line: vLLM says what is wrong in front of a list of the hundreds of things that would be right."""
    return line if len(line) <= _LINE else f"{line[: _LINE // 2]} … {line[-_LINE // 4 :]}"


def reason(output: str) -> str:
    """The lines that say why a command failed (uv, pip, our own); else its last line; empty where it said nothing."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reasons = [line.removeprefix("error: ") for line in lines if line.startswith(("error:", "cause:", "ERROR:"))]
    # Our command's own error refers to uv's, which stands above it.
    own = [line for line in reasons if "its reason is above" not in line]
    return "; ".join(own or reasons or lines[-1:])


def bound(path: Path, *, limit: int = 64 << 20) -> None:
    """Cut a log to its end once it is over the limit: a server that talks all night must not fill the disk.

    The server holds the file open in append mode, so it is cut in place; a line written meanwhile may be lost.
    """
    if not path.exists() or path.stat().st_size <= limit:  # a cleaner of /tmp may have taken it
        return
    with path.open("r+b") as file:
        file.seek(-_KEEP_BYTES, os.SEEK_END)
        kept = file.read()
        file.seek(0)
        file.truncate()
        file.write(b"[earlier lines were cut]\n" + kept)
