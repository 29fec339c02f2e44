"""A notebook's function in another Python: its answer, and what is said where it fails."""

from __future__ import annotations

import os
import sys

import pytest

from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.notebooks.sealed_call import call


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A sealed environment by the name of `tf` that is this Python."""
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))
    python = tmp_path / "envs" / "tf" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return "tf"


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
