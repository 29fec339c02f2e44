"""Row error policy: what becomes of a row without a valid answer: raise, null or struct. Executors."""

from __future__ import annotations

from dataclasses import replace
from json import JSONDecodeError

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.inference.openai.client import DiedError, RefusedError, TimedOutError
from server_utils.inference.openai.request import NOTHING, Answer, CompletionRequest, with_error, with_value
from server_utils.inference.openai.strict_json import AnswerError
from server_utils.inference.openai.structured_output import Checker
from server_utils.inference.row_errors import row_error

_SHOWN = 80  # characters of an answer that is not what was requested


def of_error(request: CompletionRequest, error: InferenceError) -> Answer:
    """The answer to a row that was sent alone, and was refused, had no answer in time, or crashed the server."""
    message = str(error)
    if isinstance(error, TimedOutError):
        return Answer(error=message, kind="timed_out")
    if isinstance(error, DiedError):
        return Answer(error=message, kind="died")
    is_too_long = any(words in message.lower() for words in request.dialect.too_long)
    return Answer(error=message, kind="too_long" if is_too_long else "refused")


def callers_fault(request: CompletionRequest, error: InferenceError) -> ConfigurationError | None:
    """The error of all rows alike, if the server blames a field that the caller has set, and not a row's length."""
    field = error.field if isinstance(error, RefusedError) else None
    if field is None or field not in request.fields or of_error(request, error).kind == "too_long":
        return None
    return ConfigurationError(f"the server refuses {field}={request.fields[field]!r}: {error}")


class RowErrorPolicy:
    """Checks answers against the schema of a request, and decides what an error means for the job."""

    def __init__(self, request: CompletionRequest) -> None:
        """The schema was checked when the request was made."""
        self._raises = request.on_error == "raise"
        self._checker = Checker(request.schema, request.answer_type) if request.schema is not None else None

    def resolve(self, answer: Answer, row: int) -> Answer:
        """The answer as it goes into the column. row: its number in its partition.

        Raises:
            InferenceError: it is an error, and the request says that the first one ends the job.
        """
        if answer.error is None and self._checker is not None:
            answer = _checked(answer, self._checker)
        elif isinstance(answer.value, str) and not _is_text(answer.value):
            answer = with_error(answer, f"the answer {answer.value[-_SHOWN:]!r} is not Unicode", "invalid")
        if answer.error is not None and not _is_text(answer.error):
            answer = replace(answer, error=answer.error.encode(errors="backslashreplace").decode())
        if answer.error is not None and self._raises:
            raise row_error(row, f": {answer.error}")
        return answer

    def refuse(self, problem: str, row: int) -> Answer:
        """The answer to a row that cannot be sent. Raises as `resolve` does."""
        return self.resolve(with_error(NOTHING, problem, "refused"), row)


def _checked(answer: Answer, checker: Checker) -> Answer:
    try:
        return with_value(answer, checker.read(answer.value))
    except (AnswerError, JSONDecodeError) as error:
        cut = answer.finish_reason == "length"
        problem = "was cut off; allow more with max_tokens=" if cut else f"does not keep to the schema: {error}"
        ends = f"the answer {problem} (it ends {answer.value[-_SHOWN:]!r})"
        return with_error(answer, ends, "truncated" if cut else "invalid")


def _is_text(value: str) -> bool:
    """Whether Arrow and Spark can hold it: an escape in JSON may be half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
