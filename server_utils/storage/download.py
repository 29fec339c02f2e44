"""Fetches the files of a model: files and parts side by side, each part checked by its hash. Driver and executors.

What a killed download has left is taken over, part by part, as far as it hashes right.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

from server_utils.errors import ModelCorruptError, StorageError
from server_utils.storage.manifest import Entry, Manifest, Part
from server_utils.storage.stores.base import CHUNK, DamagedError, Store, patiently
from server_utils.storage.transfer import Meter, in_parallel


def fetch(store: Store, manifest: Manifest, folder: Path, meter: Meter, *, threads: int) -> None:
    """Have every file of a manifest in a local folder, whole and verified.

    Raises:
        NotThereError: the store lacks a file of the manifest.
        ModelCorruptError: a part hashes wrong each time.
        StorageError: patience has ended, or the disk is full.
    """
    for parent in {(folder / entry.name).parent for entry in manifest.files}:
        parent.mkdir(parents=True, exist_ok=True)
    fetching = _Fetching(store, manifest, folder, meter)
    jobs = [job for entry in manifest.files for job in fetching.jobs(entry)]
    try:
        in_parallel(jobs, threads=threads, stop=fetching.stop)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageError(
            f"no space left in {folder} for {store.url} ({manifest.size / 1e9:.2f} GB); make room, or set "
            "SPARK_SIDECAR_CACHE to a folder on a larger disk"
        ) from error


def damaged(store: Store, manifest: Manifest, entry: Entry) -> bool:
    """Whether a file in a store, not an empty one, is not what was saved. Reads all of it; keeps nothing.

    Raises NotThereError when it is missing.
    """

    def check() -> None:
        nowhere = _Checked(manifest.parts(entry), lambda _place, _chunk: None, thorough=True)
        nowhere.read(store, manifest.key(entry))

    try:
        patiently(check, what=f"reading {entry.name}")
    except ModelCorruptError:
        return True
    return False


class _Fetching:
    """One download of a folder."""

    def __init__(self, store: Store, manifest: Manifest, folder: Path, meter: Meter) -> None:
        self._store, self._manifest, self._folder, self._meter = store, manifest, folder, meter
        self.stop = threading.Event()

    def jobs(self, entry: Entry) -> list[Callable[[], None]]:
        """A job for each part; one for all of them where the store cannot begin in the middle."""
        pieces = self._manifest.parts(entry)
        groups = [[piece] for piece in pieces] if self._store.ranged and pieces else [pieces]
        resumed = os.path.lexists(self._folder / entry.name)
        return [self._job(entry, group, resumed=resumed) for group in groups]

    def _job(self, entry: Entry, pieces: list[Part], *, resumed: bool) -> Callable[[], None]:
        def job() -> None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._folder / entry.name, flags, 0o600)
            try:
                if os.fstat(descriptor).st_size > entry.size:  # not ours: cut to size, and hashed like all that is here
                    os.ftruncate(descriptor, entry.size)
                if not (resumed and all(_is_there(descriptor, piece) for piece in pieces)):
                    what = f"fetching {self._store.url}: {entry.name}"
                    patiently(lambda: self._fetch(entry, pieces, descriptor), what=what, stop=self.stop)
                self._meter.add(sum(piece.size for piece in pieces))
            finally:
                os.close(descriptor)

        return job

    def _fetch(self, entry: Entry, pieces: list[Part], descriptor: int) -> None:
        if pieces:
            checked = _Checked(pieces, lambda place, chunk: _write(descriptor, chunk, place))
            checked.read(self._store, self._manifest.key(entry))


class _Checked:
    """Takes the bytes of consecutive parts, hands them on with their place, and checks each part as it ends."""

    def __init__(self, pieces: list[Part], sink: Callable[[int, bytes], None], *, thorough: bool = False) -> None:
        self._sink, self._thorough = sink, thorough
        self._start, self._size = pieces[0].start if pieces else 0, sum(piece.size for piece in pieces)
        self._taken, self._coming = 0, iter(pieces)
        self._next()

    def read(self, store: Store, key: str) -> None:
        """Fetch them. Raises DamagedError when they are not what was saved, and whatever the store raises."""
        store.fetch(key, self._start, self._size, self._take)
        if self._taken != self._size:
            raise DamagedError(f"{self._taken} bytes arrived instead of {self._size}")

    def _take(self, chunk: bytes) -> None:
        while chunk:
            if self._part is None:
                raise DamagedError(f"more than {self._size} bytes arrived")
            end = self._part.start + self._part.size - self._start
            piece, chunk = chunk[: end - self._taken], chunk[end - self._taken :]
            self._hash.update(piece)
            self._sink(self._start + self._taken, piece)
            self._taken += len(piece)
            if self._taken == end:
                if self._hash.digest() != self._wanted:
                    raise DamagedError(f"the bytes from {self._part.start} on do not hash to what those saved did")
                self._next()

    def _next(self) -> None:
        self._part = next(self._coming, None)
        if self._part:
            self._hash, self._wanted = self._part.check(thorough=self._thorough)


def _is_there(descriptor: int, piece: Part) -> bool:
    """Whether an earlier download has left this part whole."""
    if os.fstat(descriptor).st_size < piece.start + piece.size:
        return False
    found, wanted = piece.check(thorough=False)
    for start in range(piece.start, piece.start + piece.size, CHUNK):
        found.update(os.pread(descriptor, min(CHUNK, piece.start + piece.size - start), start))
    return found.digest() == wanted


def _write(descriptor: int, chunk: bytes, place: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(descriptor, view, place)
        view, place = view[written:], place + written
