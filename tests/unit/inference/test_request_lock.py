"""Which requests run beside others, and which run alone."""

from __future__ import annotations

import threading

import pytest

from server_utils.host.processes import wait_until
from server_utils.inference import request_lock


@pytest.fixture
def run():
    threads = []

    def run(function):
        threads.append(threading.Thread(target=function))
        threads[-1].start()

    yield run
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_shared_requests_do_not_wait_for_each_other(tmp_path):
    with request_lock.shared_request(tmp_path), request_lock.shared_request(tmp_path):
        pass


def test_an_exclusive_request_waits_for_those_that_run_and_no_new_one_begins_before_it(tmp_path, run):
    events, opened = [], threading.Event()

    def first():
        with request_lock.shared_request(tmp_path):
            events.append("first in")
            opened.wait(10)
            events.append("first out")

    def single():
        with request_lock.exclusive_request(tmp_path):
            events.append("alone")

    def late():
        with request_lock.shared_request(tmp_path):
            events.append("late")

    run(first)
    assert wait_until(lambda: events == ["first in"], 10)
    run(single)
    assert wait_until(lambda: _exclusive_is_there(tmp_path), 10)
    run(late)
    opened.set()
    assert wait_until(lambda: len(events) == 4, 10)
    assert events == ["first in", "first out", "alone", "late"]


def _exclusive_is_there(folder):
    """Whether an exclusive request waits or runs."""
    import fcntl

    with (folder / "admission.lock").open("rb") as admission:
        try:
            fcntl.flock(admission, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
