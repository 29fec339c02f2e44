"""A bundle on its way to the bucket or volume that nodes read: its files as they are, the list of their hashes last.

Laptop. Nodes hold every file to its hash, so what is whole is said by that list alone.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import Store, patiently
from server_utils.storage.transfer import in_parallel

logger = logging.getLogger(__name__)


def deliver(folder: Path, url: str, *, last: str) -> None:
    """Copy a folder to an address; a wheel that is there with its size is left: its name tells what is in it.

    last: the name of the file that is written when all others are there.

    Raises:
        ConfigurationError: nothing can be put at the address.
        StorageError: a file could not be sent; `last` is then what it was.
    """
    store = factory.store(urls.parse(url))
    there = dict(store.names())
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    final = files.pop(last)
    new = {key: path for key, path in files.items() if key.count("/") == 0 or there.get(key) != path.stat().st_size}
    logger.info("Sending %d of %d files to %s.", len(new), len(files), url)
    in_parallel([functools.partial(_send, store, key, path) for key, path in new.items()], threads=factory.CONNECTIONS)
    _send(store, last, final)


def _send(store: Store, key: str, path: Path) -> None:
    patiently(lambda: store.upload(key, path), what=f"sending {key} to {store.url}")
