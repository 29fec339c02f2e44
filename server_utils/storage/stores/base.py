"""What every place for models can do, and how a request to one is retried. Driver and executors.

A store is one folder: all keys are relative to it. It raises the signals below and translates every error of its
client into them or into a `StorageError`. It never retries by itself: `retry_until` is the one place that does.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Protocol, TypeVar

from server_utils.errors import ModelCorruptError, StorageError
from server_utils.host.deadline import Clock, Deadline

logger = logging.getLogger(__name__)
_T = TypeVar("_T")
_RETRY_S = 20.0  # after the first failure: a transfer may take hours before it
_TRIES = 4  # at least: each may last a minute until it times out
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


def retry_until(
    deadline: Callable[[], Deadline],
    call: Callable[[], _T],
    *,
    pauses_s: Iterator[float],
    before_pause: Callable[[TransientError, float], None],
) -> _T:
    """Call until it works or the deadline is over. All retries of storage and of clouds are made here.

    Args:
        deadline: is called after a failure, so a deadline may begin with the first one and not with a long transfer.
        call: raises TransientError if a retry may work.
        pauses_s: seconds to wait before each retry, without an end; the server may ask for more.
        before_pause: gets each failure and the seconds until the retry; it raises the failure to give up.

    Raises:
        TransientError: the last failure.
    """
    for pause_s in pauses_s:
        try:
            return call()
        except TransientError as error:
            if deadline().is_over:
                raise
            wait_s = max(pause_s, error.retry_after_s)
            before_pause(error, wait_s)
            deadline().clock.pause(wait_s)
    raise AssertionError("unreachable: pauses_s has no end")


def growing_pauses(first_s: float, *, longest_s: float) -> Iterator[float]:
    """Yield pauses that double up to the longest one, without an end."""
    pause_s = first_s
    while True:
        yield pause_s
        pause_s = min(2 * pause_s, longest_s)


def retry(call: Callable[[], _T], *, what: str, stop: threading.Event | None = None, clock: Clock | None = None) -> _T:
    """Call until it works: four times at least, and for 20 seconds after the first failure.

    Args:
        call: raises TransientError if a retry may work.
        what: the step, for the message.
        stop: is set if the failure of another thread makes the retry pointless.
        clock: of the wait; None waits for `stop`.

    Raises:
        StorageError: it did not work the last time either; the message says how often and how long it was tried.
        ModelCorruptError: as above, because the data arrived damaged each time.
    """
    stopped = stop or threading.Event()
    begun = cache(lambda: Deadline.after(clock or Clock(pause=stopped.wait), _RETRY_S))
    tries = damaged = 0

    def deadline() -> Deadline:
        return begun() if tries >= _TRIES else replace(begun(), limit_s=math.inf)

    def counted() -> _T:
        nonlocal tries
        tries += 1
        return call()

    def before_pause(error: TransientError, wait_s: float) -> None:
        nonlocal damaged
        damaged += isinstance(error, DamagedError)
        if damaged > _DAMAGED or stopped.is_set():
            raise error
        logger.info("%s: %s; again in %.1f s", what, error, wait_s)

    # The random part spreads the load of many executors.
    pauses_s = (each * random.uniform(0.5, 1.0) for each in growing_pauses(0.2, longest_s=6.4))  # noqa: S311
    try:
        return retry_until(deadline, counted, pauses_s=pauses_s, before_pause=before_pause)
    except TransientError as error:
        kind = ModelCorruptError if isinstance(error, DamagedError) else StorageError
        message = f"{what}: {error} (tried {tries} times in {begun().elapsed_s:.0f} s)"
        raise kind(message) from None  # its cause may hold secrets


def seconds(retry_after: str | None) -> float:
    """The value of a Retry-After header; 0 for none, and for a date, which the storage services do not send."""
    return float(retry_after) if retry_after and retry_after.strip().isdigit() else 0.0
