"""A row of a chat column: its messages, checked. No Spark, no HTTP.

https://platform.openai.com/docs/api-reference/chat for what a message may hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def conversation(document: str) -> tuple[Any, str | None]:
    """A row of a chat: its messages, and what is wrong with them; (None, None) for a row that is not sent.

    document: JSON with the row's column in "m": a text is a message of the user; an array holds messages. A null text
        is not sent. Neither are messages one of which has null for its content, or for a part of it: the model would
        answer something else than was meant.
    """
    column = json.loads(document).get("m")
    if column is None:
        return None, None
    if isinstance(column, str):
        return [{"role": "user", "content": column}], None
    problem = _malformed(column)
    if problem is not None:
        return None, problem
    if any(_is_incomplete(message) for message in column):
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
        if "content" not in message and not _has_other_content(message):
            return f"{shape}; message {number} has no content"
        content = message.get("content")
        if content == [] or not isinstance(content, str | list | None):
            return f"{shape}; the content of message {number} is {json.dumps(content)[:80]}, no text and no parts"
    return None


def _has_other_content(message: Mapping[str, Any]) -> bool:
    """Whether it is an assistant's that says something else than content: OpenAI's interface has null there."""
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal"))


def _is_incomplete(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    if content is None:
        return not _has_other_content(message)
    return isinstance(content, list) and any(_is_empty_part(part) for part in content)


def _is_empty_part(part: Any) -> bool:
    """Whether the part is null, or what its type says that it holds is: a text, or a picture without its URL."""
    if not isinstance(part, dict):
        return part is None
    kind = part.get("type")
    if part.get("uuid"):
        return False  # an extension of OpenAI's parts: it names what the server has in its cache
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
