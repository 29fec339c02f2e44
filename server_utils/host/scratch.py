"""The folder for servers' temporary files and the programs that they run from it. Executors; no Spark.

It is below the state root, unless no program can be run from there: /tmp is mounted `noexec` on hardened machines, and
pytriton runs a copy of Triton from its workspace, by a command line that it splits at white space.
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
    """The folders that may be used, best first, those of other settings included."""
    candidates = [platform.state_root(), *platform.temporary_roots()]
    with suppress(ConfigurationError):  # this user has no cache
        cache = platform.cache_root()
        candidates.append(cache.with_name(f"{cache.name}-scratch"))
    return list(dict.fromkeys(candidates))


def choose() -> Path:
    """The first folder that can be used; the state root where none can."""
    first, *others = roots()
    if not why_unusable(first) and len(str(first)) <= _LONGEST:
        return first
    fitting = (root for root in others if not why_unusable(root) and len(str(root)) <= _LONGEST)
    return next(filter(_is_usable, fitting), first)


def why_unusable(root: Path) -> str:
    """Why no program can be run from a folder; "" where one can."""
    if any(letter.isspace() for letter in str(root)):
        return "has white space in its path"
    if _flags(root) & _NOEXEC:
        return "is on a file system that runs no programs (it is mounted noexec)"
    return ""


def _flags(root: Path) -> int:
    return os.statvfs(_nearest_existing(root)).f_flag


def _nearest_existing(root: Path) -> Path:
    """The folder, or the nearest folder above it that exists."""
    return next(each for each in (root, *root.absolute().parents) if _exists(each))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # of a folder above it
        return False


def _is_usable(root: Path) -> bool:
    """Whether this user's folder exists or can be made; nothing is made here."""
    existing = _nearest_existing(root)
    return os.access(existing, os.W_OK | os.X_OK) and (existing != root or root.lstat().st_uid == os.getuid())
