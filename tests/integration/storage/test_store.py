"""Patience: what is tried again, how often, and what is said in the end."""

from __future__ import annotations

import threading

import pytest

from server_utils import ModelCorruptError, StorageError
from server_utils.storage.stores.base import DamagedError, TransientError, retry, seconds
from server_utils.storage.transfer import in_parallel

NO_PAUSES = (0.0,) * 6


class Flaky:
    """Fails as its list says, then answers."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), 0

    def __call__(self):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"


def test_what_may_work_the_next_time_is_tried_again():
    flaky = Flaky(*[TransientError("busy")] * 6)
    assert retry(flaky, what="reading x", pauses_s=NO_PAUSES) == "fine"
    assert flaky.calls == 7


def test_retries_end_with_one_error_that_says_what_was_tried_how_often():
    with pytest.raises(StorageError, match=r"reading x: busy \(tried 7 times\)") as caught:
        retry(Flaky(*[TransientError("busy")] * 9), what="reading x", pauses_s=NO_PAUSES)
    assert caught.value.__suppress_context__


def test_damage_is_put_down_to_the_wire_twice_only():
    flaky = Flaky(*[DamagedError("bad")] * 9)
    with pytest.raises(ModelCorruptError, match=r"bad \(tried 3 times\)"):
        retry(flaky, what="reading x", pauses_s=NO_PAUSES)


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
