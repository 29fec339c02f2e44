"""Where servers keep temporary files, and run programs from: a place that allows both. Executors; no Spark.

It is below the state root, unless nothing can be run from there: /tmp is mounted `noexec` on hardened machines, and
pytriton runs a copy of Triton from its workspace, by a command line that it cuts at white space.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from server_utils.errors import ConfigurationError
from server_utils.host import platform

# A socket's path may have 107 bytes: this leaves room for a workspace and the name of a model below the folder.
_LONGEST = 48
_NOEXEC = getattr(os, "ST_NOEXEC", 0)


def roots() -> list[Path]:
    """The places that may serve, best first; those of other settings too."""
    found = [platform.state_root(), *platform.temporary_roots()]
    with suppress(ConfigurationError):  # nobody has said where: then it is not there
        cache = platform.cache_root()
        found.append(cache.with_name(f"{cache.name}-scratch"))
    return list(dict.fromkeys(found))


def choose() -> Path:
    """The first place that serves; the state root where none does."""
    first, *others = roots()
    if not doubt(first) and len(str(first)) <= _LONGEST:
        return first
    fitting = (root for root in others if not doubt(root) and len(str(root)) <= _LONGEST)
    return next(filter(_is_usable, fitting), first)


def doubt(root: Path) -> str:
    """Why no program can be run from a place; "" where one can."""
    if any(letter.isspace() for letter in str(root)):
        return "has white space in its path"
    if _flags(root) & _NOEXEC:
        return "is on a file system that runs no programs (it is mounted noexec)"
    return ""


def _flags(root: Path) -> int:
    return os.statvfs(_there(root)).f_flag


def _there(root: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(each for each in (root, *root.absolute().parents) if _exists(each))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # of a folder above it
        return False


def _is_usable(root: Path) -> bool:
    """Whether this user's folder is there or can be made; nothing is made here."""
    there = _there(root)
    return os.access(there, os.W_OK | os.X_OK) and (there != root or root.lstat().st_uid == os.getuid())
