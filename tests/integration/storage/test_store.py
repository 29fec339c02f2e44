"""Patience: what is tried again, how often, and what is said in the end."""

from __future__ import annotations

import threading

import pytest

from server_utils import ModelCorruptError, StorageError
from server_utils.host.deadline import Clock
from server_utils.storage.stores.base import DamagedError, TransientError, retry, seconds
from server_utils.storage.transfer import in_parallel


@pytest.fixture
def clock():
    """A clock that pauses move. seconds: the time now; pauses: how long each was."""
    return MovedClock()


class MovedClock:
    def __init__(self):
        self.seconds, self.pauses = 0.0, []

    def __call__(self):
        return Clock(now=lambda: self.seconds, pause=self.pause)

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.seconds += seconds


class Flaky:
    """Fails as its list says, then answers."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


def test_what_may_work_the_next_time_is_tried_again(clock):
    flaky = Flaky(*[TransientError("busy")] * 6)
    assert retry(flaky, what="reading x", clock=clock()) == "fine"
    assert flaky.calls == 7
    assert all(0.1 * 2**number <= pause_s <= 0.2 * 2**number for number, pause_s in enumerate(clock.pauses))


def test_retries_end_with_the_deadline_and_one_error_that_says_what_was_tried_how_often(clock):
    flaky = Flaky(*[TransientError("busy")] * 99)
    with pytest.raises(StorageError) as caught:
        retry(flaky, what="reading x", clock=clock())
    assert str(caught.value) == f"reading x: busy (tried {flaky.calls} times in {clock.seconds:.0f} s)"
    assert 20 <= clock.seconds <= 20 + 6.4
    assert caught.value.__suppress_context__


def test_the_deadline_of_retries_begins_with_the_first_failure_and_not_with_a_long_transfer(clock):
    flaky = Flaky(TransientError("reset by peer"))

    def transfer():
        clock.pause(3600)
        return flaky()

    assert retry(transfer, what="reading x", clock=clock()) == "fine"


def test_a_step_whose_tries_last_longer_than_the_deadline_has_four_of_them(clock):
    flaky = Flaky(*[TransientError("busy", retry_after_s=60)] * 9)
    with pytest.raises(StorageError, match=r"tried 4 times in 180 s"):
        retry(flaky, what="reading x", clock=clock())
    assert clock.pauses == [60] * 3


def test_damage_is_put_down_to_the_wire_twice_only(clock):
    flaky = Flaky(*[DamagedError("bad")] * 9)
    with pytest.raises(ModelCorruptError, match=r"bad \(tried 3 times in \d s\)"):
        retry(flaky, what="reading x", clock=clock())


def test_nobody_waits_once_another_thread_has_failed():
    stop = threading.Event()
    stop.set()
    flaky = Flaky(*[TransientError("busy", retry_after_s=60)] * 9)
    with pytest.raises(StorageError):
        retry(flaky, what="reading x", stop=stop)
    assert flaky.calls == 1


def test_the_first_failure_ends_all_jobs():
    stop, begun = threading.Event(), []

    def fail():
        raise StorageError("the first")

    def wait():
        begun.append(1)
        assert stop.wait(30)

    with pytest.raises(StorageError, match="the first"):
        in_parallel([wait, fail, *[wait] * 50], threads=2, stop=stop)
    assert len(begun) <= 2


def test_a_server_may_ask_for_a_pause_but_not_for_an_hour():
    assert [seconds(value) for value in (None, "", "3", "Wed, 21 Oct 2026 07:28:00 GMT")] == [0, 0, 3, 0]
    assert TransientError("busy", retry_after_s=3600).retry_after_s == 60
