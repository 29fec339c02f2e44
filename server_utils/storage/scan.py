"""What a local folder holds, or why it cannot be saved. Driver and laptop; reads no contents."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import ConfigurationError, StorageError
from server_utils.storage.manifest import PART, bad_name

_MIB = 1 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000 parts of an object


@dataclass(frozen=True)
class Found:
    """A file to be saved: its name in the model, where it is, and by what one sees that it has changed.

    identity: the inode, and when it was changed last by the kernel's account, which no archive can set.
    """

    name: str
    path: Path
    size: int
    changed_ns: int
    identity: str


def look(source: Path) -> list[Found]:
    """All files of a folder, hidden ones included, or the one file. Links within the folder count as what they lead to.

    Raises ConfigurationError for what cannot be saved: nothing there, a link out of the folder, a pipe, a bad name.
    """
    if source.is_file():
        return [_found(source, source.name, source.resolve().parent)]
    if not source.is_dir():
        raise ConfigurationError(f"there is no folder {str(source)!r} to save; save_model takes a folder or a file")
    top = source.resolve()
    names = sorted(os.path.relpath(Path(parent, name), source) for parent, folders, files in os.walk(source)
                   for name in (*files, *(each for each in folders if Path(parent, each).is_symlink())))  # fmt: skip
    if not names:
        raise ConfigurationError(f"the folder {str(source)!r} has no files; there is nothing to save")
    return [_found(source / name, name, top) for name in names]


def part_size(found: Sequence[Found]) -> int:
    """Bytes of a part: 16 MiB, or more where a file would have too many of them."""
    largest = max(each.size for each in found)
    return max(PART, -(-largest // _MOST_PARTS // _MIB) * _MIB)


def fingerprint(found: Sequence[Found]) -> str:
    """Tells this state of these very files from any other without reading them: 12 hexadecimal digits."""
    said = "".join(f"{each.name}\0{each.size} {each.changed_ns} {each.identity}\0" for each in found)
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def check_unchanged(found: Sequence[Found]) -> None:
    """Raises StorageError when a file is not the one that was looked at any more."""
    for each in found:
        now = each.path.stat() if each.path.exists() else None
        if now is None or (now.st_size, now.st_mtime_ns) != (each.size, each.changed_ns):
            raise StorageError(f"{each.path} was changed while it was being saved; save it again when it is finished")


def _found(path: Path, name: str, top: Path) -> Found:
    real = path.resolve()
    if wrong := bad_name(name):
        raise ConfigurationError(f"a file cannot be saved: {wrong}; rename it")
    if not real.is_relative_to(top):
        raise ConfigurationError(
            f"{str(path)!r} is a link out of the folder, to {str(real)!r}; copy the folder with what its links lead to "
            "(cp -rL), and save the copy"
        )
    try:
        status = real.stat()
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be saved: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{str(path)!r} is no file (it is {stat.filemode(status.st_mode)}); remove it")
    return Found(name, real, status.st_size, status.st_mtime_ns, f"{status.st_ino} {status.st_ctime_ns}")
