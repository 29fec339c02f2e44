"""What every place for models can do, and how a request to one is retried. Driver and executors.

A store is one folder: all keys are relative to it. It raises the signals below and translates every error of its
client into them or into a `StorageError`. It never retries by itself: `retry` is the one place that does.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from server_utils.errors import ModelCorruptError, StorageError

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
_DAMAGED = 2  # retries of what arrived damaged: more do not mend what is stored
_LONGEST_S = 60.0  # of what a server may ask for with Retry-After
CHUNK = 1 << 20  # bytes that are handed on at a time: small enough for caches, large enough for Python


class ObjectNotFoundError(Exception):
    """There is no such object, or no such bucket."""


class ChangedError(Exception):
    """An object is not the version that the caller has read: somebody else wrote it meanwhile."""


class UnsupportedError(StorageError):
    """The store does not know this kind of request, or not with these headers: a retry is pointless."""


class TransientError(Exception):
    """It may work the next time. retry_after_s: seconds that the server asks to wait."""

    def __init__(self, message: object, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = min(retry_after_s, _LONGEST_S)


class DamagedError(TransientError):
    """What arrived is not what was saved. A retry helps if the network did it, and not if the store did."""


class Parts(Protocol):
    """An upload of one object by numbered parts, at once and in any order; there is nothing until `finish`."""

    def put(self, number: int, content: bytes) -> None:
        """Send one part; the numbers start with 0."""

    def finish(self) -> None:
        """Make the object of its parts."""

    def abort(self) -> None:
        """Remove what was sent. Never raises."""


class Store(Protocol):
    """One folder somewhere.

    Attributes:
        url: the folder's, for people.
        ranged: whether a piece of an object can be read without what comes before it.
    """

    url: str
    ranged: bool

    def read(self, key: str) -> tuple[bytes, str]:
        """A small object whole, and a tag of this version of it. Raises ObjectNotFoundError."""

    def write(self, key: str, content: bytes, *, replaces: str | None) -> None:
        """A small object in one step. replaces: the tag of what it replaces, None where there is to be none yet.

        Raises ChangedError where there is another one, if the place can tell.
        """

    def probe(self) -> None:
        """Find out, before much is sent, which kinds of writes the place knows. Nothing stays of it.

        Raises what `write` does where it takes none at all.
        """

    def fetch(self, key: str, start: int, size: int, write: Callable[[bytes], object]) -> None:
        """Hand on the bytes from `start` on, in order, or fewer: the caller counts. Raises ObjectNotFoundError."""

    def upload(self, key: str, source: Path) -> None:
        """Store a file under a key, in one step: it is there whole or not at all."""

    def parts(self, key: str, count: int) -> Parts | None:
        """An upload by parts, for which nothing is sent yet; None where the file had better be sent as a whole."""

    def names(self) -> Iterator[tuple[str, int]]:
        """Key and size in bytes of every object, in no order."""

    def folders(self) -> list[str]:
        """The names of the folders directly below, sorted."""

    def delete(self, prefix: str) -> None:
        """Remove a folder below and all that is in it; it need not be there."""


def retry(
    call: Callable[[], _T],
    *,
    what: str,
    stop: threading.Event | None = None,
    pauses_s: tuple[float, ...] = _PAUSES_S,
) -> _T:
    """Call until it works, with pauses that grow. stop: set where another thread's failure makes the wait pointless.

    Raises:
        StorageError: it did not work the last time either; says what was tried how often.
        ModelCorruptError: as above, because what arrived was damaged each time.
    """
    damaged = 0
    for tried, pause_s in enumerate((*pauses_s, None), start=1):
        try:
            return call()
        except TransientError as error:
            damaged += isinstance(error, DamagedError)
            if pause_s is None or damaged > _DAMAGED or (stop and stop.is_set()):
                kind = ModelCorruptError if isinstance(error, DamagedError) else StorageError
                raise kind(f"{what}: {error} (tried {tried} times)") from None  # its cause may hold secrets
            wait_s = max(pause_s * random.uniform(0.5, 1.0), error.retry_after_s)  # noqa: S311 - spreads load only
            logger.info("%s: %s; again in %.1f s", what, error, wait_s)
            (stop or threading.Event()).wait(wait_s)
    raise AssertionError("unreachable: the last round returns or raises")


def seconds(retry_after: str | None) -> float:
    """The value of a Retry-After header; 0 for none, and for a date, which the storage services do not send."""
    return float(retry_after) if retry_after and retry_after.strip().isdigit() else 0.0
