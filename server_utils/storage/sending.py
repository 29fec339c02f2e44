"""Sends the files of a model to a store: files and parts side by side. Driver and laptop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from server_utils.storage.manifest import Entry, Manifest, Part
from server_utils.storage.progress import Meter
from server_utils.storage.store import Parts, Store, patiently
from server_utils.storage.threads import in_parallel


def send(store: Store, manifest: Manifest, sources: dict[str, Path], meter: Meter, *, threads: int) -> None:
    """Upload every file of a manifest that has a source, and leave the others. sources: where each is, by name.

    Raises what `patiently` does; then no object is there half.
    """
    sending = _Sending(store, manifest, meter)
    jobs = [
        job for entry in manifest.files if entry.name in sources for job in sending.jobs(entry, sources[entry.name])
    ]
    try:
        in_parallel(jobs, threads=threads, stop=sending.stop)
    finally:
        sending.clean()


class _Sending:
    """One upload of a folder."""

    def __init__(self, store: Store, manifest: Manifest, meter: Meter) -> None:
        self._store, self._manifest, self._meter = store, manifest, meter
        self.stop = threading.Event()
        self._split: list[_Split] = []

    def jobs(self, entry: Entry, source: Path) -> list[Callable[[], None]]:
        """What is to be done for one file: a job for each part where the store takes parts, else one."""
        key, pieces = self._manifest.key(entry), self._manifest.pieces(entry)
        if len(pieces) > 1 and (parts := self._store.parts(key, len(pieces))):
            self._split.append(split := _Split(parts, left=len(pieces)))
            return [self._part(entry, source, split, number, piece) for number, piece in enumerate(pieces)]
        return [lambda: self._whole(entry, source)]

    def _whole(self, entry: Entry, source: Path) -> None:
        key = self._manifest.key(entry)
        patiently(lambda: self._store.upload(key, source), what=f"sending {entry.name}", stop=self.stop)
        self._meter.add(entry.size)

    def _part(self, entry: Entry, source: Path, split: _Split, number: int, piece: Part) -> Callable[[], None]:
        def job() -> None:
            content = _bytes(source, piece)
            what = f"sending {entry.name}, part {number + 1} of {len(entry.parts)}"
            patiently(lambda: split.parts.put(number, content), what=what, stop=self.stop)
            self._meter.add(piece.size)
            if split.last():
                patiently(split.parts.finish, what=f"finishing {entry.name}", stop=self.stop)
                split.finished = True

        return job

    def clean(self) -> None:
        """Take away the parts of what did not come to its end."""
        for split in self._split:
            if not split.finished:
                split.parts.abort()


class _Split:
    """A file that travels in parts, and how many are left."""

    def __init__(self, parts: Parts, left: int) -> None:
        self.parts, self.finished = parts, False
        self._left, self._lock = left, threading.Lock()

    def last(self) -> bool:
        """Count one part as sent. Returns whether it was the last one."""
        with self._lock:
            self._left -= 1
            return self._left == 0


def _bytes(source: Path, piece: Part) -> bytes:
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, piece.size, piece.start)
    finally:
        os.close(descriptor)
