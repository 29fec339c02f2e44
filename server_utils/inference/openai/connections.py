"""The ways from a Python worker to the servers of its executor, kept from task to task. Executors."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from server_utils.inference import request_counters
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.concurrency import Window
from server_utils.inference.openai.request import Question
from server_utils.inference.request_counters import Tally
from server_utils.servers import gpu_assignment, lifecycle
from server_utils.spark.executors import here

_lanes: dict[tuple[str, str], list[Lane]] = {}  # of this Python worker, by name and launch; it has many tasks


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
    place, launch = here(), question.launch
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
