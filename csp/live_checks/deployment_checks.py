"""Check the verbs of a deployment on a live account: up, status, run, logs and down, by `spark-sidecar`. Laptop.

The deployment has a name of its own, so no other one is changed, and `down` runs in any case. The environment says
where it is made, as for every `spark-sidecar` command. Each verb is a question like the others: it has a command, an
expected answer, and a file to change if the answer differs.
"""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from csp.live_checks.ask import Answer, Outcome, compare
from csp.live_checks.on_cluster import CommandResult, Target
from csp.live_checks.questions import Question, Where

Call = Callable[[Sequence[str]], CommandResult]
_LIMIT_S = 2 * 3600.0  # of one verb: longer than its own --timeout
_MINUTES = "90"  # a first cluster waits for a GPU, and its nodes install
_PROGRAM = """
from pyspark.sql import SparkSession

print("SPARK-SIDECAR-RUN", SparkSession.builder.getOrCreate().range(1000).count())
"""


@dataclass(frozen=True)
class _Verb:
    """The question about a verb. answer: pattern of its output; code: its exit status."""

    asks: str
    expected: str
    answer: str
    change: str
    code: int = 0


_VERBS = {
    "up": _Verb("does it make a cluster, and wait for every worker", "running", '"phase": "running"', "csp/up.py"),
    "status": _Verb("does it find the cluster by its name alone", "running", '"phase": "running"', "csp/deployer.py"),
    "run": _Verb("does it run a program and show its output", "1000 rows", "^SPARK-SIDECAR-RUN 1000", "csp/run.py"),
    "logs": _Verb("does it show the nodes' own logs", "one or more", '"kind": "init"', "init-scripts/"),
    "down": _Verb("does it delete what was made", "a list", '"deleted"', "csp/deployer.py"),
    "gone": _Verb("does nothing stay", "no deployment", "there is no deployment", "csp/deployer.py", 7),
}


def deployed(
    target: Target, options: Sequence[str], ask: Callable[[str], Sequence[Answer]], *, call: Call | None = None
) -> Iterator[Answer]:
    """Make a cluster, ask about it, and delete it.

    Args:
        target: the platform; the commands get its region and project.
        options: of `up`, which describe the cluster.
        ask: gets the cluster's name or id for the platform's own command, and asks the questions of a cluster.
        call: runs `spark-sidecar` with these arguments.
    """
    deployment = _Deployment(target, call or _calls(target))
    try:
        up = deployment.ask("up", *options, "--timeout", _MINUTES)
        yield up
        if not up.wrong:
            yield from deployment.verbs()
            yield from ask(_cluster_of(up.output))
    finally:
        yield deployment.ask("down", "--delete-models")
        yield deployment.ask("gone")


class _Deployment:
    def __init__(self, target: Target, call: Call) -> None:
        self._target, self._call, self._name = target, call, f"live-{uuid.uuid4().hex[:8]}"

    def verbs(self) -> Iterator[Answer]:
        """Ask the verbs that need a cluster."""
        yield self.ask("status")
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder) / "program.py"
            program.write_text(_PROGRAM, encoding="utf-8")
            yield self.ask("run", str(program), "--out", folder)
        yield self.ask("logs")

    def ask(self, key: str, *options: str) -> Answer:
        """Ask one verb."""
        verb, cloud = _VERBS[key], self._target.platform.partition("-")[0]
        words = [cloud, "status" if key == "gone" else key, "--name", self._name, "--json", *options]
        command = shlex.join(["spark-sidecar", *words])
        row = Question(
            f"verb-{key}", (cloud,), verb.asks, Where.LAPTOP, command, verb.expected, verb.change, verb.answer
        )
        result = self._call(words)
        answer = compare(row, result)
        return answer if result.code == verb.code else dataclasses.replace(answer, outcome=Outcome.FAILED)


def _calls(target: Target) -> Call:
    """Return a function that runs `spark-sidecar` of this environment."""
    place = {"CLOUDSDK_CORE_PROJECT": target.project, "CLOUDSDK_DATAPROC_REGION": target.region}
    environ = os.environ | {name: value for name, value in place.items() if value}
    command = [sys.executable, "-c", "from server_utils.cli.main import app; app()"]

    def call(words: Sequence[str]) -> CommandResult:
        try:
            done = subprocess.run(
                [*command, *words], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                timeout=_LIMIT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return CommandResult(1, f"it did not end within {_LIMIT_S:.0f} s")
        return CommandResult(done.returncode, done.stdout.strip())

    return call


def _cluster_of(output: str) -> str:
    """Return the id on Databricks, and the name on Dataproc, where an id is the name and a UUID."""
    match = re.search(r'"cluster_id": "([^"/]+)', output)
    return match[1] if match else ""
