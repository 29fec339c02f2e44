"""`local_model`: from a URL to a folder on this node. Driver and executors; any number may ask at once.

As a program, `python -m server_utils.storage.load URL ANSWER` fetches a model in a process of its own: a supervisor
starts it, so that a download can be watched, timed and ended like a server. It logs to standard error; ANSWER is a file
that holds {"path": ...} or {"error": ...} in the end.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from server_utils.errors import ModelCorruptError, ModelNotFoundError, SidecarError
from server_utils.host.files import file_size, write_atomically
from server_utils.storage import cache, download, manifest
from server_utils.storage.manifest import Manifest
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ObjectNotFoundError, Store, retry
from server_utils.storage.transfer import Meter, Progress
from server_utils.storage.urls import MANIFEST, Address, parse
from server_utils.validation import nearest

logger = logging.getLogger(__name__)
_TRIES = 3  # to fetch a model that is replaced meanwhile
_SHOWN = 8


def local_model(url: str | Path, *, progress: Progress | None = None) -> Path:
    """A folder on this node with the model's files, whole and verified; the same one for all who ask on this host.

    It is read-only by agreement: others use it too. It stays while this process lives, and may be removed later.

    Args:
        url: s3://, gs://, /Volumes/…, dbfs:/, file:// or a path, of a model saved by `save_model`.
        progress: called with bytes done and bytes in all; by default a line is logged now and then.

    Raises:
        ModelNotFoundError: there is no model; says what is there.
        ModelCorruptError: what is stored is not what was saved.
        StorageError: access, region, network or disk; says what was tried.
        ConfigurationError: the URL can hold no model.
    """
    started_at, address = time.time_ns(), parse(url)
    with cache.exclusive_load(str(address)) as note:
        if path := _reuse_if_newer_than(started_at, note):
            return path
        store, load_started_at = factory.store(address), time.time_ns()
        path, digest = _load(store, address, progress)
        note.write_text(json.dumps({"asked": load_started_at, "digest": digest}))  # in place: the note is the lock
        return path


def read_manifest(store: Store, address: Address) -> tuple[Manifest, str]:
    """The manifest of a model and its tag. Raises ModelNotFoundError and ModelCorruptError as `local_model`."""
    try:
        content, tag = retry(lambda: store.read(MANIFEST), what=f"reading the manifest of {store.url}")
    except ObjectNotFoundError as error:
        raise ModelNotFoundError(f"there is no model at {store.url}: {_what_is_there(store, address)}") from error
    return manifest.read(content, store.url), tag


def saved_folder(url: str | Path) -> str:
    """The name of the folder below a URL that holds the files of what was saved there; Spark can read them in place.

    Raises ModelNotFoundError, ModelCorruptError and StorageError as `local_model` does.
    """
    address = parse(url)
    return read_manifest(factory.store(address), address)[0].folder


def _reuse_if_newer_than(started_at: int, note: Path) -> Path | None:
    """The model that another process has loaded from the same URL, if it asked the store after this call started.

    Processes that load a model at the same time wait for one of them. What that one has loaded is at least as new
    as what they would load, so they do not ask the store again. Without this, each of them would, one after the other.
    """
    try:
        last_load = json.loads(note.read_text())
        return cache.hold(last_load["digest"]) if last_load["asked"] >= started_at else None
    except (ValueError, KeyError, TypeError):  # never written, or its writer was killed
        return None


def _load(store: Store, address: Address, progress: Progress | None) -> tuple[Path, str]:
    """The folder of the model that is at the address now, and its digest."""
    model, _ = read_manifest(store, address)
    for _ in range(_TRIES):
        try:
            return cache.ensure(model, partial(_fill, store, model, progress)), model.digest
        except (ObjectNotFoundError, ModelCorruptError) as error:
            now, _ = read_manifest(store, address)
            if now.folder == model.folder:
                raise ModelCorruptError(
                    f"{store.url} is damaged: {error}; save it again with overwrite=True"
                ) from error
            logger.info("%s was saved anew while it was fetched", store.url)
            if now.digest != model.digest:
                cache.remove_part(model.digest)
            model = now
    raise ModelCorruptError(f"{store.url} was saved anew {_TRIES} times while it was fetched; try again later")


def _fill(store: Store, model: Manifest, progress: Progress | None, folder: Path) -> None:
    began, meter = time.monotonic(), Meter(f"fetching {store.url}", model.size, progress)
    download.fetch(store, model, folder, meter, threads=factory.CONNECTIONS)
    took = time.monotonic() - began
    logger.info("%s is here: %d files, %s in %.1f s", store.url, len(model.files), file_size(model.size), took)


def _what_is_there(store: Store, address: Address) -> str:
    """What is at the address, or beside it, for people."""
    try:
        if files := sorted(_some_files(store)):
            return (
                f"there are {', '.join(files)}, but no manifest. Either its save has not ended, or the files were "
                f"copied by hand; then save them: spark-sidecar models push FOLDER {address}"
            )
        above, _, name = address.path.rpartition("/")
        folders = factory.store(replace(address, path=above or "/" * address.path.startswith("/"))).folders()
    except ObjectNotFoundError as error:
        return f"{error}"
    near = nearest(name, folders)
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    beside = (", ".join(folders[:_SHOWN]) or "nothing") + more
    return (f"did you mean {near}? " if near else "") + f"Beside it there is {beside}"


def _some_files(store: Store) -> list[str]:
    return [name for (name, _), _ in zip(store.names(), range(_SHOWN), strict=False)]


def main(url: str, answer: str) -> None:
    """Fetch, and write the answer. A bug of ours is not caught: its traceback belongs into the log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        result = {"path": str(local_model(url))}
    except SidecarError as error:
        result = {"error": str(error)}
    write_atomically(Path(answer), json.dumps(result).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
