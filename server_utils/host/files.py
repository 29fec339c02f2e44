"""File locks, file names for any text, sizes of files in words, and atomic writes. Driver and executors.

A lock belongs to an open file, so it works between processes, and ends with the process that has it.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)
_PAUSE_S = 0.05


def shared_lock(path: Path) -> int:
    """A descriptor that holds a shared lock on a file or a folder, until it is closed or this process ends."""
    return _wait(path, fcntl.LOCK_SH)


def try_exclusive_lock(path: Path) -> int | None:
    """A descriptor that holds the exclusive lock, as `shared_lock`; None while another process has a lock."""
    return _try(path, fcntl.LOCK_EX)


@contextmanager
def exclusive_lock(path: Path, *, timeout_s: float | None = None) -> Iterator[Path]:
    """Hold the exclusive lock; waits for all others. Raises TimeoutError when the time is over, None for no limit."""
    descriptor = _wait(path, fcntl.LOCK_EX, timeout_s)
    try:
        yield path
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock_if_free(path: Path) -> Iterator[bool]:
    """Hold the exclusive lock unless another process has a lock. Gives whether it is held."""
    descriptor = try_exclusive_lock(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _wait(path: Path, kind: int, timeout_s: float | None = None) -> int:
    if (descriptor := _try(path, kind)) is not None:
        return descriptor
    logger.info("waiting for another process that works on %s", path.name)
    if timeout_s is None:
        return _open_locked(path, kind)
    deadline = time.monotonic() + timeout_s
    while (descriptor := _try(path, kind)) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"another process has held {path} for {timeout_s:g} s")
        time.sleep(_PAUSE_S)
    return descriptor


def _try(path: Path, kind: int) -> int | None:
    try:
        return _open_locked(path, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def _open_locked(path: Path, kind: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind)
    except BaseException:  # an interrupt as well: an open lock would block every other process
        os.close(descriptor)
        raise
    return descriptor


def slug(text: str) -> str:
    """A file name for any text: its readable start and a digest, so that different texts have different names."""
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[:40].strip(".-") or "x"
    if readable == text:
        return text
    return f"{readable}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def file_size(count: int) -> str:
    """So many bytes, for people, as disks and stores count them: "64.0 MB", "14.2 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 10**9 else f"{count / 1e6:.1f} MB"


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """The path for a file on the same disk as another one; whatever is there when the block ends is removed."""
    beside = path.with_name(f".{uuid.uuid4().hex}")  # not longer than a name may be, whatever the other one's is
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """The path for a file that takes the place of `path` in one step when the block ends without an error.

    A reader sees the old content or the new, never half.
    """
    with temporary_beside(path) as beside:
        yield beside
        beside.replace(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as a `replacement`, private to the user."""
    with replacement(path) as beside:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
