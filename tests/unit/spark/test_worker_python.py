"""What the workers' Python must have, and that this one has it."""

from __future__ import annotations

import re
import tomllib

import pytest
from support.other_pythons import ROOT

from server_utils import PlacementError
from server_utils.spark import worker_python

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_workers_are_asked_for_all_that_the_project_depends_on():
    needed = [re.findall(r"[\w-]+", line)[0] for line in PROJECT["dependencies"]]
    assert [name.partition(".")[0] for name in worker_python.NEEDED] == needed


def test_a_python_like_the_drivers_is_not_refused():
    worker_python.check(worker_python.Driver("/usr/bin/python3", "3.11", PROJECT["version"], connect=False))
    worker_python.check(worker_python.Driver("/usr/bin/python3", "3.11", None, connect=False))


def test_another_version_of_the_package_is_refused_with_the_drivers_python():
    with pytest.raises(PlacementError, match=r"has spark-sidecar .* where the driver has 9\.9: .* /opt/python"):
        worker_python.check(worker_python.Driver("/opt/python", "3.11", "9.9", connect=False))


class Broken:
    """A session in which nothing runs any more."""

    def range(self, _count):
        raise RuntimeError("the session has ended")

    class sparkContext:  # noqa: N801 - as Spark calls it
        pythonExec = "python3"


def test_what_has_another_reason_is_told_with_the_line_that_python_raised_below_all_frames():
    frames = [f"\tat org.apache.spark.{number}" for number in range(40)]
    said = ["An error occurred while calling o1.collect", *frames, "ValueError: no such weights", *frames]

    told = worker_python.explain(Broken(), Exception("\n".join(said)))

    assert told.startswith("Spark could not run a task on every executor: An error occurred while calling o1.collect")
    assert told.endswith("ValueError: no such weights")
    assert len(told.splitlines()) == 9


def test_an_error_without_a_word_is_told_by_its_type():
    assert worker_python.explain(Broken(), KeyError()).endswith(": KeyError")
