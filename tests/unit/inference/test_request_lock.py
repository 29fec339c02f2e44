"""Who asks a server beside others, and who alone."""

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


def test_requests_that_share_the_server_do_not_wait_for_each_other(tmp_path):
    with request_lock.together(tmp_path), request_lock.together(tmp_path):
        pass


def test_who_wants_to_be_alone_waits_for_the_others_and_nobody_comes_in_before(tmp_path, run):
    said, opened = [], threading.Event()

    def first():
        with request_lock.together(tmp_path):
            said.append("first in")
            opened.wait(10)
            said.append("first out")

    def single():
        with request_lock.alone(tmp_path):
            said.append("alone")

    def late():
        with request_lock.together(tmp_path):
            said.append("late")

    run(first)
    assert wait_until(lambda: said == ["first in"], 10)
    run(single)
    assert wait_until(lambda: _is_taken(tmp_path), 10)
    run(late)
    opened.set()
    assert wait_until(lambda: len(said) == 4, 10)
    assert said == ["first in", "first out", "alone", "late"]


def _is_taken(folder):
    """Whether somebody wants to be alone."""
    import fcntl

    with (folder / "turn").open("rb") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
