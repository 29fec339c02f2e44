"""A notebook's function in another Python: its answer, and what is said where it fails."""

from __future__ import annotations

import os
import sys

import cloudpickle
import pytest

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.notebooks.sealed_call import call, call_in_task


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A sealed environment by the name of `tf` that is this Python."""
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    python = tmp_path / "envs" / "tf" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return "tf"


class OneTask:
    """A Spark that runs a task in this process, with what Spark would pickle."""

    def __init__(self):
        self.sparkContext = self
        self.tasks = 0

    def parallelize(self, rows, slices):
        assert (len(rows), slices) == (1, 1)
        return self

    def map(self, function):
        self.function = cloudpickle.dumps(function)
        return self

    def collect(self):
        self.tasks += 1
        return [cloudpickle.loads(self.function)(0)]


def test_a_function_answers_from_a_process_of_the_environment(environment):
    def train(number, words):
        return os.getpid(), dict.fromkeys(words, number)

    process, answer = call(train, 3, ["a", "b"], environment=environment)
    assert answer == {"a": 3, "b": 3}
    assert process != os.getpid()


def test_a_function_that_fails_says_its_name_and_its_last_words(environment):
    def train():
        raise ValueError("no such layer")

    with pytest.raises(ConfigurationError, match=r"(?s)train failed in the environment 'tf': .*no such layer\nMend"):
        call(train, environment=environment)


def test_an_environment_that_is_not_there_names_the_command_that_makes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    with pytest.raises(EnvironmentMissingError, match="env build tf"):
        call(print, environment="tf")


def test_a_function_that_is_killed_says_by_which_signal(environment):
    def train():
        os.kill(os.getpid(), 9)

    with pytest.raises(ConfigurationError, match=r"train failed .*killed by signal 9: .*memory"):
        call(train, environment=environment)


def test_a_function_answers_from_the_environment_of_an_executor(environment):
    assert call_in_task(OneTask(), lambda number: number + 1, 3, environment=environment) == 4


def test_what_fails_in_a_task_is_one_sentence_on_the_driver(environment, tmp_path, monkeypatch):
    def train():
        raise ValueError("no such layer")

    with pytest.raises(ConfigurationError, match=r"(?s)^train failed in the environment 'tf': .*no such layer\nMend"):
        call_in_task(OneTask(), train, environment=environment)
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(EnvironmentMissingError, match="env build tf"):
        call_in_task(OneTask(), train, environment=environment)
