"""Which models there are below a URL, and whether one is whole. Driver and laptop; changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from server_utils.errors import ModelCorruptError, ModelNotFoundError
from server_utils.storage import download
from server_utils.storage.load import read_manifest
from server_utils.storage.manifest import Entry, Manifest, read
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import ObjectNotFoundError, Store, retry
from server_utils.storage.transfer import Meter, Progress, in_parallel
from server_utils.storage.urls import MANIFEST, Address, parse

_DEPTH = 2  # name, or organisation/name


@dataclass(frozen=True)
class Saved:
    """A model. size: bytes. saved: when, UTC. problem: why it cannot be loaded; "" for nothing known."""

    name: str
    url: str
    files: int
    size: int
    saved: str
    problem: str = ""


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was saved."""

    file: str
    problem: str


def saved_models(root: str | Path) -> list[Saved]:
    """The models below a URL, sorted by name. Raises StorageError when it cannot be listed."""
    return list(_below(parse(root), "", _DEPTH))


def is_saved(url: str | Path) -> bool:
    """Whether there is a model at a URL. Raises StorageError when it cannot be read."""
    return _saved(parse(url), "") is not None


def verify(url: str | Path, *, progress: Progress | None = None) -> list[Problem]:
    """Read every file of a model where it is and compare it with what was saved; an empty list where nothing is wrong.

    Raises ModelNotFoundError, ModelCorruptError and StorageError as `local_model` does.
    """
    address = parse(url)
    store = factory.store(address)
    model, _ = read_manifest(store, address)
    sizes = dict(retry(lambda: list(store.names()), what=f"looking into {store.url}"))
    meter, problems = Meter(f"verifying {store.url}", model.size, progress), list[Problem]()

    def job(entry: Entry) -> Callable[[], None]:
        def check() -> None:
            if problem := _problem(store, model, entry, sizes.get(model.key(entry))):
                problems.append(Problem(entry.name, problem))
            meter.add(entry.size)

        return check

    in_parallel([job(entry) for entry in model.files], threads=factory.CONNECTIONS)
    return sorted(problems, key=lambda each: each.file)


def _problem(store: Store, model: Manifest, entry: Entry, size: int | None) -> str:
    try:
        if size is None:
            return "it is missing"
        if size != entry.size:
            return f"it has {size} bytes instead of {entry.size}"
        return "its content is not what was saved" if size and download.damaged(store, model, entry) else ""
    except ObjectNotFoundError:  # removed since it was listed
        return "it is missing"


def _below(address: Address, above: str, depth: int) -> Iterator[Saved]:
    store = factory.store(address)
    try:
        names = retry(store.folders, what=f"looking into {store.url}")
    except ObjectNotFoundError as error:
        raise ModelNotFoundError(f"there is no {store.url}: {error}") from error
    for name in names:
        below = replace(address, path=f"{address.path.rstrip('/')}/{name}".removeprefix("/" * (address.path == "")))
        if saved := _saved(below, f"{above}{name}"):
            yield saved
        elif depth > 1:
            yield from _below(below, f"{above}{name}/", depth - 1)


def _saved(address: Address, name: str) -> Saved | None:
    store = factory.store(address)
    try:
        content, _ = retry(lambda: store.read(MANIFEST), what=f"reading the manifest of {store.url}")
    except ObjectNotFoundError:
        return None
    try:
        model = read(content, store.url)
    except ModelCorruptError as error:
        return Saved(name, str(address), 0, 0, "", str(error))
    return Saved(name, str(address), len(model.files), model.size, model.saved)
