"""Ask the questions of a platform: commands on this laptop, and one job on the cluster. Laptop; changes no cluster.

A question never fails the others: each has an answer, whatever its command does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from csp.live_checks import on_cluster
from csp.live_checks.on_cluster import CommandResult, Target
from csp.live_checks.questions import Question, Where

_COMMAND_S = 180.0
_NOT_FOUND = 127  # of a shell


class Outcome(Enum):
    """How a question was answered."""

    EXPECTED = "as expected"
    DIFFERS = "differs"
    FAILED = "failed"
    MISSING = "no command"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Answer:
    """A question and what was found."""

    question: Question
    outcome: Outcome
    found: str

    @property
    def wrong(self) -> bool:
        """Whether something is to be done about it."""
        return self.outcome not in {Outcome.EXPECTED, Outcome.NOT_ASKED}


def ask(questions: Sequence[Question], target: Target) -> list[Answer]:
    """The answers, in the order of the questions."""
    for_job = [each for each in questions if each.where.on_cluster and target.cluster]
    results = on_cluster.run_job(for_job, target) if for_job else {}
    return [judged(each, results[each.key]) if each.key in results else _asked_here(each, target) for each in questions]


def judged(question: Question, result: CommandResult) -> Answer:
    """Compare what a command said with what is expected of it."""
    if question.expects(result.output) and result.code != _NOT_FOUND:
        return Answer(question, Outcome.EXPECTED, result.output)
    if result.code == _NOT_FOUND:
        return Answer(question, Outcome.MISSING, result.output)
    return Answer(question, Outcome.FAILED if result.code else Outcome.DIFFERS, result.output)


def _asked_here(question: Question, target: Target) -> Answer:
    if question.where is Where.BY_HAND:
        return Answer(question, Outcome.NOT_ASKED, "needs a person: see below")
    if missing := [f"--{name}" for name in question.needs if not getattr(target, name)]:
        return Answer(question, Outcome.NOT_ASKED, f"needs {' and '.join(missing)}")
    return judged(question, _run(question.command, target))


def _run(command: str, target: Target) -> CommandResult:
    environ = os.environ | target.variables() | {"PYTHON": sys.executable}
    # pipefail: the last command of a pipe would hide that the first one is missing.
    words = ["bash", "-o", "pipefail", "-c", command]
    try:
        done = subprocess.run(
            words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            timeout=_COMMAND_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return CommandResult(1, f"no answer within {_COMMAND_S:.0f} s")
    return CommandResult(done.returncode, done.stdout.strip())
