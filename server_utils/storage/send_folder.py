"""Send files to a folder of a store, the one that makes them complete last. Laptop; no model, no manifest.

A folder that is named after the hashes of its files never changes.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from server_utils.storage.stores import factory
from server_utils.storage.stores.base import Store, retry
from server_utils.storage.transfer import in_parallel

logger = logging.getLogger(__name__)


def send_folder(
    store: Store, files: Mapping[str, Path], *, last: str, always: Callable[[str], bool] = lambda _: False
) -> list[str]:
    """Send the files that are not there with their size, several side by side; then `last`, if anything was missing.

    Args:
        store: of the folder.
        files: key -> local file.
        last: the key of the file that is written when all others are there.
        always: whether a key is sent whatever is there. A name or a folder with a hash in it makes that needless.

    Returns:
        The keys that were sent, `last` at the end.

    Raises:
        StorageError: a file could not be sent; `last` is then what it was.
    """
    sizes = dict(store.names())
    missing = {key: path for key, path in files.items() if always(key) or sizes.get(key) != path.stat().st_size}
    final = missing.pop(last, None)
    logger.info("Sending %d of %d files to %s.", len(missing), len(files), store.url)
    jobs = [functools.partial(_send, store, key, path) for key, path in missing.items()]
    in_parallel(jobs, threads=factory.CONNECTIONS)
    if final is None and not missing:
        return []
    _send(store, last, files[last])
    return [*missing, last]


def sha256(file: Path) -> str:
    """Of the contents of a file, which is read anew only after it changed: a bundle has gigabytes."""
    facts = file.stat()
    return _sha256(file, (facts.st_mtime_ns, facts.st_size))


@functools.cache
def _sha256(file: Path, state: tuple[int, int]) -> str:  # noqa: ARG001 - a file that changed is another key
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _send(store: Store, key: str, path: Path) -> None:
    retry(lambda: store.upload(key, path), what=f"sending {key} to {store.url}")
