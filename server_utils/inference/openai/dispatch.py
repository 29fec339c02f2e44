"""Rows in, answers out: requests in flight across Arrow batches, answered in order. Executors.

Each task keeps as many rows in flight as its servers can use. A row that takes long holds back those behind it only in
the order of the answers: the next ones, and those of the next batches, are sent meanwhile.
"""

from __future__ import annotations

import random
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
from server_utils.inference.openai.chat_messages import conversation
from server_utils.inference.openai.client import DiedError, RefusedError, TimedOutError
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.request import NOTHING, Answer, CompletionRequest, Endpoint

_THREADS = 128  # requests in flight per worker
_AHEAD_BYTES = 64 << 20  # of input that is held while an early row is not answered
_AHEAD_LIMITS = 32  # of rows: a row may take so many times as long as the others before they wait for it
_WAKE_S = 0.25


@dataclass(frozen=True)
class Row:
    """A row to send: where its answer belongs, and its prompt."""

    batch: Batch
    number: int
    prompt: Any


class Batch:
    """One Arrow batch and the answers it has so far."""

    def __init__(self, size: int, first: int, bytes_held: int) -> None:
        """first: the number of the first row in its partition."""
        self.first, self.bytes_held = first, bytes_held
        self.answers: list[Answer] = [NOTHING] * size
        self.unanswered = 0


class PendingBatches:
    """The batches that were read and not yet returned, in order."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._rows_read = 0

    def add(self, texts: pa.Array) -> Batch:
        """The next batch."""
        batch = Batch(len(texts), self._rows_read, texts.nbytes)
        self._batches.append(batch)
        self._rows_read += len(texts)
        return batch

    def pop_ready(self) -> Iterator[Batch]:
        """The batches at the front whose rows all have answers."""
        while self._batches and not self._batches[0].unanswered:
            yield self._batches.popleft()

    def are_empty(self) -> bool:
        """Whether all were returned."""
        return not self._batches

    def leave_room(self, limit: int) -> bool:
        """Whether another batch may be read. limit: rows in flight, at most."""
        if not self._batches:
            return True
        unanswered = sum(batch.unanswered for batch in self._batches)
        rows, held = sum(len(batch.answers) for batch in self._batches), sum(b.bytes_held for b in self._batches)
        most_rows = _AHEAD_LIMITS * limit + len(self._batches[0].answers)
        return unanswered < limit and rows < most_rows and held < _AHEAD_BYTES


def answers(
    request: CompletionRequest,
    connections: Sequence[Connection],
    batches: Iterator[pa.Array],
    to_column: Callable[[CompletionRequest, Sequence[Answer]], pa.Array],
) -> Iterator[pa.Array]:
    """A column of answers per batch of text or of conversations, in order; runs in a task.

    to_column: makes the Arrow column of a batch's answers.

    Raises:
        InferenceError: a row has no answer and on_error is "raise"; names the row.
        ServerUnavailableError, ServerStartError: there is no server to send to.
    """
    with Dispatcher(request, connections) as dispatcher:
        for batch in dispatcher.answered(batches):
            yield to_column(request, batch.answers)


class Dispatcher:
    """The requests of one column in one task."""

    def __init__(self, request: CompletionRequest, connections: Sequence[Connection]) -> None:
        self._request = request
        # Tasks begin with different servers of their executor: where each has few rows, all would use the first one.
        self._connections = random.sample(connections, len(connections))
        self._policy = row_errors.RowErrorPolicy(request)
        self._pending = PendingBatches()
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._threads = futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="sidecar")

    def __enter__(self) -> Self:
        for connection in self._connections:
            connection.counters.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in self._connections:
            connection.counters.finish()

    def answered(self, batches: Iterator[pa.Array]) -> Iterator[Batch]:
        """The batches with their answers, in order. Reads ahead while early rows are unanswered."""
        for texts in batches:
            batch = self._pending.add(texts)
            rows = deque(self._rows(batch, texts))
            batch.unanswered = len(rows)
            while rows:
                yield from self._ready_until(self._has_capacity)
                self._send(rows)
            yield from self._ready_until(self._may_read)
        yield from self._ready_until(self._pending.are_empty)

    def _ready_until(self, condition: Callable[[], bool]) -> Iterator[Batch]:
        """The batches that become ready until the condition holds; waits for answers where none is."""
        self._raise_failure()
        yield from self._pending.pop_ready()
        while not condition():
            self._wait()
            yield from self._pending.pop_ready()

    def _has_capacity(self) -> bool:
        return any(connection.capacity for connection in self._connections)

    def _may_read(self) -> bool:
        return self._pending.leave_room(sum(connection.limit.rows for connection in self._connections))

    def _wait(self) -> None:
        """Wait until a row is answered, for a quarter of a second at most."""
        with self._changed:
            if self._failure is None:
                self._changed.wait(_WAKE_S)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _rows(self, batch: Batch, texts: pa.Array) -> Iterator[Row]:
        """The rows to send; the others are answered here and now."""
        for number, raw in enumerate(texts.cast(pa.binary()).to_pylist()):
            prompt, problem = self._prompt(raw)
            if problem:
                batch.answers[number] = self._policy.refuse(problem, batch.first + number)
            elif prompt is not None:
                yield Row(batch, number, prompt)

    def _prompt(self, raw: bytes | None) -> tuple[Any, str | None]:
        """What to send for a row, and what is wrong with it; (None, None) where there is nothing to send."""
        if raw is None:
            return None, None
        text = utf8.read(raw)
        if text is None:
            return None, utf8.PROBLEM
        return conversation(text) if self._request.endpoint is Endpoint.CHAT else (text, None)

    def _send(self, rows: deque[Row]) -> None:
        """Send the first of the rows over the connection with the most capacity."""
        connection = max(self._connections, key=lambda each: each.capacity)
        most = min(self._request.rows_per_request, connection.limit.rows_per_request, connection.capacity, len(rows))
        sent = [rows.popleft() for _ in range(most)]
        if sent:
            with self._changed:
                connection.in_flight += len(sent)
            self._submit(connection, sent)

    def _submit(self, connection: Connection, rows: list[Row], *, exclusive: bool = False) -> None:
        """Send in a thread. An unexpected error there ends the job, so that no row waits for ever."""
        future = self._threads.submit(self._complete, connection, rows, exclusive=exclusive)
        future.add_done_callback(lambda done: None if done.cancelled() else self._fail(done.exception()))

    def _complete(self, connection: Connection, rows: list[Row], *, exclusive: bool) -> None:
        """Send one request, in a thread. A refused one is halved until the rows at fault are alone."""
        try:
            replies = self._replies(connection, rows, exclusive=exclusive)
        except (RefusedError, TimedOutError, DiedError) as error:
            if fault := row_errors.callers_fault(self._request, error):
                raise fault from error
            if len(rows) > 1 or (isinstance(error, DiedError) and not exclusive):
                self._submit_parts(connection, rows, error)
                return
            replies = [row_errors.of_error(self._request, error)]
        self._store(connection, rows, replies)

    def _replies(self, connection: Connection, rows: list[Row], *, exclusive: bool) -> list[Answer]:
        prompts = [row.prompt for row in rows]
        path, body = openai_request.path(self._request, len(prompts)), openai_request.body(self._request, prompts)
        reply = connection.client.send(path, body, exclusive=exclusive)  # a fault in our own body is no row's fault
        try:
            return openai_request.replies(self._request, reply, len(prompts))
        except (KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"the server's answer cannot be read: {type(error).__name__}: {error}") from error

    def _submit_parts(self, connection: Connection, rows: list[Row], error: InferenceError) -> None:
        """Send both halves; after a time-out row by row, each with its own time; after deaths row by row, alone."""
        size = (len(rows) + 1) // 2 if isinstance(error, RefusedError) else 1
        for start in range(0, len(rows), size):
            self._submit(connection, rows[start : start + size], exclusive=isinstance(error, DiedError))

    def _store(self, connection: Connection, rows: list[Row], replies: Sequence[Answer]) -> None:
        """Put the answers where they belong."""
        pairs = zip(rows, replies, strict=True)
        resolved = [self._policy.resolve(answer, row.batch.first + row.number) for row, answer in pairs]
        connection.counters.add(len(resolved), [answer.kind for answer in resolved if answer.kind])
        with self._changed:
            connection.in_flight -= len(rows)
            for row, answer in zip(rows, resolved, strict=True):
                row.batch.answers[row.number] = answer
                row.batch.unanswered -= 1
            self._changed.notify()

    def _fail(self, error: BaseException | None) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify()
