"""The answers as a table to paste into an issue and as JSON, and all questions as a page. Laptop; asks nothing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from csp.live_checks.ask import Answer, Outcome
from csp.live_checks.questions import Question, Where, questions

_WIDTH = 80
_KEY, _OUTCOME = 21, 11
_OUTPUT = _WIDTH - _KEY - _OUTCOME - 10  # the bars and blanks of a row
# The names of the places on the page, in its order.
_PLACES = {
    Where.LAPTOP: "on a laptop",
    Where.DRIVER: "on the driver",
    Where.EXECUTOR: "on an executor",
    Where.DRIVER_PYTHON: "in the driver's Python",
    Where.EXECUTOR_PYTHON: "in an executor's Python",
    Where.BY_HAND: "by hand",
}


def as_json(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """Return one object for each answer."""
    return [
        {
            "question": each.question.key,
            "asks": each.question.asks,
            "where": each.question.where.value,
            "command": each.question.command,
            "expected": each.question.expected,
            "outcome": each.outcome.value,
            "found": each.output,
            "change": each.question.change if each.wrong else "",
        }
        for each in answers
    ]


def as_markdown(answers: Sequence[Answer], *, heading: str) -> str:
    """Return a table of 80 columns, the details of each unexpected answer, and the questions that were not asked."""
    answered = [each for each in answers if each.outcome is not Outcome.NOT_ASKED]
    unanswered = [each for each in answers if each.outcome is Outcome.NOT_ASKED]
    by_hand = [each for each in unanswered if each.question.where is Where.BY_HAND]
    not_asked = [f"{each.question.key} ({each.output})" for each in unanswered if each not in by_hand]
    parts = [f"## {heading}", "", _row("question", "result", "found"), _row("-" * _KEY, "-" * _OUTCOME, "-" * _OUTPUT)]
    parts += [_row(each.question.key, each.outcome.value, _one_line(each.output)) for each in answered]
    parts += [line for each in answered if each.wrong for line in _details(each)]
    if not_asked:
        parts += ["", "### Not asked", "", *_wrapped(", ".join(not_asked))]
    if by_hand:
        parts += ["", "### To be asked by hand", "", *(line for each in by_hand for line in _item(each))]
    return "\n".join(parts) + "\n"


def page() -> str:
    """Return the tables of docs/live-checks.md."""
    parts = []
    for where, place in _PLACES.items():
        rows = [each for each in questions() if each.where is where]
        head = ["| question | platform | command | expected | if it differs |", "|---|---|---|---|---|"]
        parts += ["", f"## Asked {place}", "", *head, *map(_page_row, rows)]
    return "\n".join(parts[1:]) + "\n"


def _page_row(question: Question) -> str:
    command = question.command.replace("|", "\\|").splitlines()
    cells = (
        f"`{question.key}`: {question.asks}?",
        ", ".join(question.platforms),
        "<br>".join(f"`{line}`" for line in command),
        question.expected,
        question.change,
    )
    return f"| {' | '.join(cells)} |"


def _row(key: str, outcome: str, output: str) -> str:
    return f"| {key:{_KEY}} | {outcome:{_OUTCOME}} | {output:{_OUTPUT}} |"


def _one_line(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "/")
    return plain if len(plain) <= _OUTPUT else f"{plain[: _OUTPUT - 1]}…"


def _details(answer: Answer) -> list[str]:
    question = answer.question
    last_lines = [f"    {line}" for line in answer.output.splitlines()[-12:]] or ["    (nothing)"]
    return [
        "",
        f"### {question.key}: {answer.outcome.value}",
        "",
        *_wrapped(f"{question.asks[0].upper()}{question.asks[1:]}? Asked {_PLACES[question.where]}:"),
        "",
        *(f"    {line}" for line in question.command.splitlines()),
        "",
        *_wrapped(f"Expected: {question.expected}. Change: {question.change}. Found:"),
        "",
        *last_lines,
    ]


def _item(answer: Answer) -> list[str]:
    question = answer.question
    return _wrapped(
        f"- {question.key}: {question.asks}? {question.command} (expected: {question.expected})", indent="  "
    )


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
