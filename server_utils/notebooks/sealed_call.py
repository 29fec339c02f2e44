"""Call a function in a sealed environment, to train where the framework is. Driver only; serves nothing."""

from __future__ import annotations

import pickle
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from server_utils.environments import builder
from server_utils.errors import ConfigurationError

_PROGRAM = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    function, arguments = pickle.load(file)
with open(sys.argv[2], "wb") as file:
    pickle.dump(function(*arguments), file)
"""
_LAST_CHARACTERS = 800


def call(function: Callable[..., Any], *arguments: Any, environment: str) -> Any:
    """What a function answers in the Python of a sealed environment, which has other packages than this one.

    Args:
        function: imports what it needs inside it.
        arguments: plain values, as its answer is.
        environment: the name of a sealed environment, such as `tf`.

    Raises:
        EnvironmentMissingError: there is no such environment on this machine.
        ConfigurationError: the function failed there; with the last lines of what it said.
    """
    python = builder.find(environment).python
    with tempfile.TemporaryDirectory() as folder:
        sent, answer = Path(folder) / "sent", Path(folder) / "answer"
        sent.write_bytes(cloudpickle.dumps((function, arguments)))
        command = [str(python), "-I", "-c", _PROGRAM, str(sent), str(answer)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(
                f"{function.__name__} failed in the environment {environment!r}: "
                f"{done.stdout.strip()[-_LAST_CHARACTERS:]}\nMend the function, and call it again."
            )
        return pickle.loads(answer.read_bytes())  # noqa: S301 - written by the function of this notebook
