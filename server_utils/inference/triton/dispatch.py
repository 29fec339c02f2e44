"""Rows in, answers out: requests in flight across Arrow batches, answered in the order of the rows. Executors.

`predict_batch_udf` waits for the slowest row of each batch. Here the next batch is read while answers are awaited.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent import futures

import numpy as np
import pyarrow as pa

from server_utils.errors import InferenceError
from server_utils.inference import row_errors
from server_utils.inference.triton.connections import Connection, Request, worker_connection
from server_utils.inference.triton.tensors import Array, Rows, to_arrow, wrong_answers

_REQUEST_BYTES = 16 << 20  # of each input; a request of long texts is cut before it holds this much


def answers(request: Request, batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
    """One column of answers per batch of input columns, in order; runs in a task.

    Raises:
        InferenceError: a row was refused and on_error is "raise"; names the row.
        ServerUnavailableError, ServerStartError: there is no server to send to.
    """
    pending: deque[Batch] = deque()
    connection, first_row = worker_connection(request), 0
    try:
        for columns in batches:
            pending.append(Batch(request, connection, columns, first_row))
            first_row += len(columns[0])
            while pending:
                in_flight = [each for batch in pending for each in batch.requests if not each.done()]
                if pending[0].done():
                    yield pending.popleft().column()
                elif len(in_flight) >= request.window or len(pending) > request.window:
                    futures.wait(in_flight, return_when=futures.FIRST_COMPLETED)
                else:
                    break
        while pending:
            yield pending.popleft().column()
    finally:
        for batch in pending:
            batch.cancel()
        connection.counters.flush()


class Batch:
    """One Arrow batch: its requests, and what is wrong with its rows."""

    def __init__(self, request: Request, connection: Connection, columns: Sequence[pa.Array], first_row: int) -> None:
        """Send the rows that can be sent. first_row: the number of the first one in its partition."""
        self._request, self._connection = request, connection
        self._first_row, self._size = first_row, len(columns[0])
        model = request.model
        self._inputs = [
            Rows(column, tensor, empty=model.takes_empty(tensor))
            for column, tensor in zip(columns, model.inputs, strict=True)
        ]
        self._errors: dict[int, str] = {}
        self.requests = [connection.threads.submit(self._send, numbers) for numbers in self._split(self._sound_rows())]

    def done(self) -> bool:
        """Whether all answers are there."""
        return all(request.done() for request in self.requests)

    def cancel(self) -> None:
        """Send no more requests."""
        for request in self.requests:
            request.cancel()

    def column(self) -> pa.Array:
        """The answers, once they are all there; null where there is none."""
        parts = [part for request in self.requests for part in request.result()]
        values = to_arrow(parts, self._size, self._request.output)
        if self._request.on_error != "struct":
            return values
        errors = pa.array([self._errors.get(number) for number in range(self._size)], pa.string())
        return pa.StructArray.from_arrays([values, errors], ["value", "error"])

    def _sound_rows(self) -> Array:
        """The numbers of the rows that can be sent: no input is null, and none has an error."""
        sound = np.ones(self._size, dtype=bool)
        for rows in self._inputs:
            sound &= ~rows.null
        for rows in self._inputs:
            for number, problem in rows.errors.items():
                if sound[number]:
                    sound[number] = False
                    self._refuse(number, problem)
        return np.flatnonzero(sound)

    def _split(self, numbers: Array) -> Iterator[Array]:
        """The rows of each request: neighbours of equal width, bounded in bytes and in number."""
        pieces = split_by_width(numbers, [rows.widths for rows in self._inputs])
        for rows in self._inputs:
            pieces = [part for piece in pieces for part in split_by_bytes(piece, rows.sizes, _REQUEST_BYTES)]
        for piece in pieces:
            if len(piece):
                yield from np.array_split(piece, math.ceil(len(piece) / self._connection.batch_size.rows))

    def _send(self, numbers: Array) -> list[tuple[Array, Array]]:
        """Send one request. A refused one is halved until the rows at fault are alone."""
        began = time.monotonic()
        try:
            outputs = self._connection.client.infer([rows.take(numbers) for rows in self._inputs])
        except InferenceError as error:
            if len(numbers) == 1:
                self._refuse(int(numbers[0]), f"was refused: {error}")
                return []
            half = len(numbers) // 2
            return self._send(numbers[:half]) + self._send(numbers[half:])
        self._connection.batch_size.record(len(numbers), time.monotonic() - began)
        names = [tensor.name for tensor in self._request.model.outputs]
        return [self._valid(numbers, outputs[names.index(self._request.output.name)])]

    def _valid(self, numbers: Array, answers: Array) -> tuple[Array, Array]:
        """Refuse the answers that the column cannot hold. Returns the other rows and answers."""
        wrong = wrong_answers(answers, self._request.output)
        for number, problem in wrong.items():
            self._refuse(int(numbers[number]), problem)
        self._connection.counters.add(len(numbers) - len(wrong), [])
        if not wrong:
            return numbers, answers
        valid = np.setdiff1d(np.arange(len(numbers)), list(wrong))
        return numbers[valid], answers[valid]

    def _refuse(self, number: int, problem: str) -> None:
        if self._request.on_error == "raise":
            # The message holds the engine's words: a chain of errors would show a library's traceback above it.
            raise row_errors.row_error(self._first_row + number, f" {problem}") from None
        self._connection.counters.add(1, ["refused"])
        self._errors[number] = problem


def split_by_width(numbers: Array, widths: Sequence[Array]) -> list[Array]:
    """Runs of neighbours that have the same width in every input: rows of one request must agree.

    numbers: ascending row numbers. widths: for each input, elements per row.
    """
    changes = np.zeros(max(len(numbers) - 1, 0), dtype=bool)
    for each in widths:
        changes |= np.diff(each[numbers]) != 0
    return np.split(numbers, np.flatnonzero(changes) + 1)


def split_by_bytes(numbers: Array, sizes: Array, most: int) -> list[Array]:
    """Pieces of less than `most` bytes, not counting the first row of each.

    numbers: ascending row numbers. sizes: bytes per row.
    """
    piece_of_row = np.cumsum(sizes[numbers]) // most  # by where the row ends
    return np.split(numbers, np.flatnonzero(np.diff(piece_of_row)) + 1)
