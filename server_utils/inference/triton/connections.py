"""What a column function requests from a Triton server, and this worker's connection for it, with its batch size.

`Request` is made on the driver; everything else runs on executors.
"""

from __future__ import annotations

import functools
import sys
from concurrent import futures
from dataclasses import dataclass

from server_utils.errors import ConfigurationError
from server_utils.inference import executor_servers, request_counters, row_errors
from server_utils.inference.request_counters import RequestCounters
from server_utils.inference.row_errors import OnError
from server_utils.inference.triton.client import TritonClient
from server_utils.inference.triton.model import Model, Tensor, spark_type
from server_utils.inference.worker_cache import WorkerCache
from server_utils.servers.launch import Launch

_FIRST_ROWS = 1024
_QUICK_S, _SLOW_S = 0.1, 1.0
_FACTOR = 2  # by which a batch size grows and shrinks


@dataclass(frozen=True)
class Request:
    """What a column function requests, and from which server.

    Attributes:
        output: the output that becomes the column.
        timeout_s: seconds for one request, at each server that takes over after a death; not counted while it starts.
        window: requests in flight per task.
        batch_rows: rows of one request at most, as is the model's own limit; None adapts them, see `AdaptiveBatchSize`.
    """

    launch: Launch
    model: Model
    output: Tensor
    on_error: OnError
    timeout_s: float
    window: int
    batch_rows: int | None

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises ConfigurationError."""
        row_errors.check_on_error(self.on_error)
        for name in ("timeout_s", "window", "batch_rows"):
            value = getattr(self, name)
            if not (value is None and name == "batch_rows") and not value > 0:
                raise ConfigurationError(f"{name} must be more than 0; it is {value!r}")
        for tensor in self.model.inputs:
            tensor.check_rows()

    @property
    def spark_type(self) -> str:
        """The type of the column."""
        return row_errors.column_type(spark_type(self.output), self.on_error)

    def batch_size(self) -> AdaptiveBatchSize:
        """Rows of its requests; one where the model takes no batches."""
        most = min(self.batch_rows or sys.maxsize, self.model.max_batch_size or 1)
        return AdaptiveBatchSize(min(self.batch_rows or _FIRST_ROWS, most), most)


@dataclass(frozen=True)
class Connection:
    """What a Python worker keeps between tasks: a client with its sockets, and threads that wait for answers.

    batch_size: rows of a request. counters: of the rows that were answered.
    """

    client: TritonClient
    threads: futures.ThreadPoolExecutor
    batch_size: AdaptiveBatchSize
    counters: RequestCounters

    def close(self) -> None:
        """Take no more requests."""
        self.threads.shutdown(wait=False)


_connections = WorkerCache(Connection.close)


def worker_connection(request: Request) -> Connection:
    """This worker's connection for a request."""
    options = (request.model.name, request.timeout_s, request.window, request.batch_rows)
    return _connections.get(request.launch, functools.partial(_connect, request), options=options)


def _connect(request: Request) -> Connection:
    locate = functools.partial(executor_servers.ready_server, request.launch)
    return Connection(
        TritonClient(locate, request.model, timeout_s=request.timeout_s),
        futures.ThreadPoolExecutor(request.window, thread_name_prefix="sidecar"),
        request.batch_size(),
        request_counters.of(executor_servers.server_folder(request.launch)),
    )


class AdaptiveBatchSize:
    """The rows of a request, by the time that answers take.

    A request costs Triton and its client some 5 ms of processor time, however few rows it holds. A quick model should
    not pay that more often than it must. In a request to a slow model the last rows must not miss their deadline.

    Attributes:
        rows: of the next request, at most.
    """

    def __init__(self, least: int, most: int) -> None:
        """Begin with `least`."""
        self._least, self._most = least, most
        self.rows = least

    def record(self, rows: int, seconds: float) -> None:
        """A request of so many rows was answered in so many seconds."""
        self.rows = next_limit(self.rows, rows, seconds, least=self._least, most=self._most)


def next_limit(limit: int, rows: int, seconds: float, *, least: int, most: int) -> int:
    """The batch size after an answer: half after a slow one, twice as many after a quick one, within the bounds.

    A request of less than half the limit tells nothing: a full one may take longer.
    """
    if seconds > _SLOW_S:
        return max(limit // _FACTOR, least)
    if seconds < _QUICK_S and rows * _FACTOR > limit:
        return min(limit * _FACTOR, most)
    return limit
