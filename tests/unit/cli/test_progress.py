"""The progress of a deployment: one line that is written over on a terminal, and only what changes elsewhere."""

from __future__ import annotations

import subprocess
import sys

from server_utils.cli.progress import Progress
from unit.cli.terminal import environment, on_terminal

WAITED = """
from server_utils.cli.progress import Progress

progress = Progress(output_to_stderr=False)
progress.say("Creating mine: 3 nodes.")
progress.wait("workers 0 of 2, 10 s: PENDING")
progress.wait("workers 0 of 2, 20 s: PENDING")
progress.wait("workers 1 of 2, 30 s: " + 9 * "a long text\\n")
progress.output("42 rows\\n")
progress.wait("run 1: running, 1 min")
progress.close()
progress.close()
print("Run 1 succeeded.")
"""
LONG = "workers 1 of 2, 30 s: " + " ".join(["a long text"] * 9)


def test_a_terminal_shows_each_state_over_the_last_one_and_the_result_below():
    rows = on_terminal(width=60, code=WAITED).decode().split("\r\n")
    over = [row.split("\r\x1b[K") for row in rows]
    assert over == [
        ["Creating mine: 3 nodes."],
        ["", "workers 0 of 2, 10 s: PENDING", "workers 0 of 2, 20 s: PENDING", f"{LONG[:58]}…"],
        ["42 rows"],
        ["", "run 1: running, 1 min"],
        ["Run 1 succeeded."],
        [""],
    ]


def test_a_file_gets_a_line_where_more_than_the_time_has_changed():
    command = [sys.executable, "-c", WAITED]
    printed = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert printed.stdout == "42 rows\nRun 1 succeeded.\n"
    assert printed.stderr.splitlines() == [
        "Creating mine: 3 nodes.",
        "workers 0 of 2, 10 s: PENDING",
        LONG,
        "run 1: running, 1 min",
    ]


def test_what_a_run_prints_leaves_standard_output_to_json(capsys):
    Progress(output_to_stderr=True).output("42 rows\n")
    assert capsys.readouterr() == ("", "42 rows\n")
