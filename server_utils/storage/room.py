"""Room for a model in the cache: who was used least recently goes first, who is in use stays. Driver and executors."""

from __future__ import annotations

import logging
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from server_utils.errors import ModelCorruptError, StorageError
from server_utils.host.files import alone, alone_at_once
from server_utils.storage import manifest as manifests
from server_utils.storage.manifest import Manifest
from server_utils.storage.urls import MANIFEST

logger = logging.getLogger(__name__)


def lock_file(root: Path, name: str) -> Path:
    """The lock of a digest, of a URL, or of the whole cache. Never removed: a lock on a removed file holds nobody."""
    return root / "locks" / name


def make(root: Path, manifest: Manifest, limit: int | None) -> None:
    """Remove the least recently used models until this one fits. Raises StorageError when those in use are too many."""
    with alone(lock_file(root, "room")):
        others = {each: size for each, size in _sizes(root).items() if each.name.split(".")[0] != manifest.digest}
        for folder in sorted(others, key=lambda each: each.stat().st_mtime):
            if not _lacking(root, manifest, sum(others.values()), limit):
                return
            if _evict(root, folder):
                del others[folder]
        if lacking := _lacking(root, manifest, sum(others.values()), limit):
            raise StorageError(
                f"a model of {manifest.size / 1e9:.2f} GB does not fit into {root}: {lacking / 1e9:.2f} GB lack, and "
                f"{sum(others.values()) / 1e9:.2f} GB there are in use. Raise SPARK_SIDECAR_CACHE_GB, set "
                "SPARK_SIDECAR_CACHE to a folder on a larger disk, or stop what uses the others"
            )


def _lacking(root: Path, manifest: Manifest, used: int, limit: int | None) -> int:
    """Bytes that are missing, on the disk or up to the limit; 0 when there is room."""
    part = root / f"{manifest.digest}.part"
    on_disk = manifest.size - bytes_in(part) - shutil.disk_usage(part).free
    return max(on_disk, 0 if limit is None else used + manifest.size - limit, 0)


def _evict(root: Path, folder: Path) -> bool:
    """Remove a model, or half a one, unless a process uses it or works on it."""
    with alone_at_once(lock_file(root, folder.name.split(".")[0])) as nobody_uses_it:
        if nobody_uses_it:
            gone = root / f".gone-{uuid.uuid4().hex}"
            folder.rename(gone)  # in one step: half a model is never to be seen under its name
            logger.info("removing %s, the least recently used model, to make room", folder.name)
            shutil.rmtree(gone, ignore_errors=True)
        return nobody_uses_it


def _sizes(root: Path) -> dict[Path, int]:
    """Every model here with its bytes; one on its way counts with all that it will have."""
    found = {}
    for path in root.glob(f"*/{MANIFEST}"):
        with suppress(OSError, ModelCorruptError):  # removed meanwhile, or cut short by a crash
            found[path.parent] = manifests.read(path.read_bytes(), str(path)).size
    return found


def bytes_in(folder: Path) -> int:
    """What a folder takes on the disk: a file with holes in it counts as far as it is filled."""
    blocks = (Path(parent, name).lstat().st_blocks for parent, _, names in os.walk(folder) for name in names)
    return 512 * sum(blocks)
