"""What a local folder holds: names, sizes and hashes, or why it cannot be saved. Driver and laptop."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import ConfigurationError, StorageError
from server_utils.storage.manifest import PART, Entry, bad_name
from server_utils.storage.progress import Meter
from server_utils.storage.store import CHUNK
from server_utils.storage.threads import in_parallel

_MOST_PARTS = 9_000  # S3 takes 10,000 parts of an object


@dataclass(frozen=True)
class Found:
    """A file to be saved: its name in the model, where it is, and by what one sees that it has changed."""

    name: str
    path: Path
    size: int
    changed_ns: int


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
    """Bytes of a part: 32 MiB, or more where a file would have too many of them."""
    largest = max(each.size for each in found)
    return max(PART, -(-largest // _MOST_PARTS // CHUNK) * CHUNK)


def hashed(found: Sequence[Found], size: int, meter: Meter) -> tuple[Entry, ...]:
    """Read every file once, some side by side, and hash it. size: of a part, in bytes."""
    entries: dict[str, Entry] = {}

    def job(each: Found) -> Callable[[], None]:
        return lambda: entries.__setitem__(each.name, _entry(each, size, meter))

    in_parallel([job(each) for each in found], threads=os.cpu_count() or 1)
    return tuple(entries[each.name] for each in found)


def check_unchanged(found: Sequence[Found]) -> None:
    """Raises StorageError when a file is not the one that was hashed any more."""
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
    return Found(name, real, status.st_size, status.st_mtime_ns)


def _entry(each: Found, size: int, meter: Meter) -> Entry:
    whole, parts = hashlib.sha256(), list[str]()
    try:
        with each.path.open("rb", buffering=0) as file:
            for start in range(0, each.size, size):
                parts.append(_hash_part(file.read, min(size, each.size - start), whole, meter))
    except OSError as error:
        raise StorageError(f"{each.path} cannot be read: {error.strerror}") from error
    return Entry(each.name, each.size, whole.hexdigest(), tuple(parts))


def _hash_part(read: Callable[[int], bytes], left: int, whole: hashlib._Hash, meter: Meter) -> str:
    part = hashlib.sha256()
    while left and (chunk := read(min(CHUNK, left))):
        part.update(chunk)
        whole.update(chunk)
        meter.add(len(chunk))
        left -= len(chunk)
    return part.hexdigest()
