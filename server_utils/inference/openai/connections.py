"""Connections to this executor's servers, cached between tasks, each with a concurrency limit. Executors."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from server_utils.inference import executor_servers, request_counters
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.request import CompletionRequest
from server_utils.inference.request_counters import RequestCounters
from server_utils.inference.worker_cache import WorkerCache


@dataclass
class Connection:
    """One server as a column uses it. in_flight: rows that were sent and have no answer yet."""

    client: OpenAIClient
    limit: ConcurrencyLimit
    counters: RequestCounters
    in_flight: int = 0

    @property
    def capacity(self) -> int:
        """Rows that may be sent now."""
        return self.limit.capacity(self.in_flight)


_cache: WorkerCache[list[Connection]] = WorkerCache()


def connections(request: CompletionRequest) -> list[Connection]:
    """This worker's connections to the servers of its executor.

    Raises:
        ServerUnavailableError, ServerStartError: a server is not there and cannot be started.
    """
    kept = _cache.get(request.launch, functools.partial(_connect, request))
    return [
        Connection(each.client.within(request.timeout_s), each.limit.at_most(request.window), each.counters)
        for each in kept
    ]


def _connect(request: CompletionRequest) -> list[Connection]:
    return [_connection(request, replica) for replica in range(request.launch.replicas)]


def _connection(request: CompletionRequest, replica: int) -> Connection:
    locate = functools.partial(executor_servers.ready_server, request.launch, replica)
    client = OpenAIClient(locate, timeout_s=request.timeout_s, key=request.key, dialect=request.dialect)
    folder = client.server().folder
    return Connection(client, ConcurrencyLimit(folder, request.dialect), request_counters.of(folder))
