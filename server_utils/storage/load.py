"""`local_model`: from a URL to a folder on this node. Driver and executors; any number may ask at once.

As a program, `python -m server_utils.storage.load URL ANSWER` fetches a model in a process of its own: a supervisor
starts it, so that a download can be watched, timed and ended like a server. It logs to standard error; ANSWER is a file
that holds {"path": ...} or {"error": ...} in the end.
"""

from __future__ import annotations

import difflib
import json
import logging
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from server_utils.errors import ModelCorruptError, ModelNotFoundError, SidecarError
from server_utils.storage import cache, download, manifest
from server_utils.storage.manifest import Manifest
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import NotThereError, Store, retry
from server_utils.storage.transfer import Meter, Progress
from server_utils.storage.urls import MANIFEST, Address, parse

logger = logging.getLogger(__name__)
_TRIES = 3  # a model that is replaced more often than this while it is fetched is a moving target
_SHOWN = 8


def local_model(url: str | Path, *, progress: Progress | None = None) -> Path:
    """A folder on this node with the model's files, whole and verified; the same one for all who ask on this host.

    It is read-only by agreement: others use it too. It stays while this process lives; later it may make room.

    Args:
        url: s3://, gs://, /Volumes/…, dbfs:/, file:// or a path, of a model saved by `save_model`.
        progress: called with bytes done and bytes in all; by default a line is logged now and then.

    Raises:
        ModelNotFoundError: there is no model; says what is there.
        ModelCorruptError: what is stored is not what was saved.
        StorageError: access, region, network or disk; says what was tried.
        ConfigurationError: the URL can hold no model.
    """
    asked, address = time.time_ns(), parse(url)
    with cache.alone_with(str(address)) as note:
        if path := _answered(note, asked):
            return path
        store, asked_now = factory.store(address), time.time_ns()
        path, digest = _fetch(store, address, progress)
        note.write_text(json.dumps({"asked": asked_now, "digest": digest}))
        return path


def read_manifest(store: Store, address: Address) -> tuple[Manifest, str]:
    """The manifest of a model and its tag. Raises ModelNotFoundError and ModelCorruptError as `local_model`."""
    try:
        content, tag = retry(lambda: store.read(MANIFEST), what=f"reading the manifest of {store.url}")
    except NotThereError as error:
        raise ModelNotFoundError(f"there is no model at {store.url}: {_instead(store, address)}") from error
    return manifest.read(content, store.url), tag


def _answered(note: Path, asked: int) -> Path | None:
    """The answer to another process's question, if that was asked after ours: it cannot be older than ours would be."""
    try:
        known = json.loads(note.read_text())
        return cache.hold(known["digest"]) if known["asked"] >= asked else None
    except (ValueError, KeyError, TypeError):  # never written, or its writer was killed
        return None


def _fetch(store: Store, address: Address, progress: Progress | None) -> tuple[Path, str]:
    found, _ = read_manifest(store, address)
    for _ in range(_TRIES):
        try:
            return cache.ensure(found, partial(_fill, store, found, progress)), found.digest
        except (NotThereError, ModelCorruptError) as error:
            now, _ = read_manifest(store, address)
            if now.folder == found.folder:
                raise ModelCorruptError(
                    f"{store.url} is damaged: {error}; save it again with overwrite=True"
                ) from error
            logger.info("%s was saved anew while it was fetched", store.url)
            if now.digest != found.digest:
                cache.forget_half(found.digest)
            found = now
    raise ModelCorruptError(f"{store.url} was saved anew {_TRIES} times while it was fetched; try again later")


def _fill(store: Store, found: Manifest, progress: Progress | None, folder: Path) -> None:
    began, meter = time.monotonic(), Meter(f"fetching {store.url}", found.size, progress)
    download.fetch(store, found, folder, meter, threads=factory.CONNECTIONS)
    took = time.monotonic() - began
    logger.info("%s is here: %d files, %.1f MB in %.1f s", store.url, len(found.files), found.size / 1e6, took)


def _instead(store: Store, address: Address) -> str:
    """What is there instead, for people."""
    try:
        names = sorted(name for name, _ in _first(store))
        if names:
            return (
                f"there are {', '.join(names)}, but no manifest. Either its save has not ended, or the files were "
                f"copied by hand; then save them: spark-sidecar models push FOLDER {address}"
            )
        above, _, name = address.path.rpartition("/")
        around = factory.store(replace(address, path=above or "/" * address.path.startswith("/"))).folders()
    except NotThereError as error:
        return f"{error}"
    near = difflib.get_close_matches(name, around, n=3)
    there = ", ".join(around[:_SHOWN]) + (f" and {len(around) - _SHOWN} more" if len(around) > _SHOWN else "")
    return (f"did you mean {' or '.join(near)}? " if near else "") + f"Beside it there is {there or 'nothing'}"


def _first(store: Store) -> list[tuple[str, int]]:
    return [found for found, _ in zip(store.names(), range(_SHOWN), strict=False)]


def main(url: str, answer: str) -> None:
    """Fetch, and leave word. A fault of ours is not caught: its trace belongs into the log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        said = {"path": str(local_model(url))}
    except SidecarError as error:
        said = {"error": str(error)}
    Path(answer).write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
