"""Connections to this executor's servers, cached between tasks, each with a concurrency limit. Executors.

The limit is the number of rows that a task may have in flight at one server: as many as the engine can use, by the
length of its queue, in equal shares for all tasks. A server that works on everything it was sent could do more; rows
that wait in its queue gain nothing.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path

from server_utils.inference import request_counters
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.request import Question
from server_utils.inference.request_counters import Tally
from server_utils.servers import gpu_assignment, lifecycle, state_dir
from server_utils.spark.executors import current_placement

_lanes: dict[tuple[str, str], list[Lane]] = {}  # of this Python worker, by name and launch; it has many tasks
_START, _LEAST, _MOST = 128, 8, 4096
_ROWS = 32  # per request: more gain nothing over HTTP, fewer cost (measured)
_REQUESTS = 8  # in flight at least, so that a slow row holds up an eighth
_LOOK_S = 0.25


@dataclass
class Lane:
    """The way to one server. in_flight: rows that are on it."""

    client: OpenAIClient
    window: Window
    tally: Tally
    in_flight: int = 0

    @property
    def room(self) -> int:
        """Rows that may follow now."""
        return self.window.room(self.in_flight)


def lanes(question: Question) -> list[Lane]:
    """This worker's ways to the servers of its executor; those of an earlier launch are given up.

    Raises:
        ServerUnavailableError, ServerStartError: a server is not there and cannot be started.
    """
    key = (question.launch.name, question.launch.id)
    for stale in [known for known in _lanes if known[0] == key[0] and known != key]:
        _lanes.pop(stale)
    if key not in _lanes:
        _lanes[key] = [_lane(question, replica) for replica in range(question.launch.replicas)]
    return [
        Lane(lane.client.within(question.timeout_s), lane.window.at_most(question.window), lane.tally)
        for lane in _lanes[key]
    ]


def _lane(question: Question, replica: int) -> Lane:
    place, launch = current_placement(), question.launch
    locate = functools.partial(
        lifecycle.ensure,
        launch,
        place.owner,
        replica=replica,
        timeout_s=launch.start_timeout_s,
        environ=gpu_assignment.environment(place.gpus, launch, replica),
    )
    client = OpenAIClient(locate, timeout_s=question.timeout_s, key=question.key)
    folder = Path(client.server().log).parent
    return Lane(client, Window(folder), request_counters.of(folder))


class Window:
    """The bound for one server and one task. Not for several threads."""

    def __init__(self, folder: Path) -> None:
        """folder: the server's."""
        self._folder, self._most, self.limit = folder, _MOST, _START
        self._seen = self._looked = 0.0
        self._was_full = False

    def at_most(self, rows: int | None) -> Window:
        """The same, which goes on from what was learnt, with a bound that is never exceeded."""
        self._most = rows or _MOST
        self.limit = min(self.limit, self._most)
        return self

    @property
    def rows_per_request(self) -> int:
        """Rows of one request, so that several are in flight."""
        return max(1, min(_ROWS, self.limit // _REQUESTS))

    def room(self, in_flight: int) -> int:
        """Rows that may be sent now; none until there is room for a whole request."""
        self._follow()
        room = self.limit - in_flight
        is_full = room < self.rows_per_request
        self._was_full |= is_full
        return 0 if is_full else room

    def _follow(self) -> None:
        """Look at what the server says of itself, which is new about twice a second."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        found = state_dir.read_metrics(self._folder)
        if found.get("at", 0.0) > self._seen:
            self._seen = found["at"]
            self._adapt(found["running"], found["waiting"])

    def _adapt(self, running: float, waiting: float) -> None:
        """Double while nothing waits; shrink to an equal share of what is there once more waits than runs."""
        if waiting > max(running, _LEAST):
            fair = (running + waiting) / request_counters.active(self._folder)
            if self.limit > fair:
                self.limit = max(_LEAST, int(max(fair, self.limit * 0.75)))
        elif self._was_full and waiting < running / 4 + 1:
            self.limit = min(self._most, self.limit * 2)
        self._was_full = False
