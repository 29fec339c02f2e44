"""Downloads the files of a model: files and parts in parallel, each part verified by its hash. Driver and executors.

What a killed download has left is used again, part by part, where its hash is right.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from server_utils.errors import ModelCorruptError, StorageError
from server_utils.host.files import file_size
from server_utils.storage.manifest import Entry, Hash, Manifest, Part
from server_utils.storage.stores.base import CHUNK, DamagedError, Store, retry
from server_utils.storage.transfer import Meter, in_parallel


def fetch(store: Store, manifest: Manifest, folder: Path, meter: Meter, *, threads: int) -> None:
    """Have every file of a manifest in a local folder, whole and verified.

    Raises:
        ObjectNotFoundError: the store lacks a file of the manifest.
        ModelCorruptError: a part hashes wrong each time.
        StorageError: all retries failed, or the disk is full.
    """
    for parent in {(folder / entry.name).parent for entry in manifest.files}:
        parent.mkdir(parents=True, exist_ok=True)
    download = _Download(store, manifest, folder, meter)
    jobs = [job for entry in manifest.files for job in download.jobs(entry)]
    try:
        in_parallel(jobs, threads=threads, stop=download.stop)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageError(
            f"no space left in {folder} for {store.url} ({file_size(manifest.size)}); make room, or set "
            "SPARK_SIDECAR_CACHE to a folder on a larger disk"
        ) from error


def damaged(store: Store, manifest: Manifest, entry: Entry) -> bool:
    """Whether a file in a store, not an empty one, is not what was saved. Reads all of it; keeps nothing.

    Raises ObjectNotFoundError when it is missing.
    """

    def check() -> None:
        _read(store, manifest.key(entry), manifest.parts(entry), lambda _offset, _piece: None, thorough=True)

    try:
        retry(check, what=f"reading {entry.name}")
    except ModelCorruptError:
        return True
    return False


class _Download:
    """One download of a folder."""

    def __init__(self, store: Store, manifest: Manifest, folder: Path, meter: Meter) -> None:
        self._store, self._manifest, self._folder, self._meter = store, manifest, folder, meter
        self.stop = threading.Event()

    def jobs(self, entry: Entry) -> list[Callable[[], None]]:
        """A job for each part; one for all of them where the store cannot begin in the middle."""
        parts = self._manifest.parts(entry)
        groups = [[part] for part in parts] if self._store.ranged and parts else [parts]
        resumed = os.path.lexists(self._folder / entry.name)
        return [self._job(entry, group, resumed=resumed) for group in groups]

    def _job(self, entry: Entry, parts: list[Part], *, resumed: bool) -> Callable[[], None]:
        def job() -> None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._folder / entry.name, flags, 0o600)
            try:
                if os.fstat(descriptor).st_size > entry.size:  # not ours: cut to size, and hashed like what we left
                    os.ftruncate(descriptor, entry.size)
                if not (resumed and all(_is_on_disk(descriptor, part) for part in parts)):
                    what = f"fetching {self._store.url}: {entry.name}"
                    retry(lambda: self._fetch(entry, parts, descriptor), what=what, stop=self.stop)
                self._meter.add(sum(part.size for part in parts))
            finally:
                os.close(descriptor)

        return job

    def _fetch(self, entry: Entry, parts: list[Part], descriptor: int) -> None:
        if parts:
            key = self._manifest.key(entry)
            _read(self._store, key, parts, lambda offset, piece: _write(descriptor, piece, offset), thorough=False)


def _read(
    store: Store, key: str, parts: Sequence[Part], write: Callable[[int, bytes], None], *, thorough: bool
) -> None:
    """Fetch consecutive parts of a file, write each piece at its offset in the file, and verify each part.

    Raises DamagedError when they are not what was saved, and whatever the store raises.
    """
    splitter, verifier = Splitter(parts), Verifier(thorough=thorough)

    def take(chunk: bytes) -> None:
        for part, offset, piece in splitter.split(chunk):
            write(offset, piece)
            verifier.update(part, offset, piece)

    store.fetch(key, parts[0].start, splitter.size, take)
    if splitter.taken != splitter.size:
        raise DamagedError(f"{splitter.taken} bytes arrived instead of {splitter.size}")


class Splitter:
    """Cuts a stream of bytes where the parts of a file end.

    Attributes:
        size: bytes of all parts.
        taken: bytes that have come so far.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        """parts: consecutive ones, none of them empty."""
        self._start, self._coming = parts[0].start, list(reversed(parts))
        self.size, self.taken = sum(part.size for part in parts), 0

    def split(self, chunk: bytes) -> Iterator[tuple[Part, int, bytes]]:
        """The next bytes, in pieces of one part each: the part, the piece's offset in the file, and the piece.

        Raises DamagedError when there are more bytes than the parts have.
        """
        while chunk:
            if not self._coming:
                raise DamagedError(f"more than {self.size} bytes arrived")
            part, offset = self._coming[-1], self._start + self.taken
            piece, chunk = chunk[: part.end - offset], chunk[part.end - offset :]
            self.taken += len(piece)
            if offset + len(piece) == part.end:
                self._coming.pop()
            yield part, offset, piece


class Verifier:
    """Hashes the pieces of parts, and compares each part with what was saved as soon as it is complete."""

    _hash: Hash
    _wanted: bytes

    def __init__(self, *, thorough: bool) -> None:
        """thorough: by SHA-256, however long that takes."""
        self._thorough = thorough

    def update(self, part: Part, offset: int, piece: bytes) -> None:
        """Take the next piece. Raises DamagedError when it completes a part whose hash is wrong."""
        if offset == part.start:
            self._hash, self._wanted = part.check(thorough=self._thorough)
        self._hash.update(piece)
        if offset + len(piece) == part.end and self._hash.digest() != self._wanted:
            raise DamagedError(f"the bytes from {part.start} on do not hash to what those saved did")


def _is_on_disk(descriptor: int, part: Part) -> bool:
    """Whether an earlier download has left this part whole."""
    if os.fstat(descriptor).st_size < part.end:
        return False
    actual, wanted = part.check(thorough=False)
    for start in range(part.start, part.end, CHUNK):
        actual.update(os.pread(descriptor, min(CHUNK, part.end - start), start))
    return actual.digest() == wanted


def _write(descriptor: int, piece: bytes, offset: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
