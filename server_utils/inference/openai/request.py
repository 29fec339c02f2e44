"""What a column requests from a language model: how rows become a request, and a reply becomes answers.

No Spark, no HTTP. https://platform.openai.com/docs/api-reference has the requests; `Dialect` what engines change.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from numbers import Real
from typing import Any

import numpy as np

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.row_errors import OnError, check_on_error
from server_utils.servers.launch import Launch


class Endpoint(Enum):
    """What is requested, and its path."""

    GENERATE = "/v1/completions"
    CHAT = "/v1/chat/completions"
    EMBED = "/v1/embeddings"


@dataclass(frozen=True)
class CompletionRequest:
    """What a column requests for each of its rows, and from which servers.

    Attributes:
        model: the name it is served by.
        fields: what each request says besides the rows, such as max_tokens.
        schema: the JSON schema that answers must keep to; None for plain text.
        answer_type: the type of their column, as `DataType.jsonValue` has it; None for the one the schema means.
        details: whether each answer comes with its finish reason and its numbers of tokens.
        window: rows in flight per task at most; None follows the server.
        key: the servers' API key, where they have one.
        dialect: of the engine that answers.
    """

    launch: Launch
    endpoint: Endpoint
    model: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    on_error: OnError = "raise"
    details: bool = False
    timeout_s: float = 600.0
    window: int | None = None
    key: str | None = field(default=None, repr=False)
    answer_type: Any = None
    dialect: Dialect = field(default_factory=Dialect, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises ConfigurationError."""
        check_on_error(self.on_error)
        for name, value in {"timeout_s": self.timeout_s, "window": self.window}.items():
            if value is not None and not _is_positive(value):
                raise ConfigurationError(f"{name} must be a number, more than 0 and finite; it is {value!r}")
        if self.window is not None and self.window != int(self.window):
            raise ConfigurationError(f"window must be a whole number of rows; it is {self.window!r}")
        object.__setattr__(self, "window", None if self.window is None else int(self.window))
        if self.schema is not None and self.dialect.schema_field is None:
            raise ConfigurationError(
                "this engine ignores JSON schemas, so response_format cannot be kept; leave it out, or use an engine "
                "that has them, such as vLLM"
            )

    @property
    def rows_per_request(self) -> int:
        """Rows that one HTTP request may hold."""
        if self.endpoint is Endpoint.CHAT:
            return self.dialect.rows_per_request if self.dialect.chat_batch_path and not self.details else 1
        if self.details and self.endpoint is Endpoint.GENERATE and self.dialect.token_ids_field is None:
            return 1
        return self.dialect.rows_per_request


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


def path(request: CompletionRequest, rows: int) -> str:
    """The path for a request with so many rows."""
    if request.endpoint is Endpoint.CHAT and rows > 1 and request.dialect.chat_batch_path:
        return request.dialect.chat_batch_path
    return request.endpoint.value


def body(request: CompletionRequest, prompts: Sequence[Any]) -> dict[str, Any]:
    """The JSON body for these rows: texts, or conversations for a chat."""
    dialect = request.dialect
    common: dict[str, Any] = ({"model": request.model} if dialect.sends_model else {}) | dict(request.fields)
    if request.schema is not None and dialect.schema_field is not None:
        common |= dialect.schema_field.holding(request.schema)
    one_or_many = list(prompts) if request.rows_per_request > 1 else prompts[0]
    if request.endpoint is Endpoint.EMBED:
        return common | {"input": one_or_many} | ({"encoding_format": "base64"} if dialect.base64_vectors else {})
    if request.endpoint is Endpoint.CHAT:
        return common | {"messages": list(prompts) if len(prompts) > 1 else prompts[0]}
    if request.details and dialect.token_ids_field is not None:
        common[dialect.token_ids_field] = True  # the usage of a reply is that of all its rows
    return common | {"prompt": one_or_many}


def replies(request: CompletionRequest, reply: Mapping[str, Any], rows: int) -> list[Answer]:
    """The answers in a reply, in the order of the rows. Raises ValueError when it does not hold so many."""
    vectors = request.endpoint is Endpoint.EMBED
    entries = sorted(reply["data" if vectors else "choices"], key=lambda entry: entry["index"])
    if len(entries) != rows:
        raise ValueError(f"the server sent {len(entries)} answers for {rows} rows")
    if vectors:
        tokens = reply["usage"]["prompt_tokens"] if rows == 1 else None
        return [Answer(_vector(entry["embedding"]), finish_reason="stop", tokens_in=tokens) for entry in entries]
    return [_text(request, entry, reply.get("usage") if rows == 1 else None) for entry in entries]


def _vector(embedding: str | list[float]) -> np.ndarray[Any, Any]:
    """Float32, from base64 of little-endian values or from a list of numbers."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)


def _text(request: CompletionRequest, entry: Mapping[str, Any], usage: Mapping[str, Any] | None) -> Answer:
    text = entry["message"]["content"] or "" if request.endpoint is Endpoint.CHAT else entry["text"]
    if not isinstance(text, str):
        raise TypeError(f"its text is {text!r:.80}")
    tokens_in = usage["prompt_tokens"] if usage else len(entry.get("prompt_token_ids") or ()) or None
    tokens_out = usage["completion_tokens"] if usage else len(entry.get("token_ids") or ()) or None
    return Answer(text, None, None, entry["finish_reason"], tokens_in, tokens_out)
