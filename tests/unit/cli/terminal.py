"""A real pseudo-terminal of a given width, and what a command writes to it."""

from __future__ import annotations

import fcntl
import functools
import os
import pty
import re
import struct
import subprocess
import sys
import termios

RUN_APP = "from server_utils.cli.main import app; app(prog_name='spark-sidecar')"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What the person who runs the tests has set for terminals does not decide how they end.
_OWN = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PYTHONIOENCODING")


def environment(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in _OWN}
    return kept | {"TERM": "xterm-256color"} | variables


@functools.cache  # many tests look at the same few
def on_terminal(*arguments, width, code=RUN_APP, **variables):
    """Bytes that a program writes on a terminal, standard error included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**variables), start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        return b"".join(_blocks(ours))
    finally:
        os.close(ours)
        process.wait()


def _blocks(descriptor):
    while True:
        try:
            block = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the last writer is gone
            return
        if not block:
            return
        yield block


def screen(*arguments, width, code=RUN_APP, **variables):
    """The lines of a program on a terminal, as they are read: without colours."""
    text = on_terminal(*arguments, width=width, code=code, **variables).decode()
    return ESCAPE.sub("", text).replace("\r\n", "\n").splitlines()


@functools.cache
def in_a_pipe(*arguments, code=RUN_APP, **variables):
    """Bytes on standard output where it is a pipe."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, env=environment(**variables), check=False,
    ).stdout  # fmt: skip
