"""What a column asks of a language model: how rows become a request, and a reply becomes answers. No Spark, no HTTP.

https://platform.openai.com/docs/api-reference for the requests; what vLLM adds to them is said where it is used.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from numbers import Real
from typing import Any, Literal

import numpy as np

from server_utils.errors import ConfigurationError
from server_utils.servers.launch import Launch

OnError = Literal["raise", "null", "struct"]


class Kind(Enum):
    """What is asked for, and where."""

    GENERATE = "/v1/completions"
    CHAT = "/v1/chat/completions"
    EMBED = "/v1/embeddings"


@dataclass(frozen=True)
class Question:
    """What a column asks of which servers.

    Attributes:
        model: the name it is served by.
        fields: what the request says besides the rows, such as max_tokens.
        schema: the JSON schema that answers must keep to; None for plain text.
        answer_type: the type of their column, as `DataType.jsonValue` has it; None for the one the schema means.
        details: whether each answer comes with its finish reason and its numbers of tokens.
        many: whether one request may hold several rows.
        window: rows in flight per task at most; None follows the server.
        key: the servers' API key, where they have one.
    """

    launch: Launch
    kind: Kind
    model: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    on_error: OnError = "raise"
    details: bool = False
    many: bool = True
    timeout_s: float = 600.0
    window: int | None = None
    key: str | None = field(default=None, repr=False)
    answer_type: Any = None

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises ConfigurationError."""
        if self.on_error not in ("raise", "null", "struct"):
            raise ConfigurationError(f'on_error must be "raise", "null" or "struct"; it is {self.on_error!r}')
        for name, value in {"timeout_s": self.timeout_s, "window": self.window}.items():
            if value is not None and not _is_positive(value):
                raise ConfigurationError(f"{name} must be a number, more than 0 and finite; it is {value!r}")
        if self.window is not None and self.window != int(self.window):
            raise ConfigurationError(f"window must be a whole number of rows; it is {self.window!r}")


def _is_positive(value: Any) -> bool:
    number = isinstance(value, Real) and not isinstance(value, bool)
    return number and 0 < value < math.inf


@dataclass(frozen=True)
class Answer:
    """One row's. value: text, what the schema describes, or a vector of float32; None where there is an error.

    kind: of the error: too_long, refused, timed_out, died, truncated, invalid. finish_reason: "stop" or "length".
    """

    value: Any = None
    error: str | None = None
    kind: str | None = None
    finish_reason: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None


NOTHING = Answer()  # of a null row


def with_error(answer: Answer, error: str, kind: str | None) -> Answer:
    """The same with an error in the place of its value."""
    return replace(answer, value=None, error=error, kind=kind)


def with_value(answer: Answer, value: Any) -> Answer:
    """The same with another value."""
    return replace(answer, value=value)


def path(question: Question, rows: int) -> str:
    """Where so many rows are asked."""
    batch = question.kind is Kind.CHAT and rows > 1
    return f"{question.kind.value}/batch" if batch else question.kind.value


def body(question: Question, prompts: Sequence[Any]) -> dict[str, Any]:
    """The request for these rows: texts, or conversations where the question is a chat."""
    common: dict[str, Any] = {"model": question.model, **question.fields}
    if question.schema is not None:
        common["structured_outputs"] = {"json": question.schema}  # vLLM's own; it holds for both endpoints
    if question.kind is Kind.EMBED:
        return common | {"input": list(prompts), "encoding_format": "base64"}
    if question.kind is Kind.CHAT:
        return common | {"messages": list(prompts) if len(prompts) > 1 else prompts[0]}
    if question.details:
        common["return_token_ids"] = True  # vLLM's own: the usage of a request is that of all its rows
    return common | {"prompt": list(prompts)}


def replies(question: Question, found: Mapping[str, Any], rows: int) -> list[Answer]:
    """The answers in a reply, in the order of the rows. Raises ValueError when it does not hold so many."""
    entries = sorted(found["data" if question.kind is Kind.EMBED else "choices"], key=lambda entry: entry["index"])
    if len(entries) != rows:
        raise ValueError(f"the server sent {len(entries)} answers for {rows} rows")
    if question.kind is Kind.EMBED:
        usage = found["usage"]["prompt_tokens"] if rows == 1 else None
        return [Answer(_vector(entry["embedding"]), finish_reason="stop", tokens_in=usage) for entry in entries]
    return [_text(question, entry, found.get("usage") if rows == 1 else None) for entry in entries]


def _vector(encoded: str) -> np.ndarray[Any, Any]:
    """Little-endian float32, as vLLM packs them."""
    return np.frombuffer(base64.b64decode(encoded), "<f4")


def _text(question: Question, entry: Mapping[str, Any], usage: Mapping[str, Any] | None) -> Answer:
    text = entry["message"]["content"] or "" if question.kind is Kind.CHAT else entry["text"]
    if not isinstance(text, str):
        raise TypeError(f"its text is {text!r:.80}")
    tokens_in = usage["prompt_tokens"] if usage else len(entry.get("prompt_token_ids") or ()) or None
    tokens_out = usage["completion_tokens"] if usage else len(entry.get("token_ids") or ()) or None
    return Answer(text, None, None, entry["finish_reason"], tokens_in, tokens_out)


def conversation(document: str) -> tuple[Any, str | None]:
    """A row of a chat: its messages, and what is wrong with them; (None, None) for a row without a question.

    document: JSON with the row's column in "m": a text is a message of the user; an array holds messages. Like a null
        text, messages one of which has null for its content, or for a part of it, ask nothing: the model would be
        asked something else than was meant.
    """
    column = json.loads(document).get("m")
    if column is None:
        return None, None
    if isinstance(column, str):
        return [{"role": "user", "content": column}], None
    problem = _malformed(column)
    if problem is not None:
        return None, problem
    if any(_asks_nothing(message) for message in column):
        return None, None
    return [_without_nulls(message) for message in column], None


def _malformed(column: Any) -> str | None:
    shape = "messages must be a text, or an array of structs with role and content that is not empty"
    if not isinstance(column, list) or not column:
        return shape
    for number, message in enumerate(column, 1):
        if not isinstance(message, dict):
            return f"{shape}; message {number} is {json.dumps(message)[:80]}"
        if not isinstance(message.get("role"), str) or not message["role"]:
            return f"{shape}; message {number} has no role"
        if "content" not in message and not _calls(message):
            return f"{shape}; message {number} has no content"
        content = message.get("content")
        if content == [] or not isinstance(content, str | list | None):
            return f"{shape}; the content of message {number} is {json.dumps(content)[:80]}, no text and no parts"
    return None


def _calls(message: Mapping[str, Any]) -> bool:
    """Whether it is an assistant's that says something else than content: OpenAI's interface has null there."""
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal"))


def _asks_nothing(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if content is None:
        return not _calls(message)
    return isinstance(content, list) and any(_is_empty_part(part) for part in content)


def _is_empty_part(part: Any) -> bool:
    """Whether the part is null, or what its type says that it holds is: a text, or a picture without its URL."""
    if not isinstance(part, dict):
        return part is None
    kind = part.get("type")
    if part.get("uuid"):
        return False  # vLLM's own: what it has in its cache
    if isinstance(kind, str) and kind in part:
        return not _holds(part[kind])
    return not any(_holds(each) for name, each in part.items() if name != "type")


def _holds(value: Any) -> bool:
    return value is not None and not (isinstance(value, dict) and all(each is None for each in value.values()))


def _without_nulls(value: Any) -> Any:
    """All structs of an array have the same fields in Spark, while a part has those of its own type only."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
