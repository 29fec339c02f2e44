"""Logs: the end of them is what counts, and they never fill a disk."""

from __future__ import annotations

import pytest

from server_utils.host import logs


def write(path, lines, *, start=0):
    with path.open("a") as file:
        file.writelines(f"line {number} {'.' * 100}\n" for number in range(start, start + lines))


def test_the_tail_is_the_last_lines(tmp_path):
    write(tmp_path / "log", 1000)
    lines = logs.tail(tmp_path / "log", lines=3).splitlines()
    assert [line.split()[1] for line in lines] == ["997", "998", "999"]


def test_there_is_no_tail_of_a_log_that_is_empty_or_not_there(tmp_path):
    (tmp_path / "empty").touch()
    assert logs.tail(tmp_path / "empty") == ""
    assert logs.tail(tmp_path / "none") == ""


def test_the_tail_leaves_out_what_an_earlier_attempt_wrote(tmp_path):
    path = tmp_path / "log"
    path.write_text("earlier\n")
    since = path.stat().st_size
    assert logs.tail(path, since=since) == ""
    with path.open("a") as file:
        file.write("now\n")
    assert logs.tail(path, since=since) == "now"


def test_the_tail_takes_bytes_that_are_no_text(tmp_path):
    (tmp_path / "log").write_bytes(b"\xff\xfe caf\xc3\xa9\n")
    assert logs.tail(tmp_path / "log").endswith("café")


def test_a_line_that_is_too_long_to_quote_keeps_both_ends(tmp_path):
    (tmp_path / "log").write_text("a\nno such model; there are " + "x, " * 1000 + "and that is all\nb\n")
    middle = logs.tail(tmp_path / "log").splitlines()[1]
    assert len(middle) < 700
    assert middle.startswith("no such model; there are x")
    assert middle.endswith("and that is all")


def test_the_error_that_the_last_words_point_to_is_quoted_with_them(tmp_path):
    path = tmp_path / "log"
    path.write_text("OtherError: long ago\nRuntimeError: you tried to allocate 1125899906842624 bytes\n")
    write(path, 30)
    with path.open("a") as file:
        file.write("RuntimeError: the engine failed. See root cause above.\n")
    assert logs.tail(path).startswith("RuntimeError: you tried to allocate 1125899906842624 bytes\n")


def test_one_endless_line_is_not_read_whole(tmp_path):
    (tmp_path / "log").write_bytes(b"x" * 10_000_000)
    assert len(logs.tail(tmp_path / "log", lines=20)) <= 10_000


def test_a_log_below_the_limit_is_left_alone(tmp_path):
    write(tmp_path / "log", 100)
    before = (tmp_path / "log").read_bytes()
    logs.truncate(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == before


def test_a_log_over_the_limit_keeps_its_end(tmp_path):
    path = tmp_path / "log"
    write(path, 40_000)
    logs.truncate(path, limit=2 << 20)
    text = path.read_text()
    assert len(text) < 1.1 * (1 << 20)
    assert text.startswith("[earlier lines were cut]\n")
    assert text.endswith(f"line 39999 {'.' * 100}\n")


def test_a_server_goes_on_writing_at_the_end_of_a_log_that_was_cut(tmp_path):
    path = tmp_path / "log"
    with path.open("a") as server:
        write(path, 40_000)
        logs.truncate(path, limit=2 << 20)
        server.write("and then\n")
    assert path.read_bytes().count(b"\0") == 0
    assert path.read_text().endswith("\nand then\n")


def test_the_tail_of_an_attempt_is_found_although_the_log_was_cut_meanwhile(tmp_path):
    path = tmp_path / "log"
    write(path, 40_000)
    since = path.stat().st_size
    logs.truncate(path, limit=2 << 20)
    with path.open("a") as file:
        file.write("out of memory\n")
    assert logs.tail(path, since=since).endswith("out of memory")


def test_a_log_that_somebody_removed_is_no_error(tmp_path):
    logs.truncate(tmp_path / "none")


def test_the_reason_of_a_command_is_the_lines_that_say_why():
    said = "Resolving\n  error: Hash mismatch\n  cause: expected a\nerror: it failed (its reason is above)\n\nend\n"
    assert logs.reason(said) == "Hash mismatch; cause: expected a"
    assert logs.reason("error: uv failed (its reason is above)\n") == "uv failed (its reason is above)"


def test_a_command_that_gives_no_reason_is_quoted_by_its_last_line():
    assert logs.reason("Resolving\nNo space left on device\n\n") == "No space left on device"
    assert logs.reason("\n") == ""


TRACEBACK = "Traceback (most recent call last):\n  File 'program.py', line 3\nValueError: no weights\n"
AFTER = "Exception ignored in atexit callback: <function stop>\nTraceback (most recent call last):\n  File 'x'\n"
CHAIN = "KeyError: 1\n\nDuring handling of the above exception, another exception occurred:\n\n" + (
    "Traceback (most recent call last):\n" + "  File 'gevent'\n" * 40 + "RuntimeError: can't register atexit\n"
)


@pytest.mark.parametrize("after", [AFTER + "RuntimeError: too late\n", AFTER + CHAIN])
def test_what_ended_a_process_is_quoted_not_what_fails_while_it_ends(tmp_path, after):
    log = tmp_path / "log"
    log.write_text(f"starting\n{TRACEBACK}{after}")

    assert logs.tail(log) == f"starting\n{TRACEBACK}".strip()


def test_what_comes_after_the_end_of_another_process_is_quoted(tmp_path):
    log = tmp_path / "log"
    log.write_text(f"{AFTER}KeyError: of a process below\n{TRACEBACK}")

    assert logs.tail(log).endswith("ValueError: no weights")
