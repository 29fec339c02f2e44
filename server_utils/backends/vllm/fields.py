"""The fields of a request to vLLM's OpenAI server: those that are ours, those that were renamed, and those it knows.

Driver. The engine ignores fields that it does not know; here they are errors, before any job.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.request import Kind
from server_utils.inference.openai.strict_json import plain

_ARGUMENTS = ("on_error", "details", "timeout_s", "window")  # of the column functions
_OURS = {
    "model": "it is the manager's model_name",
    "prompt": "it is the column",
    "messages": "they are the column",
    "input": "it is the column",
    "stream": "answers come whole, one per row",
    "n": "a row has one answer",
    "echo": "join the two columns in Spark",
    "encoding_format": "vectors travel as bytes",
    "return_token_ids": "details=True counts tokens",
}
# vLLM 0.32: "CPU Generator does not use offset", once a prompt is read in several steps; under load any may be.
_DEADLY_ON_CPU = ("seed",)
# Fields of older releases, which the server ignores without a word.
_RENAMED = {
    "guided_json": "response_format={value}",
    "guided_choice": "structured_outputs={{'choice': {value}}}",
    "guided_regex": "structured_outputs={{'regex': {value}}}",
    "guided_grammar": "structured_outputs={{'grammar': {value}}}",
}


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request in JSON's own types; what is None is not said.

    Raises:
        ConfigurationError: one holds what JSON cannot, such as a set or a column: it is the same for all rows.
    """
    return {name: plain(value, name) for name, value in fields.items() if value is not None}


def check(fields: Mapping[str, Any], known: Sequence[str] | None, kind: Kind, *, device: str | None = None) -> None:
    """Refuse what the server would refuse, ignore or die of.

    known: what the server says that a request may hold; None where it does not offer such requests.
    device: what it says that it runs on: "cpu" or "gpu".

    Raises:
        ConfigurationError: with the names that are near.
    """
    if known is None:
        wanted = {Kind.EMBED: 'start_servers(runner="pooling")'}.get(kind, 'start_servers(runner="generate")')
        raise ConfigurationError(f"these servers do not offer {kind.value}; start them with {wanted}")
    for name, value in fields.items():
        if name in _OURS:
            raise ConfigurationError(f"{name} cannot be chosen: {_OURS[name]}")
        if name in _DEADLY_ON_CPU and device == "cpu":
            raise ConfigurationError(
                f"{name} ends the engine of vLLM 0.32 on a CPU, and all requests with it, once a prompt is read in "
                "several steps; leave it out (temperature=0 needs none)"
            )
        if name in _RENAMED and name not in known:
            raise ConfigurationError(f"vLLM has no {name} any more; say {_RENAMED[name].format(value=repr(value))}")
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_ARGUMENTS], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; it takes {', '.join(known)}"
            raise ConfigurationError(f"{kind.value} has no field {name!r}{hint}")
