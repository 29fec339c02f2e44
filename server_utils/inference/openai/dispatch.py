"""Rows in, answers out: a window of requests in flight across Arrow batches, answered in order. Executors.

Each task keeps as many rows in flight as its servers can use. A row that takes long holds back those behind it only in
the order of the answers: the next ones, and those of the next batches, are asked meanwhile.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from server_utils.errors import InferenceError
from server_utils.inference import utf8
from server_utils.inference.openai import request as openai_request
from server_utils.inference.openai import row_errors
from server_utils.inference.openai.client import DiedError, RefusedError, TimedOutError
from server_utils.inference.openai.connections import Lane
from server_utils.inference.openai.request import NOTHING, Answer, Kind, Question

_THREADS = 128  # requests in flight per worker
_AHEAD_BYTES = 64 << 20  # of input that is held while an early row is not answered
_AHEAD_WINDOWS = 32  # of rows: a row may take so many times as long as the others before they wait for it
_WAKE_S = 0.25


@dataclass(frozen=True)
class Row:
    """A row on its way: where its answer belongs, and what is asked."""

    batch: Batch
    number: int
    prompt: Any


class Batch:
    """One Arrow batch and the answers it has so far."""

    def __init__(self, size: int, first: int, bytes_held: int) -> None:
        """first: the number of the first row in its partition."""
        self.first, self.bytes_held = first, bytes_held
        self.answers: list[Answer] = [NOTHING] * size
        self.left = 0


def answers(
    question: Question,
    lanes: Sequence[Lane],
    batches: Iterator[pa.Array],
    column: Callable[[Question, Sequence[Answer]], pa.Array],
) -> Iterator[pa.Array]:
    """A column of answers per batch of text or of conversations, in order; runs in a task.

    lanes: to the servers that are asked. column: makes the Arrow column of a batch's answers.

    Raises:
        InferenceError: a row has no answer and on_error is "raise"; names the row.
        ServerUnavailableError, ServerStartError: there is no server to ask.
    """
    pending: deque[Batch] = deque()
    first = 0
    with Asker(question, lanes) as asker:

        def ready(*, until: Callable[[], bool]) -> Iterator[pa.Array]:
            while pending and (not pending[0].left or not until()):
                if pending[0].left:
                    asker.wait()
                else:
                    yield column(question, pending.popleft().answers)

        for texts in batches:
            batch = Batch(len(texts), first, texts.nbytes)
            pending.append(batch)
            first += len(texts)
            rows = deque(asker.rows(batch, texts))
            batch.left = len(rows)
            while rows:
                yield from ready(until=asker.has_room)
                asker.send(rows)
            yield from ready(until=lambda: asker.may_read(pending))
        yield from ready(until=lambda: False)


class Asker:
    """The requests of one column in one task."""

    def __init__(self, question: Question, lanes: Sequence[Lane]) -> None:
        self._question, self._lanes = question, lanes
        self._judge = row_errors.Judge(question)
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._threads = futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="sidecar")

    def __enter__(self) -> Self:
        for lane in self._lanes:
            lane.tally.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for lane in self._lanes:
            lane.tally.finish()

    def rows(self, batch: Batch, texts: pa.Array) -> Iterator[Row]:
        """The rows that are asked; the others are answered here and now."""
        for number, raw in enumerate(texts.cast(pa.binary()).to_pylist()):
            prompt, problem = None if raw is None else utf8.read(raw), None
            if raw is not None and prompt is None:
                problem = utf8.PROBLEM
            elif self._question.kind is Kind.CHAT and prompt is not None:
                prompt, problem = openai_request.conversation(prompt)
            if problem:
                batch.answers[number] = self._judge.refused(problem, batch.first + number)
            elif prompt is not None:
                yield Row(batch, number, prompt)

    def has_room(self) -> bool:
        """Whether a request may be sent. Raises what ended the job in the meantime."""
        if self._failure is not None:
            raise self._failure
        return any(lane.room for lane in self._lanes)

    def may_read(self, pending: Sequence[Batch]) -> bool:
        """Whether another batch may be read while these wait for answers."""
        if self._failure is not None:
            raise self._failure
        window = sum(lane.window.limit for lane in self._lanes)
        rows, held = sum(batch.left for batch in pending), sum(batch.bytes_held for batch in pending)
        waiting = sum(len(batch.answers) for batch in pending)
        return rows < window and waiting < _AHEAD_WINDOWS * window + len(pending[0].answers) and held < _AHEAD_BYTES

    def wait(self) -> None:
        """Until something was answered, or a moment."""
        with self._changed:
            if self._failure is None:
                self._changed.wait(_WAKE_S)
        if self._failure is not None:
            raise self._failure

    def send(self, rows: deque[Row]) -> None:
        """Send the first of the rows by the emptiest lane."""
        lane = max(self._lanes, key=lambda lane: lane.room)
        most = lane.window.rows_per_request if self._question.many else 1
        request = [rows.popleft() for _ in range(min(most, lane.room, len(rows)))]
        if not request:
            return
        with self._changed:
            lane.in_flight += len(request)
        self._submit(lane, request)

    def _submit(self, lane: Lane, request: list[Row], *, alone: bool = False) -> None:
        """Ask in a thread; whatever ends it early ends the job: no row may wait for ever."""
        asked = self._threads.submit(self._ask, lane, request, alone=alone)
        asked.add_done_callback(lambda done: None if done.cancelled() else self._fail(done.exception()))

    def _ask(self, lane: Lane, request: list[Row], *, alone: bool) -> None:
        """One request, in a thread of its own; one that is refused is halved until the rows to blame are found."""
        try:
            found = self._replies(lane, request, alone=alone)
        except (RefusedError, TimedOutError, DiedError) as error:
            if fault := row_errors.callers_fault(self._question, error):
                raise fault from error
            if len(request) > 1 or (isinstance(error, DiedError) and not alone):
                self._ask_parts(lane, request, error)
                return
            found = [row_errors.of_error(error)]
        self._settle(lane, request, found)

    def _replies(self, lane: Lane, request: list[Row], *, alone: bool) -> list[Answer]:
        prompts = [row.prompt for row in request]
        where, body = openai_request.path(self._question, len(prompts)), openai_request.body(self._question, prompts)
        reply = lane.client.ask(where, body, alone=alone)  # whatever is wrong with our own words is no row's fault
        try:
            return openai_request.replies(self._question, reply, len(prompts))
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"the server's answer cannot be read: {type(error).__name__}: {error}") from error

    def _ask_parts(self, lane: Lane, request: list[Row], error: InferenceError) -> None:
        """In halves, side by side; after a time-out or deaths row by row: with time, or the server, to itself."""
        size = (len(request) + 1) // 2 if isinstance(error, RefusedError) else 1
        for start in range(0, len(request), size):
            self._submit(lane, request[start : start + size], alone=isinstance(error, DiedError))

    def _settle(self, lane: Lane, request: list[Row], found: Sequence[Answer]) -> None:
        """Put the answers where they belong."""
        pairs = zip(request, found, strict=True)
        final = [self._judge.final(answer, row.batch.first + row.number) for row, answer in pairs]
        lane.tally.add(len(final), [answer.kind for answer in final if answer.kind])
        with self._changed:
            lane.in_flight -= len(request)
            for row, answer in zip(request, final, strict=True):
                row.batch.answers[row.number] = answer
                row.batch.left -= 1
            self._changed.notify()

    def _fail(self, error: BaseException | None) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify()
