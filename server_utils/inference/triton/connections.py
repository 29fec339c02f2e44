"""What a column function asks of a Triton server, and the connections that a Python worker keeps. Executors.

The number of rows of a request grows while answers are quick and shrinks when they take long.
"""

from __future__ import annotations

import functools
import sys
from concurrent import futures
from dataclasses import dataclass
from typing import Any, Literal

from server_utils.errors import ConfigurationError
from server_utils.inference import request_counters
from server_utils.inference.request_counters import Tally
from server_utils.inference.triton.client import TritonClient
from server_utils.inference.triton.model import Model, Tensor, spark_type
from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.servers.launch import Launch, Server
from server_utils.spark.executors import current_placement

_FIRST_ROWS = 1024
OnError = Literal["raise", "null", "struct"]
_links: dict[tuple[Any, ...], Link] = {}  # of this Python worker; Spark uses it for many tasks
_QUICK_S, _SLOW_S = 0.1, 1.0


@dataclass(frozen=True)
class Request:
    """What a column function asks of which server.

    Attributes:
        output: the output that becomes the column.
        timeout_s: seconds for one request, at each server that takes over after a death; not counted while it starts.
        window: requests in flight per task.
        batch_rows: rows of one request at most, as is the model's own limit; None follows the model, see `Pace`.
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
        if self.on_error not in ("raise", "null", "struct"):
            raise ConfigurationError(f'on_error must be "raise", "null" or "struct"; it is {self.on_error!r}')
        for name in ("timeout_s", "window", "batch_rows"):
            value = getattr(self, name)
            if not (value is None and name == "batch_rows") and not value > 0:
                raise ConfigurationError(f"{name} must be more than 0; it is {value!r}")
        for tensor in self.model.inputs:
            tensor.check_rows()

    @property
    def spark_type(self) -> str:
        """The type of the column."""
        value = spark_type(self.output)
        return f"struct<value: {value}, error: string>" if self.on_error == "struct" else value

    def pace(self) -> Pace:
        """Rows of its requests; one where the model takes no batches."""
        most = min(self.batch_rows or sys.maxsize, self.model.max_batch_size or 1)
        return Pace(min(self.batch_rows or _FIRST_ROWS, most), most)


@dataclass(frozen=True)
class Link:
    """What a Python worker keeps between tasks: a client with its connections, and threads that wait for answers.

    pace: rows of a request.
    tally: of the rows that were answered.
    """

    client: TritonClient
    threads: futures.ThreadPoolExecutor
    pace: Pace
    tally: Tally


def link(request: Request) -> Link:
    """This worker's link for a request; one to an earlier launch of the same servers is given up."""
    name, launched = request.launch.name, request.launch.id
    key = (name, launched, request.model.name, request.timeout_s, request.window, request.batch_rows)
    for stale in [known for known in _links if known[0] == name and known[1] != launched]:
        _links.pop(stale).threads.shutdown(wait=False)
    if key not in _links:
        launch = request.launch
        client = TritonClient(functools.partial(_server, launch), request.model, timeout_s=request.timeout_s)
        threads = futures.ThreadPoolExecutor(request.window, thread_name_prefix="sidecar")
        counts = request_counters.of(state_dir.folder(launch.application, launch.name, current_placement().owner))
        _links[key] = Link(client, threads, request.pace(), counts)
    return _links[key]


def _server(launch: Launch) -> Server:
    """The server of this executor, started by the task that runs now if need be."""
    place = current_placement()
    environ = gpu_assignment.environment(place.gpus, launch) | dict(place.environ)
    return lifecycle.ensure(launch, place.owner, timeout_s=launch.start_timeout_s, environ=environ)


class Pace:
    """Rows of a request: twice as many as long as answers take less than 0.1 s, half as many after more than a second.

    A request costs Triton and its client some 5 ms of processor time, however few rows it holds. Models that are quick
    should not pay it more often than they must; those that are slow should not have so many rows wait in line that
    the last of them miss their deadline.

    Attributes:
        rows: of the next request, at most.
    """

    def __init__(self, least: int, most: int) -> None:
        """Begin with `least`, which is where it returns to at the slowest; `most` is never exceeded."""
        self._least, self._most = least, most
        self.rows = least

    def answered(self, rows: int, seconds: float) -> None:
        """A request of so many rows took so long. One that was much smaller than it might have been is no sign."""
        if seconds > _SLOW_S:
            self.rows = max(self.rows // 2, self._least)
        elif seconds < _QUICK_S and 2 * rows > self.rows:
            self.rows = min(2 * self.rows, self._most)
