"""`save_model`: from a local folder to a URL. Driver and laptop.

The files go into a folder of their own beside the manifest, which is written last and in one step: a reader sees no
model, or the old one, or the new one. The folder's name tells the next save of the same files that one was killed.
"""

from __future__ import annotations

import logging
import re
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from server_utils.errors import ModelCorruptError, ModelExistsError, StorageError
from server_utils.host.files import file_size
from server_utils.storage import upload
from server_utils.storage.manifest import Entry, Manifest, read
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ChangedError, ObjectNotFoundError, Store, TransientError, retry
from server_utils.storage.transfer import Meter, Progress
from server_utils.storage.upload import LocalFile, send
from server_utils.storage.urls import MANIFEST, on_this_machine, parse

logger = logging.getLogger(__name__)

_TRIES = 5


def save_model(
    source: str | Path, url: str | Path, *, overwrite: bool = False, progress: Progress | None = None
) -> str:
    """Copy a model to where every node can load it from, and return its URL.

    Args:
        source: a folder, or a single file, by its path or file URL, in any framework's own format; nothing in it is
            opened or unpickled. Or `hf://org/name[@revision]`, to copy from a hub once; its data sets are
            `hf://datasets/org/name[@revision[/files]]`, with a pattern such as `data/test-*.parquet`.
        url: s3://, gs://, /Volumes/…, dbfs:/, file:// or a path; `model_url(name)` makes the right one anywhere.
        overwrite: whether a model that is there is replaced; in one step, for whoever loads it meanwhile.
        progress: called with bytes done and bytes in all; by default a line is logged now and then.

    Raises:
        ModelExistsError: there is a model already, or somebody else saved one at the same time.
        ConfigurationError: the source or the URL cannot be used; nothing was sent.
        StorageError: access, region, network or disk; nothing is visible.
    """
    address = parse(url)
    store = factory.store(address)
    if not overwrite and (existing := _existing_model(store)).is_there:
        raise ModelExistsError(existing.refusal)
    try:
        with _folder_of(source) as folder:
            _save(folder, store, overwrite=overwrite, progress=progress)
    except ObjectNotFoundError as error:
        raise StorageError(
            f"nothing can be saved to {address}: {error}; make the bucket first, or check its name"
        ) from error
    return str(address)


@contextmanager
def _folder_of(source: str | Path) -> Iterator[Path]:
    """The local folder or file to be saved; for a hub a copy, for as long as it is needed."""
    text = str(source)
    if not text.startswith("hf:/"):
        yield on_this_machine(source)
        return
    from server_utils.storage.stores.hub import download

    with tempfile.TemporaryDirectory(prefix="spark-sidecar-") as folder:
        download(parse(text), Path(folder))
        yield Path(folder)


def _save(source: Path, store: Store, *, overwrite: bool, progress: Progress | None) -> None:
    local = upload.list_files(source)
    total, part_size = sum(each.size for each in local), upload.part_size(local)
    folder = _folder(store, _existing_model(store).folder, upload.fingerprint(local))
    retry(store.probe, what=f"trying whether {store.url} can be written to")
    files = _send(store, folder, local, part_size, Meter(f"saving {store.url}", total, progress))
    upload.check_unchanged(local)
    saved = datetime.now(UTC).isoformat(timespec="seconds")
    _publish(store, Manifest(folder, saved, part_size, files), overwrite=overwrite)
    logger.info("%s is saved: %d files, %s", store.url, len(files), file_size(total))


def _folder(store: Store, taken: str, start: str) -> str:
    """The folder for the files: that of a save of the same files that was killed, or a new one.

    taken: the folder of the model that is there. Readers use it, and whoever replaces that model removes it.
    """
    for name in retry(store.folders, what=f"looking into {store.url}"):
        if name != taken and re.fullmatch(rf"{start}-[0-9a-f]{{8}}", name):
            logger.info("continuing a save of the same files that did not end")
            return name
    return f"{start}-{uuid.uuid4().hex[:8]}"


def _send(store: Store, folder: str, local: Sequence[LocalFile], part_size: int, meter: Meter) -> tuple[Entry, ...]:
    """Send what is not there yet, and list again: what was damaged on its way may lie under another name."""
    entries: dict[str, Entry] = {}
    for _ in range(_TRIES):
        sizes = dict(retry(lambda: list(store.names()), what=f"looking into {store.url}"))
        sent = {each.name for each in local if sizes.get(f"{folder}/{each.name}") == each.size}
        missing = [each for each in local if each.name not in sent or each.name not in entries]
        if not missing:
            return tuple(entries[each.name] for each in local)
        meter.set(sum(each.size for each in local) - sum(each.size for each in missing))
        entries |= send(store, folder, missing, part_size, meter, sent=sent, threads=factory.SENDING)
    raise StorageError(f"{store.url} took {missing[0].name!r} {_TRIES} times, and does not have it; try another place")


def _publish(store: Store, manifest: Manifest, *, overwrite: bool) -> None:
    """Write the manifest, which makes this the model at the URL."""
    for _ in range(_TRIES):
        before = _existing_model(store)
        if before.is_there and before.folder != manifest.folder and not overwrite:
            _remove(store, manifest.folder)
            raise ModelExistsError(before.refusal)
        write = partial(store.write, MANIFEST, manifest.to_json(), replaces=before.tag)
        try:
            retry(write, what=f"writing the manifest of {store.url}")
        except ChangedError:  # somebody else was quicker; or it was us, and the answer was lost
            continue
        if before.folder and before.folder != manifest.folder:
            _remove(store, before.folder)
        return
    raise StorageError(f"{store.url} is being saved by others all the time; try again when they have finished")


@dataclass(frozen=True)
class _ExistingModel:
    """What is at the URL. tag: of the manifest, None where there is none. folder: of its files; "" if unknown."""

    tag: str | None
    folder: str
    refusal: str

    @property
    def is_there(self) -> bool:
        return self.tag is not None


def _existing_model(store: Store) -> _ExistingModel:
    try:
        content, tag = retry(lambda: store.read(MANIFEST), what=f"reading the manifest of {store.url}")
    except ObjectNotFoundError:
        return _ExistingModel(None, "", "")
    hint = "choose another name, or say overwrite=True"
    try:
        model = read(content, store.url)
    except ModelCorruptError as error:
        return _ExistingModel(tag, "", f"{error}; {hint}")
    size = f"{len(model.files)} files, {file_size(model.size)}"
    refusal = f"{store.url} holds a model already (saved {model.saved}, {size}); {hint}"
    return _ExistingModel(tag, model.folder, refusal)


def _remove(store: Store, folder: str) -> None:
    """Remove the files of a model that nobody can find any more; if that fails they only take space."""
    try:
        store.delete(folder)
    except (ObjectNotFoundError, TransientError, StorageError) as error:
        logger.warning("%s/%s could not be removed (%s); it takes room and does no harm", store.url, folder, error)
