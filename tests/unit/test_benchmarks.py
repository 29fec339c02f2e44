"""What the benchmarks say while they run; their numbers are reports, and no test's business."""

from __future__ import annotations

from benchmarks import llm
from benchmarks.measure import alternate


def arms_of(calls, **seconds):
    """Arms that note their calls and take as long, round by round, as is given."""
    times = {name: iter(each) for name, each in seconds.items()}
    return {name: lambda name=name: calls.append(name) or next(times[name]) for name in seconds}


def test_arms_alternate_and_the_warm_up_does_not_count():
    calls = []
    medians = alternate(arms_of(calls, a=[99.0, 1.0, 3.0, 2.0], b=[99.0, 4.0, 6.0, 5.0]), 3, title="short")

    assert calls == ["a", "b"] * 4
    assert medians == {"a": 2.0, "b": 5.0}


def test_each_run_is_shown_when_it_ends_and_standard_output_is_left_to_the_report(capsys):
    alternate(arms_of([], a=[9.0, 1.5]), 1, title="short")

    shown = capsys.readouterr()
    assert shown.err.splitlines() == ["short, warm-up 1 of 1: a 9.0 s", "short, round 1 of 1: a 1.5 s"]
    assert shown.out == ""


def test_the_table_of_a_workload_has_shares_of_the_offline_engine_below_their_units():
    assert llm.text("uniform", {"offline": 50.0, "ours": 1040.0}).splitlines() == [
        "uniform      rows/s     share",
        "  offline      50.0      1.00",
        "  ours      1,040.0      20.8",
    ]
