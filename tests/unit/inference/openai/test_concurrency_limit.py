"""How many rows are in flight: more while the server could do more, an equal share once its queue is long."""

from __future__ import annotations

import json
import os

import pytest

from server_utils.backends.vllm.manager import DIALECT
from server_utils.host.processes import ProcessId
from server_utils.inference import request_counters
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.dialect import Dialect
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


def look(limit, in_flight):
    """A look that is not put off because the last one was a moment ago."""
    limit._read_at = -1.0
    return limit.capacity(in_flight)


def test_a_limit_that_is_full_doubles_while_nothing_waits(tmp_path, metrics):
    limit = ConcurrencyLimit(tmp_path, DIALECT)
    first = limit.rows
    look(limit, first)
    metrics.say(running=first, waiting=0)

    assert look(limit, first) == first
    assert limit.rows == 2 * first


def test_a_limit_that_is_not_used_stays_as_it_is(tmp_path, metrics):
    limit = ConcurrencyLimit(tmp_path, DIALECT)
    first = limit.rows
    metrics.say(running=3, waiting=0)
    look(limit, 3)

    assert limit.rows == first


def test_one_word_of_the_server_counts_once(tmp_path, metrics):
    limit = ConcurrencyLimit(tmp_path, DIALECT)
    look(limit, limit.rows)
    metrics.say(running=9)
    look(limit, limit.rows)
    after = limit.rows
    for _ in range(5):
        look(limit, limit.rows)

    assert limit.rows == after


def test_a_long_queue_brings_it_down_to_an_equal_share_of_what_is_there(tmp_path, metrics):
    tallies = [RequestCounters(tmp_path)]
    for each in tallies:
        each.begin()
    others = [_another_worker(tmp_path) for _ in range(3)]
    limit = ConcurrencyLimit(tmp_path, DIALECT)
    limit.rows = 1000
    for _ in range(20):
        metrics.say(running=128, waiting=1000)
        look(limit, limit.rows)

    assert limit.rows == (128 + 1000) // 4
    assert len(others) == 3


def _another_worker(folder):
    """The file of a process that lives as long as this one: its parent, by several names of it."""
    me = ProcessId.of(os.getpid())
    number = len(list((folder / "workers").iterdir()))
    file = folder / "workers" / f"{me.pid:0{8 + number}d}-{me.started}.json"
    file.write_text(json.dumps({"active": 1, "rows": 0, "errors": {}}))
    return file


def test_it_is_never_more_than_the_user_allows_nor_less_than_a_few(tmp_path, metrics):
    limit = ConcurrencyLimit(tmp_path, DIALECT).at_most(20)
    for _ in range(9):
        look(limit, limit.rows)
        metrics.say(running=20)
        look(limit, limit.rows)
    assert limit.rows == 20
    for _ in range(50):
        metrics.say(running=1, waiting=10_000)
        limit.rows = min(limit.rows, 11)
        look(limit, 20)
    assert limit.rows >= 8


def test_without_metrics_the_limit_is_a_share_of_the_engines_first_one_or_the_users(tmp_path):
    RequestCounters(tmp_path).begin()
    limit = ConcurrencyLimit(tmp_path, Dialect(first_limit=8))
    assert look(limit, 0) == limit.rows == 8
    assert look(limit.at_most(64), 0) == 64
    for _ in range(2):
        _another_worker(tmp_path)
    assert look(limit.at_most(None), 0) == 8 // 3


def test_requests_are_sent_whole_or_not_at_all(tmp_path):
    limit = ConcurrencyLimit(tmp_path, DIALECT)
    size = limit.rows_per_request

    assert limit.capacity(limit.rows - size) == size
    assert limit.capacity(limit.rows - size + 1) == 0


def test_the_dead_do_not_take_a_share(tmp_path):
    RequestCounters(tmp_path).begin()
    (tmp_path / "workers" / "1-1.json").write_text(json.dumps({"active": 5, "rows": 7, "errors": {"refused": 2}}))

    assert request_counters.active(tmp_path) == 1
    assert request_counters.totals(tmp_path) == {"rows": 7, "errors": {"refused": 2}}
