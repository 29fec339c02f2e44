"""What a supervisor waits for, each as it really happens."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from support.fakes import kill

from server_utils.host.processes import ProcessId
from server_utils.servers.events import Events, ExitReason

_PLENTY_S = 30


@pytest.fixture
def make_events():
    """Events of this process; its signal handlers are put back afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield Events
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def server():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_nothing_happens_while_nothing_happens(make_events, owner):
    assert make_events(owner).wait(0.01) is None


def test_the_end_of_the_owner_is_an_event_though_its_parent_does_not_wait_for_it(make_events, owner):
    events = make_events(owner)
    owner.signal(signal.SIGKILL)
    assert events.wait(_PLENTY_S) is ExitReason.OWNER_GONE


def test_an_owner_that_is_gone_is_refused(make_events, owner):
    kill(owner)
    with pytest.raises(ProcessLookupError):
        make_events(owner)


def test_an_owner_whose_number_is_another_process_by_now_is_refused(make_events, owner):
    with pytest.raises(ProcessLookupError):
        make_events(ProcessId(owner.pid, owner.started - 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_an_event(make_events, owner, number):
    events = make_events(owner)
    os.kill(os.getpid(), number)
    assert events.wait(_PLENTY_S) is ExitReason.STOP_REQUESTED
    assert events.wait(0) is ExitReason.STOP_REQUESTED  # and stays one


def test_the_end_of_the_server_is_an_event_until_it_is_forgotten(make_events, owner, server):
    events = make_events(owner)
    watched = events.watch_server(server.pid)
    server.kill()
    assert events.wait(_PLENTY_S) is ExitReason.EXITED
    events.forget(watched)
    assert events.wait(0.01) is None


def test_to_be_told_outweighs_the_owner_and_the_owner_outweighs_the_server(make_events, owner, server):
    events = make_events(owner)
    events.watch_server(server.pid)
    server.kill()
    assert events.wait(_PLENTY_S) is ExitReason.EXITED
    kill(owner)
    assert events.wait(_PLENTY_S) is ExitReason.OWNER_GONE
    os.kill(os.getpid(), signal.SIGTERM)
    assert events.wait(_PLENTY_S) is ExitReason.STOP_REQUESTED
