"""Call a function in a sealed environment, to train where the framework is. Driver, or one task; serves nothing."""

from __future__ import annotations

import pickle
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

from server_utils.environments import builder
from server_utils.errors import ConfigurationError, SidecarError

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
        ConfigurationError: the function failed there; with the last lines of what it printed.
    """
    python = builder.find(environment).python
    with tempfile.TemporaryDirectory() as folder:
        sent, answer = Path(folder) / "sent", Path(folder) / "answer"
        sent.write_bytes(cloudpickle.dumps((function, arguments)))
        command = [str(python), "-I", "-c", _PROGRAM, str(sent), str(answer)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(
                f"{function.__name__} failed in the environment {environment!r}: {_why(done)}\n"
                "Mend the function, and call it again."
            )
        return pickle.loads(answer.read_bytes())  # noqa: S301 - written by the function of this notebook


def is_here(environment: str) -> bool:
    """Whether this machine has the environment."""
    return (builder.folder(environment) / "bin" / "python").exists()


def call_in_task(spark: Any, function: Callable[..., Any], *arguments: Any, environment: str) -> Any:
    """As `call`, on the machine of an executor: on a cluster with workers the driver's has no environments."""
    return in_task(spark, partial(call, function, *arguments, environment=environment))


def in_task(spark: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function answers in a task, in Spark's Python; an error of ours is raised here as it was there."""
    sent = cloudpickle.dumps((function, arguments))

    def attempt(_: Any) -> Any:
        try:
            function, arguments = pickle.loads(sent)  # noqa: S301 - of this notebook
            return True, function(*arguments)
        except SidecarError as error:  # told to the driver as it is, not in a stack trace of Spark
            return False, (type(error), str(error))

    ((answered, answer),) = spark.sparkContext.parallelize([0], 1).map(attempt).collect()
    if answered:
        return answer
    kind, message = answer
    raise kind(message)


def _why(done: subprocess.CompletedProcess[str]) -> str:
    """The end of what the function printed. A process that is killed prints no reason."""
    killed = (
        f" (killed by signal {-done.returncode}: 9 mostly means that memory ran out)" if done.returncode < 0 else ""
    )
    return done.stdout.strip()[-_LAST_CHARACTERS:] + killed
