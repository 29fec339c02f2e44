"""File locks, file names for any text, and replacement in one step. Driver and executors.

A lock is held by a file, so it holds between processes, and ends with the process that has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


def shared(path: Path) -> int:
    """A descriptor that holds the lock beside others', until it is closed or this process ends."""
    return _lock(path, fcntl.LOCK_SH)


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """Hold the lock alone; waits for all others."""
    descriptor = _lock(path, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        os.close(descriptor)


@contextmanager
def alone_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock alone if nobody else holds it. Gives whether that is so."""
    try:
        descriptor = _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
        return
    try:
        yield True
    finally:
        os.close(descriptor)


def _lock(path: Path, kind: int) -> int:
    """An open file that holds the lock, until it is closed or this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if kind & fcntl.LOCK_NB:
                raise
            logger.info("waiting for another process that works on %s", path.name)
            fcntl.flock(descriptor, kind)
    except BaseException:  # an interrupt as well: an open lock would block every other process
        os.close(descriptor)
        raise
    return descriptor


def slug(text: str) -> str:
    """A file name for any text: readable start plus a digest, so that different texts never meet."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:40].strip(".-") or "x"
    if readable == text:
        return text
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, private to the user: a reader sees the old content or the new, never half."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    beside.replace(path)
