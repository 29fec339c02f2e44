"""Rows in, answers out: a window of requests in flight across Arrow batches. Executors.

`predict_batch_udf` waits for the slowest row of each batch. Here the next batch is read while answers are awaited;
answers leave in the order of the rows.
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
from server_utils.inference.triton.connections import Connection, Request, connection
from server_utils.inference.triton.tensors import Array, Rows, to_arrow, wrong_answers

_REQUEST_BYTES = 16 << 20  # a request of long texts is cut before it holds this much


def answers(request: Request, batches: Iterator[Sequence[pa.Array]]) -> Iterator[pa.Array]:
    """One column of answers per batch of input columns, in order; runs in a task.

    Raises:
        InferenceError: a row was refused and on_error is "raise"; names the row.
        ServerUnavailableError, ServerStartError: there is no server to ask.
    """
    pending: deque[Batch] = deque()
    kept, first = connection(request), 0
    try:
        for columns in batches:
            pending.append(Batch(request, kept, columns, first))
            first += len(columns[0])
            while pending:
                busy = [asked for batch in pending for asked in batch.asked if not asked.done()]
                if pending[0].done():
                    yield pending.popleft().column()
                elif len(busy) >= request.window or len(pending) > request.window:
                    futures.wait(busy, return_when=futures.FIRST_COMPLETED)
                else:
                    break
        while pending:
            yield pending.popleft().column()
    finally:
        for batch in pending:
            batch.cancel()
        kept.counters.flush()


class Batch:
    """One Arrow batch on its way: its requests, and what is wrong with its rows."""

    def __init__(self, request: Request, kept: Connection, columns: Sequence[pa.Array], first: int) -> None:
        """Send the rows that can be sent. first: the number of the first row in its partition."""
        self._request, self._first, self._size = request, first, len(columns[0])
        self._connection = kept
        model = request.model
        self._inputs = [
            Rows(column, tensor, empty=model.takes_empty(tensor))
            for column, tensor in zip(columns, model.inputs, strict=True)
        ]
        self._errors: dict[int, str] = {}
        send = np.ones(self._size, dtype=bool)
        for rows in self._inputs:
            send &= ~rows.null
        for rows in self._inputs:
            for number, problem in rows.errors.items():
                if send[number]:
                    send[number] = False
                    self._refuse(number, problem)
        self.asked = [
            self._connection.threads.submit(self._ask, numbers) for numbers in self._requests(np.flatnonzero(send))
        ]

    def done(self) -> bool:
        """Whether all answers are there."""
        return all(asked.done() for asked in self.asked)

    def cancel(self) -> None:
        """Give up what was not sent yet."""
        for asked in self.asked:
            asked.cancel()

    def column(self) -> pa.Array:
        """The answers, once they are all there; null where there is none."""
        parts = [part for asked in self.asked for part in asked.result()]
        values = to_arrow(parts, self._size, self._request.output)
        if self._request.on_error != "struct":
            return values
        errors = pa.array([self._errors.get(number) for number in range(self._size)], pa.string())
        return pa.StructArray.from_arrays([values, errors], ["value", "error"])

    def _requests(self, numbers: Array) -> Iterator[Array]:
        """The rows in requests of about one size: neighbours of equal width, bounded in rows and bytes."""
        if not len(numbers):
            return
        cut = np.zeros(len(numbers) - 1, dtype=bool)
        for rows in self._inputs:
            cut |= np.diff(rows.widths[numbers]) != 0
            cut |= np.diff(np.cumsum(rows.sizes[numbers]) // _REQUEST_BYTES) != 0
        for run in np.split(numbers, np.flatnonzero(cut) + 1):
            yield from np.array_split(run, math.ceil(len(run) / self._connection.pace.rows))

    def _ask(self, numbers: Array) -> list[tuple[Array, Array]]:
        """One request; one that is refused is halved until the rows to blame are found."""
        began = time.monotonic()
        try:
            found = self._connection.client.infer([rows.take(numbers) for rows in self._inputs])
        except InferenceError as error:
            if len(numbers) == 1:
                self._refuse(int(numbers[0]), f"was refused: {error}")
                return []
            half = len(numbers) // 2
            return self._ask(numbers[:half]) + self._ask(numbers[half:])
        self._connection.pace.answered(len(numbers), time.monotonic() - began)
        names = [tensor.name for tensor in self._request.model.outputs]
        return [self._answered(numbers, found[names.index(self._request.output.name)])]

    def _answered(self, numbers: Array, answers: Array) -> tuple[Array, Array]:
        """Those rows and answers that can go into the column; the others are refused."""
        wrong = wrong_answers(answers, self._request.output)
        for number, problem in wrong.items():
            self._refuse(int(numbers[number]), problem)
        self._connection.counters.add(len(numbers) - len(wrong), [])
        if not wrong:
            return numbers, answers
        fine = np.setdiff1d(np.arange(len(numbers)), list(wrong))
        return numbers[fine], answers[fine]

    def _refuse(self, number: int, problem: str) -> None:
        if self._request.on_error == "raise":
            # The message holds the engine's words: a chain of errors would show a library's traceback above it.
            raise row_errors.row_error(self._first + number, f" {problem}") from None
        self._connection.counters.add(1, ["refused"])
        self._errors[number] = problem
