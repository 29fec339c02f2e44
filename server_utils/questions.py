"""What a column asks of a language model: how rows become a request, and a reply becomes answers. No Spark, no HTTP.

https://platform.openai.com/docs/api-reference for the requests; what vLLM adds to them is said where it is used.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import numpy as np

from server_utils import utf8
from server_utils.errors import ConfigurationError
from server_utils.process import Launch

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

    def __post_init__(self) -> None:
        """Refuse what cannot work. Raises ConfigurationError."""
        if self.on_error not in ("raise", "null", "struct"):
            raise ConfigurationError(f'on_error must be "raise", "null" or "struct"; it is {self.on_error!r}')
        for name, value in {"timeout_s": self.timeout_s, "window": self.window}.items():
            if value is not None and not value > 0:
                raise ConfigurationError(f"{name} must be more than 0; it is {value!r}")


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
    utf8.check(text)
    tokens_in = usage["prompt_tokens"] if usage else len(entry.get("prompt_token_ids") or ()) or None
    tokens_out = usage["completion_tokens"] if usage else len(entry.get("token_ids") or ()) or None
    return Answer(text, None, None, entry["finish_reason"], tokens_in, tokens_out)


def conversation(document: str) -> tuple[Any, str | None]:
    """A row of a chat: its messages, and what is wrong with them; (None, None) for a null row.

    document: JSON with the row's column in "m": a text is a message of the user; an array holds messages.
    """
    column = json.loads(document).get("m")
    if column is None:
        return None, None
    if isinstance(column, str):
        return [{"role": "user", "content": column}], None
    if not isinstance(column, list) or not all(isinstance(m, dict) and m.get("role") for m in column) or not column:
        return None, "messages must be a text, or an array of structs with role and content that is not empty"
    return column, None
