"""How many rows are in flight: more while the server could do more, an equal share once its queue is long."""

from __future__ import annotations

import json
import os

import pytest

from server_utils.host.processes import ProcessId
from server_utils.inference import request_counters
from server_utils.inference.openai.connections import Window
from server_utils.inference.request_counters import RequestCounters


class Metrics:
    """What the server says of itself, a little later each time."""

    def __init__(self, folder):
        self.file, self.at = folder / "metrics.json", 0.0

    def say(self, **values):
        self.at += 1
        self.file.write_text(json.dumps({"at": self.at, "running": 0, "waiting": 0} | values))


@pytest.fixture
def metrics(tmp_path):
    return Metrics(tmp_path)


def look(window, in_flight):
    """A look that is not put off because the last one was a moment ago."""
    window._looked = -1.0
    return window.room(in_flight)


def test_a_window_that_is_full_doubles_while_nothing_waits(tmp_path, metrics):
    window = Window(tmp_path)
    first = window.limit
    look(window, first)
    metrics.say(running=first, waiting=0)

    assert look(window, first) == first
    assert window.limit == 2 * first


def test_a_window_that_is_not_used_stays_as_it_is(tmp_path, metrics):
    window = Window(tmp_path)
    first = window.limit
    metrics.say(running=3, waiting=0)
    look(window, 3)

    assert window.limit == first


def test_one_word_of_the_server_counts_once(tmp_path, metrics):
    window = Window(tmp_path)
    look(window, window.limit)
    metrics.say(running=9)
    look(window, window.limit)
    after = window.limit
    for _ in range(5):
        look(window, window.limit)

    assert window.limit == after


def test_a_long_queue_brings_it_down_to_an_equal_share_of_what_is_there(tmp_path, metrics):
    tallies = [RequestCounters(tmp_path)]
    for each in tallies:
        each.begin()
    others = [_another_worker(tmp_path) for _ in range(3)]
    window = Window(tmp_path)
    window.limit = 1000
    for _ in range(20):
        metrics.say(running=128, waiting=1000)
        look(window, window.limit)

    assert window.limit == (128 + 1000) // 4
    assert len(others) == 3


def _another_worker(folder):
    """The file of a process that lives as long as this one: its parent, by several names of it."""
    me = ProcessId.of(os.getpid())
    number = len(list((folder / "workers").iterdir()))
    file = folder / "workers" / f"{me.pid:0{8 + number}d}-{me.started}.json"
    file.write_text(json.dumps({"active": 1, "rows": 0, "errors": {}}))
    return file


def test_it_is_never_more_than_the_user_allows_nor_less_than_a_few(tmp_path, metrics):
    window = Window(tmp_path).at_most(20)
    for _ in range(9):
        look(window, window.limit)
        metrics.say(running=20)
        look(window, window.limit)
    assert window.limit == 20
    for _ in range(50):
        metrics.say(running=1, waiting=10_000)
        window.limit = min(window.limit, 11)
        look(window, 20)
    assert window.limit >= 8


def test_requests_are_sent_whole_or_not_at_all(tmp_path):
    window = Window(tmp_path)
    size = window.rows_per_request

    assert window.room(window.limit - size) == size
    assert window.room(window.limit - size + 1) == 0


def test_the_dead_do_not_take_a_share(tmp_path):
    RequestCounters(tmp_path).begin()
    (tmp_path / "workers" / "1-1.json").write_text(json.dumps({"active": 5, "rows": 7, "errors": {"refused": 2}}))

    assert request_counters.active(tmp_path) == 1
    assert request_counters.totals(tmp_path) == {"rows": 7, "errors": {"refused": 2}}
