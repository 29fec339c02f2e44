"""Sends files to a store: files and parts side by side, each hashed as it is read. Driver and laptop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Sequence

from server_utils.errors import StorageError
from server_utils.storage.hashes import Both
from server_utils.storage.manifest import Entry
from server_utils.storage.progress import Meter
from server_utils.storage.scan import Found
from server_utils.storage.stores.base import CHUNK, Parts, Store, patiently
from server_utils.storage.transfer import in_parallel


def send(
    store: Store,
    folder: str,
    found: Sequence[Found],
    part_size: int,
    meter: Meter,
    *,
    there: Collection[str],
    threads: int,
) -> dict[str, Entry]:
    """Upload files into a folder of a store. Returns what they are, by name.

    there: names of files that are in the store already; they are only hashed.
    Raises what `patiently` does; then no object is there half.
    """
    sending = _Sending(store, folder, part_size, meter)
    try:
        jobs = [job for each in found for job in sending.jobs(each, is_there=each.name in there)]
        in_parallel(jobs, threads=threads, stop=sending.stop)
    except OSError as error:
        raise StorageError(f"{error.filename or 'a file'} cannot be read: {error.strerror}") from error
    finally:
        sending.clean()
    return {each.name: sending.entry(each) for each in found}


class _Sending:
    """One upload of a folder. hashes: of the parts of each file, filled in as they are read."""

    def __init__(self, store: Store, folder: str, part_size: int, meter: Meter) -> None:
        self._store, self._folder, self._part_size, self._meter = store, folder, part_size, meter
        self.stop, self.hashes = threading.Event(), dict[str, list[tuple[str, str]]]()
        self._split: list[_Split] = []

    def entry(self, each: Found) -> Entry:
        """What a file is, once it was read."""
        hashes = self.hashes[each.name]
        return Entry(each.name, each.size, tuple(sha256 for sha256, _ in hashes), tuple(crc32c for _, crc32c in hashes))

    def jobs(self, each: Found, *, is_there: bool) -> list[Callable[[], None]]:
        """What is to be done for one file: a job for each part where the store takes parts, else one."""
        key, starts = f"{self._folder}/{each.name}", range(0, each.size, self._part_size)
        self.hashes[each.name] = [("", "")] * len(starts)
        if not is_there and (parts := self._store.parts(key, len(starts))):
            self._split.append(split := _Split(parts, left=len(starts)))
            return [self._part(each, split, number) for number in range(len(starts))]
        return [lambda: self._whole(each, key, is_there=is_there)]

    def _whole(self, each: Found, key: str, *, is_there: bool) -> None:
        with each.path.open("rb", buffering=0) as file:
            for number in range(len(self.hashes[each.name])):
                left, found = min(self._part_size, each.size - number * self._part_size), Both()
                while left and (chunk := file.read(min(CHUNK, left))):
                    found.update(chunk)
                    left -= len(chunk)
                self.hashes[each.name][number] = found.hexdigests()
        if not is_there:
            patiently(lambda: self._store.upload(key, each.path), what=f"sending {each.name}", stop=self.stop)
        self._meter.add(each.size)

    def _part(self, each: Found, split: _Split, number: int) -> Callable[[], None]:
        def job() -> None:
            content = _bytes(each, number * self._part_size, self._part_size)
            found = Both()
            found.update(content)
            self.hashes[each.name][number] = found.hexdigests()
            what = f"sending {each.name}, part {number + 1} of {len(self.hashes[each.name])}"
            patiently(lambda: split.parts.put(number, content), what=what, stop=self.stop)
            self._meter.add(len(content))
            if split.last():
                patiently(split.parts.finish, what=f"finishing {each.name}", stop=self.stop)
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


def _bytes(each: Found, start: int, size: int) -> bytes:
    descriptor = os.open(each.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, start)
    finally:
        os.close(descriptor)
