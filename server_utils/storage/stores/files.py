"""Folders: this machine's disk, and what a cluster mounts (/Volumes, /dbfs, NFS). Driver and executors.

Files are written from start to end: the mounts of a bucket take no writes at a place of one's choice.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from server_utils.errors import StorageError
from server_utils.host.files import replacement, temporary_beside
from server_utils.storage.stores.base import CHUNK, ChangedError, ObjectNotFoundError, TransientError

_AGAIN = (errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE)  # a mount over a network has bad moments
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)


class Files:
    """A folder as a store. Its methods are described in `base.Store`."""

    ranged = True

    def __init__(self, folder: Path, url: str) -> None:
        self.url, self._folder = url, folder

    def read(self, key: str) -> tuple[bytes, str]:
        try:
            content = (self._folder / key).read_bytes()
        except OSError as error:
            raise _translated(error, self.url) from error
        return content, hashlib.sha256(content).hexdigest()

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        target = self._folder / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary_beside(target) as beside:
                beside.write_bytes(content)
                self._put(beside, key, replaces)
        except OSError as error:
            raise _translated(error, self.url) from error

    def _put(self, beside: Path, key: str, replaces: str | None) -> None:
        target = self._folder / key
        if replaces is not None:
            if self.read(key)[1] != replaces:
                raise ChangedError(target)
            beside.replace(target)
            return
        try:
            os.link(beside, target)  # the one call that refuses to replace
        except FileExistsError:
            raise ChangedError(target) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():  # a mount without links: two that save at the same moment are not told apart
                raise ChangedError(target) from None
            beside.replace(target)

    def probe(self) -> None:
        return  # a folder takes any write

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:
        for chunk in self._chunks(key, start, size):
            write(chunk)  # its errors are not ours to translate: the other disk may be full

    def _chunks(self, key: str, start: int, size: int) -> Iterator[bytes]:
        try:
            with (self._folder / key).open("rb", buffering=0) as file:
                file.seek(start)
                while size > 0 and (chunk := file.read(min(CHUNK, size))):
                    yield chunk
                    size -= len(chunk)
        except OSError as error:
            raise _translated(error, self.url) from error

    def upload(self, key: str, source: Path) -> None:
        target = self._folder / key
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacement(target) as beside:
                shutil.copyfile(source, beside)
        except OSError as error:
            raise _translated(error, self.url) from error

    def parts(self, key: str, count: int) -> None:  # noqa: ARG002 - a file is written from start to end
        return None

    def names(self) -> Iterator[tuple[str, int]]:
        for parent, _, files in os.walk(self._folder):
            for name in files:
                path = Path(parent, name)
                try:
                    yield path.relative_to(self._folder).as_posix(), path.lstat().st_size
                except FileNotFoundError:
                    continue  # somebody removed it meanwhile

    def folders(self) -> list[str]:
        try:
            return sorted(each.name for each in os.scandir(self._folder) if each.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _translated(error, self.url) from error

    def delete(self, prefix: str) -> None:
        shutil.rmtree(self._folder / prefix, ignore_errors=True)


def _translated(error: OSError, url: str) -> Exception:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return ObjectNotFoundError(str(error))
    if error.errno in _AGAIN:
        return TransientError(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"the disk of {url} is full ({error.strerror}): make room there, then do it again")
    return StorageError(f"{url}: {error.strerror} ({error.filename}); check the folder and who may read and write it")
