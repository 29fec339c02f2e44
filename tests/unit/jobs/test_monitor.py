"""Progress that is shown while a job runs, on screens that remember it; the job is a block of Python here."""

from __future__ import annotations

import io
import logging
import threading

import pytest

from server_utils.host.processes import ProcessId
from server_utils.jobs.display import Log, Notebook, Terminal, screen
from server_utils.jobs.monitor import Monitor
from server_utils.jobs.progress import Progress
from server_utils.servers.launch import ServerStatus, State

OWNER = ProcessId(1, 1)


class Screen:
    """Remembers what it was shown."""

    every_s = 0.01

    def __init__(self):
        self.shown, self.ended, self.changed = [], False, threading.Condition()

    def show(self, progress, each):
        with self.changed:
            self.shown.append((progress, each))
            self.changed.notify_all()

    def end(self):
        self.ended = True

    def wait_for(self, condition):
        with self.changed:
            assert self.changed.wait_for(lambda: self.shown and condition(self.shown[-1][0]), 30)


class Servers:
    """One server whose rows a test counts up."""

    def __init__(self):
        self.rows = 5

    def __call__(self):
        return [ServerStatus("id", "llm", "host", OWNER, OWNER, State.READY, rows=self.rows)]


@pytest.fixture
def on():
    return Screen()


def test_what_the_servers_do_is_shown_while_the_block_runs_and_by_server(on):
    servers = Servers()
    with Monitor(servers, on, total=40) as shown:
        servers.rows += 20
        on.wait_for(lambda seen: seen.rows == 20)
        servers.rows += 20

    assert on.ended
    assert (shown.latest.rows, shown.latest.total) == (40, 40)
    assert on.shown[-1][0] == shown.latest
    assert on.shown[-1][1]["host/1-1"].rows == 40


def test_rows_that_are_known_to_be_written_count_at_once(on):
    with Monitor(Servers(), on, total=40) as shown:
        shown.written(30)

    assert shown.latest.rows == 30


def test_a_job_goes_on_when_the_servers_cannot_be_polled(on):
    def poll():
        raise OSError("no such host")

    with Monitor(poll, on) as shown:
        pass

    assert on.ended
    assert not on.shown
    assert shown.latest == Progress()


def test_a_job_goes_on_when_the_screen_is_gone():
    class Closed(Screen):
        def show(self, progress, each):
            raise BrokenPipeError

    with Monitor(Servers(), Closed()) as shown:
        pass

    assert shown.latest.servers == 1


def test_an_error_of_the_job_passes_and_waits_for_no_poll(on):
    """The poll after the first never returns, as one that waits for a free slot."""
    begun, forever = threading.Event(), threading.Event()

    def poll():
        if on.shown:
            begun.set()
            forever.wait(120)
        return Servers()()

    def job():
        with Monitor(poll, on):
            assert begun.wait(30)
            raise ValueError("of the job")

    try:
        with pytest.raises(ValueError, match="of the job"):
            job()
        assert on.ended
    finally:
        forever.set()


def test_a_terminal_shows_one_line_over_and_over_and_leaves_the_last():
    stream = io.StringIO()
    terminal = Terminal(stream)
    for rows in (1, 2):
        terminal.show(Progress(rows=rows), {})
    terminal.end()

    assert stream.getvalue().count("\r") == 2
    assert stream.getvalue().endswith("\x1b[K\n")
    assert stream.getvalue().count("\n") == 1


def test_a_terminal_that_was_shown_nothing_is_left_alone():
    stream = io.StringIO()
    Terminal(stream).end()

    assert stream.getvalue() == ""


def test_a_notebook_replaces_its_table():
    cell = []
    notebook = Notebook(cell.append)
    notebook.show(Progress(rows=3), {"host/1-1": Progress(rows=3)})
    notebook.end()

    assert len(cell) == 1
    assert "<td>host/1-1</td>" in cell[0]


def test_without_terminal_and_notebook_progress_goes_to_the_log(caplog):
    assert isinstance(screen(), Log)
    with caplog.at_level(logging.INFO, logger="server_utils"):
        screen().show(Progress(rows=3), {})

    assert "3 rows" in caplog.text
