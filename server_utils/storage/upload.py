"""List the files of a local folder, and send them to a store. Driver and laptop.

The list says what cannot be saved, and reads no contents. Files and parts go side by side, each hashed as it is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import ConfigurationError, StorageError
from server_utils.storage.manifest import PART, Entry, PartHashes, bad_name
from server_utils.storage.stores.base import CHUNK, Parts, Store, retry
from server_utils.storage.transfer import Meter, in_parallel

_MIB = 1 << 20
_MOST_PARTS = 9_000  # S3 takes 10,000 parts of an object


def send(
    store: Store,
    folder: str,
    files: Sequence[LocalFile],
    part_size: int,
    meter: Meter,
    *,
    sent: Collection[str],
    threads: int,
) -> dict[str, Entry]:
    """Upload files into a folder of a store. Returns what they are, by name.

    sent: names of files that are in the store already; they are only hashed.
    Raises what `retry` does; then no object is there half.
    """
    uploading = _Upload(store, folder, part_size, meter)
    try:
        jobs = [job for each in files for job in uploading.jobs(each, is_sent=each.name in sent)]
        in_parallel(jobs, threads=threads, stop=uploading.stop)
    except OSError as error:
        raise StorageError(f"{error.filename or 'a file'} cannot be read: {error.strerror}") from error
    finally:
        uploading.clean()
    return {each.name: uploading.entry(each) for each in files}


class _Upload:
    """One upload of a folder. hashes: of the parts of each file, filled in as they are read."""

    def __init__(self, store: Store, folder: str, part_size: int, meter: Meter) -> None:
        self._store, self._folder, self._part_size, self._meter = store, folder, part_size, meter
        self.stop, self.hashes = threading.Event(), dict[str, list[tuple[str, str]]]()
        self._in_parts: list[_FileInParts] = []

    def entry(self, each: LocalFile) -> Entry:
        """What a file is, once it was read."""
        hashes = self.hashes[each.name]
        return Entry(each.name, each.size, tuple(sha256 for sha256, _ in hashes), tuple(crc32c for _, crc32c in hashes))

    def jobs(self, each: LocalFile, *, is_sent: bool) -> list[Callable[[], None]]:
        """What is to be done for one file: a job for each part where the store takes parts, else one."""
        key, starts = f"{self._folder}/{each.name}", range(0, each.size, self._part_size)
        self.hashes[each.name] = [("", "")] * len(starts)
        if not is_sent and (parts := self._store.parts(key, len(starts))):
            self._in_parts.append(in_parts := _FileInParts(parts, left=len(starts)))
            return [self._part(each, in_parts, number) for number in range(len(starts))]
        return [lambda: self._whole(each, key, is_sent=is_sent)]

    def _whole(self, each: LocalFile, key: str, *, is_sent: bool) -> None:
        with each.path.open("rb", buffering=0) as file:
            for number in range(len(self.hashes[each.name])):
                left, hashes = min(self._part_size, each.size - number * self._part_size), PartHashes()
                while left and (chunk := file.read(min(CHUNK, left))):
                    hashes.update(chunk)
                    left -= len(chunk)
                self.hashes[each.name][number] = hashes.hexdigests()
        if not is_sent:
            retry(lambda: self._store.upload(key, each.path), what=f"sending {each.name}", stop=self.stop)
        self._meter.add(each.size)

    def _part(self, each: LocalFile, in_parts: _FileInParts, number: int) -> Callable[[], None]:
        def job() -> None:
            content = _bytes(each, number * self._part_size, self._part_size)
            hashes = PartHashes()
            hashes.update(content)
            self.hashes[each.name][number] = hashes.hexdigests()
            what = f"sending {each.name}, part {number + 1} of {len(self.hashes[each.name])}"
            retry(lambda: in_parts.parts.put(number, content), what=what, stop=self.stop)
            self._meter.add(len(content))
            if in_parts.last():
                retry(in_parts.parts.finish, what=f"finishing {each.name}", stop=self.stop)
                in_parts.finished = True

        return job

    def clean(self) -> None:
        """Remove the parts of files that were not finished."""
        for in_parts in self._in_parts:
            if not in_parts.finished:
                in_parts.parts.abort()


class _FileInParts:
    """A file that is sent in parts, and how many are left."""

    def __init__(self, parts: Parts, left: int) -> None:
        self.parts, self.finished = parts, False
        self._left, self._lock = left, threading.Lock()

    def last(self) -> bool:
        """Count one part as sent. Returns whether it was the last one."""
        with self._lock:
            self._left -= 1
            return self._left == 0


def _bytes(each: LocalFile, start: int, size: int) -> bytes:
    descriptor = os.open(each.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, start)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class LocalFile:
    """A file to be saved: its name in the model, where it is, and what changes with its content.

    identity: the inode, and when it was changed last by the kernel's account, which no archive can set.
    """

    name: str
    path: Path
    size: int
    changed_ns: int
    identity: str


def list_files(source: Path) -> list[LocalFile]:
    """All files of a folder, hidden ones included, or the one file. Links within the folder count as what they lead to.

    Raises ConfigurationError for what cannot be saved: nothing there, a link out of the folder, a pipe, a bad name.
    """
    if source.is_file():
        return [_local_file(source, source.name, source.resolve().parent)]
    if not source.is_dir():
        raise ConfigurationError(f"there is no folder {str(source)!r} to save; save_model takes a folder or a file")
    top = source.resolve()
    names = sorted(os.path.relpath(Path(parent, name), source) for parent, folders, files in os.walk(source)
                   for name in (*files, *(each for each in folders if Path(parent, each).is_symlink())))  # fmt: skip
    if not names:
        raise ConfigurationError(f"the folder {str(source)!r} has no files; there is nothing to save")
    return [_local_file(source / name, name, top) for name in names]


def part_size(files: Sequence[LocalFile]) -> int:
    """Bytes of a part: 16 MiB, or more where a file would have too many of them."""
    largest = max(each.size for each in files)
    return max(PART, -(-largest // _MOST_PARTS // _MIB) * _MIB)


def fingerprint(files: Sequence[LocalFile]) -> str:
    """Tells this state of these very files from any other without reading them: 12 hexadecimal digits."""
    state = "".join(f"{each.name}\0{each.size} {each.changed_ns} {each.identity}\0" for each in files)
    return hashlib.sha256(state.encode()).hexdigest()[:12]


def check_unchanged(files: Sequence[LocalFile]) -> None:
    """Raises StorageError when a file is not the one that was looked at any more."""
    for each in files:
        now = each.path.stat() if each.path.exists() else None
        if now is None or (now.st_size, now.st_mtime_ns) != (each.size, each.changed_ns):
            raise StorageError(f"{each.path} was changed while it was being saved; save it again when it is finished")


def _local_file(path: Path, name: str, top: Path) -> LocalFile:
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
    return LocalFile(name, real, status.st_size, status.st_mtime_ns, f"{status.st_ino} {status.st_ctime_ns}")
