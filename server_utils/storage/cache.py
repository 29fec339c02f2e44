"""The models on this host, by content: one folder each, whole or not there, and locked for as long as it is used.

<cache root>/<digest>/       a whole model: manifest.json, and its files in model/
             <digest>.part/  a download, or what a killed one has left
             locks/          one file per digest, per URL, and one for freeing space

Driver and executors. A lock belongs to a process and ends with it, however it ends. To free space, the least
recently used model is removed first; one that is in use stays.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from server_utils.errors import ConfigurationError, ModelCorruptError, StorageError
from server_utils.host import platform
from server_utils.host.files import exclusive_lock, exclusive_lock_if_free, file_size, shared_lock
from server_utils.storage import manifest as manifests
from server_utils.storage.manifest import Manifest
from server_utils.storage.urls import MANIFEST

_FILES = "model"
_held: dict[str, int] = {}  # digest -> the descriptor of a shared lock, kept until this process ends
_held_lock = threading.Lock()
logger = logging.getLogger(__name__)


def ensure(manifest: Manifest, fill: Callable[[Path], None]) -> Path:
    """The folder of a model, held by this process from now on: nobody evicts it while the process lives.

    fill: (folder, empty or with a part of the files) -> has all files in it. Called by one process of the host at a
    time, and only where the model is not there yet.
    """
    while not (path := hold(manifest.digest)):
        with exclusive_lock(lock_file(_root(), manifest.digest)):
            if not _is_whole(manifest.digest):
                _fetch(manifest, fill)
    return path


def hold(digest: str) -> Path | None:
    """The folder of a model if it is there whole, held as by `ensure`; else None."""
    with _held_lock:
        if digest not in _held:
            _held[digest] = shared_lock(lock_file(_root(), digest))
        if not _is_whole(digest):
            os.close(_held.pop(digest))
            return None
        os.utime(_root() / digest)  # the least recently used one goes first
        return _root() / digest / _FILES


def hold_of(path: Path) -> bool:
    """Hold the model that a path returned by `ensure` belongs to. False when it is not there any more."""
    return hold(path.parent.name) is not None


def exclusive_load(url: str) -> AbstractContextManager[Path]:
    """Hold the lock on a URL, so that one process of the host loads it at a time. Gives the lock's file, for a note."""
    return exclusive_lock(lock_file(_root(), f"url-{hashlib.sha256(os.fsencode(url)).hexdigest()[:32]}"))


def _fetch(manifest: Manifest, fill: Callable[[Path], None]) -> None:
    whole, part = _root() / manifest.digest, _root() / f"{manifest.digest}.part"
    if whole.exists():  # somebody has damaged it: the files that are left need no download
        shutil.rmtree(part, ignore_errors=True)
        whole.rename(part)
    (part / _FILES).mkdir(parents=True, exist_ok=True)
    (part / MANIFEST).write_bytes(manifest.to_json())
    free_space(_root(), manifest, platform.cache_limit())
    try:
        fill(part / _FILES)
    except StorageError:
        if shutil.disk_usage(part).free < manifest.size - bytes_in(part):
            shutil.rmtree(part, ignore_errors=True)  # the disk is full of it
        raise
    part.rename(whole)


def remove_part(digest: str) -> None:
    """Remove what has been downloaded of a model that nobody will finish."""
    with exclusive_lock(lock_file(_root(), digest)):
        shutil.rmtree(_root() / f"{digest}.part", ignore_errors=True)


def _is_whole(digest: str) -> bool:
    """Whether the model is there with all its files, by their sizes: their content was checked when they came."""
    folder = _root() / digest
    try:
        manifest = manifests.read((folder / MANIFEST).read_bytes(), str(folder))
        return all((folder / _FILES / entry.name).lstat().st_size == entry.size for entry in manifest.files)
    except (OSError, ModelCorruptError):
        return False


def _root() -> Path:
    """The cache's folder; it may be where everybody may write, so one of somebody else is refused."""
    root = platform.cache_root()
    with suppress(OSError):  # told below
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
    platform.writable(root / "locks", variable="SPARK_SIDECAR_CACHE")
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigurationError(
            f"{root} must be a folder of this user; it is {stat.filemode(status.st_mode)} of user {status.st_uid}. Set "
            "SPARK_SIDECAR_CACHE to a folder of your own on every node"
        )
    return root


def lock_file(root: Path, name: str) -> Path:
    """The lock of a digest, of a URL, or of the whole cache. Never removed: a lock on a removed file holds nobody."""
    return root / "locks" / name


def free_space(root: Path, manifest: Manifest, limit: int | None) -> None:
    """Remove the least recently used models until this one fits. Raises StorageError when those in use are too many."""
    with exclusive_lock(lock_file(root, "room")):
        others = {each: size for each, size in _sizes(root).items() if each.name.split(".")[0] != manifest.digest}
        for folder in sorted(others, key=lambda each: each.stat().st_mtime):
            if not _missing_bytes(root, manifest, sum(others.values()), limit):
                return
            if _evict(root, folder):
                del others[folder]
        if missing := _missing_bytes(root, manifest, sum(others.values()), limit):
            raise StorageError(
                f"a model of {file_size(manifest.size)} does not fit into {root}: {file_size(missing)} are missing, "
                f"and {file_size(sum(others.values()))} there are in use. Raise SPARK_SIDECAR_CACHE_GB, set "
                "SPARK_SIDECAR_CACHE to a folder on a larger disk, or stop what uses the others"
            )


def _missing_bytes(root: Path, manifest: Manifest, used: int, limit: int | None) -> int:
    """Bytes that are missing, on the disk or up to the limit; 0 when it fits."""
    part = root / f"{manifest.digest}.part"
    on_disk = manifest.size - bytes_in(part) - shutil.disk_usage(part).free
    return max(on_disk, 0 if limit is None else used + manifest.size - limit, 0)


def _evict(root: Path, folder: Path) -> bool:
    """Remove a model, or half a one, unless a process uses it or works on it."""
    with exclusive_lock_if_free(lock_file(root, folder.name.split(".")[0])) as nobody_uses_it:
        if nobody_uses_it:
            gone = root / f".gone-{uuid.uuid4().hex}"
            folder.rename(gone)  # in one step: half a model is never to be seen under its name
            logger.info("removing %s, the least recently used model, to make room", folder.name)
            shutil.rmtree(gone, ignore_errors=True)
        return nobody_uses_it


def _sizes(root: Path) -> dict[Path, int]:
    """Every model of the cache with its bytes; a download counts with all that it will have."""
    sizes = {}
    for path in root.glob(f"*/{MANIFEST}"):
        with suppress(OSError, ModelCorruptError):  # removed meanwhile, or cut short by a crash
            sizes[path.parent] = manifests.read(path.read_bytes(), str(path)).size
    return sizes


def bytes_in(folder: Path) -> int:
    """What a folder takes on the disk: a file with holes in it counts as far as it is filled."""
    blocks = (Path(parent, name).lstat().st_blocks for parent, _, names in os.walk(folder) for name in names)
    return 512 * sum(blocks)
