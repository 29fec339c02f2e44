"""Ask the questions of a platform: by commands on this laptop and one job on the cluster. Laptop; changes no cluster.

Each question gets an answer, even if the command of another one fails.
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
_COMMAND_NOT_FOUND = 127  # exit status of a shell


class Outcome(Enum):
    """How an answer compares with the expected one."""

    EXPECTED = "as expected"
    DIFFERS = "differs"
    FAILED = "failed"
    MISSING = "no command"
    NOT_ASKED = "not asked"


@dataclass(frozen=True)
class Answer:
    """A question and its answer. output: of the command, or why there is none."""

    question: Question
    outcome: Outcome
    output: str

    @property
    def wrong(self) -> bool:
        """Whether the answer needs a change in this repository."""
        return self.outcome not in {Outcome.EXPECTED, Outcome.NOT_ASKED}


def ask(questions: Sequence[Question], target: Target) -> list[Answer]:
    """Return the answers, in the order of the questions."""
    for_job = [each for each in questions if each.where.on_cluster and target.cluster]
    results = on_cluster.run_job(for_job, target) if for_job else {}
    return [compare(each, results[each.key]) if each.key in results else _ask_here(each, target) for each in questions]


def compare(question: Question, result: CommandResult) -> Answer:
    """Compare the output of a command with the expected one."""
    if question.expects(result.output) and result.code != _COMMAND_NOT_FOUND:
        return Answer(question, Outcome.EXPECTED, result.output)
    if result.code == _COMMAND_NOT_FOUND:
        return Answer(question, Outcome.MISSING, result.output)
    return Answer(question, Outcome.FAILED if result.code else Outcome.DIFFERS, result.output)


def _ask_here(question: Question, target: Target) -> Answer:
    """Answer a question by a command on this laptop."""
    if question.where is Where.BY_HAND:
        return Answer(question, Outcome.NOT_ASKED, "needs a person: see below")
    if missing := [f"--{name}" for name in question.needs if not getattr(target, name)]:
        return Answer(question, Outcome.NOT_ASKED, f"needs {' and '.join(missing)}")
    return compare(question, _run(question.command, target))


def _run(command: str, target: Target) -> CommandResult:
    environ = os.environ | target.variables() | {"PYTHON": sys.executable}
    # pipefail: else the last command of a pipe hides that the first one does not exist.
    words = ["bash", "-o", "pipefail", "-c", command]
    try:
        done = subprocess.run(
            words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            timeout=_COMMAND_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return CommandResult(1, f"no answer within {_COMMAND_S:.0f} s")
    return CommandResult(done.returncode, done.stdout.strip())
