"""What becomes of a row that has no answer, or not the one that was asked for. Executors."""

from __future__ import annotations

from server_utils import utf8
from server_utils.errors import InferenceError
from server_utils.openai_client import DiedError, TimedOutError
from server_utils.questions import NOTHING, Answer, Question, with_error, with_value
from server_utils.schemas import Checker

_TOO_LONG = ("maximum context length", "max_model_len", "longer than the maximum", "too long")
_SHOWN = 80  # characters of an answer that is not what was asked for


def of_error(error: InferenceError) -> Answer:
    """The answer to a row that was asked by itself, and refused, not answered in time, or the death of the server."""
    message = str(error)
    if isinstance(error, TimedOutError):
        return Answer(error=message, kind="timed_out")
    if isinstance(error, DiedError):
        return Answer(error=message, kind="died")
    long = any(words in message for words in _TOO_LONG)
    return Answer(error=message, kind="too_long" if long else "refused")


class Judge:
    """Checks answers against the question's schema, and says what an error means for the job."""

    def __init__(self, question: Question) -> None:
        """The schema was checked when the question was made."""
        self._raises = question.on_error == "raise"
        self._checker = Checker(question.schema) if question.schema is not None else None

    def final(self, answer: Answer, row: int) -> Answer:
        """The answer as it goes into the column. row: its number in its partition.

        Raises:
            InferenceError: it is an error, and the question says that the first one ends the job.
        """
        if answer.error is None and self._checker is not None:
            answer = _checked(answer, self._checker)
        if answer.error is not None and self._raises:
            raise InferenceError(
                f'row {row} of {_partition()}: {answer.error}. With on_error="null" or "struct" the other rows go on'
            )
        return answer

    def refused(self, problem: str, row: int) -> Answer:
        """The answer to a row that cannot be asked. Raises as `final` does."""
        return self.final(with_error(NOTHING, problem, "refused"), row)


def _checked(answer: Answer, checker: Checker) -> Answer:
    try:
        found = checker.read(answer.value)
        utf8.check(found)
        return with_value(answer, found)
    except ValueError as error:
        cut = answer.finish_reason == "length"
        problem = "was cut off; allow more with max_tokens=" if cut else f"does not keep to the schema: {error}"
        ends = f"the answer {problem} (it ends {answer.value[-_SHOWN:]!r})"
        return with_error(answer, ends, "truncated" if cut else "invalid")


def _partition() -> str:
    from pyspark import TaskContext

    context = TaskContext.get()
    return f"partition {context.partitionId()}" if context else "the input"
