"""Strict JSON: values of users in JSON's own types, and answers of models read exactly. Both sides.

Python's `json` writes and reads NaN, lets the last of two equal keys win, and rounds every number with a point.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np

from server_utils.errors import ConfigurationError

_DIGITS = 400  # no type of Spark holds a number with so many before or after its point
_KINDS = "texts, numbers, True, False, None, and lists and dicts of these"


class AnswerError(ValueError):
    """A model's answer is not what was requested: one row's fault, never the caller's."""


class Number(Decimal):
    """A number with a point or an exponent, exactly as it was written."""

    def __repr__(self) -> str:
        return str(self)


def plain(value: Any, name: str) -> Any:
    """The same in JSON's own types: NumPy's scalars and arrays, tuples and whole numbers as keys are converted.

    name: what the user calls it, for the error.

    Raises:
        ConfigurationError: it holds what JSON has no way to write.
    """
    try:
        return _plain(value, name)
    except RecursionError as error:
        raise ConfigurationError(f"{name} holds itself, or is nested too deeply for JSON") from error


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, name)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}[{at}]") for at, each in enumerate(value)]
    if isinstance(value, Mapping):
        return _object(value, name)
    raise ConfigurationError(f"{name} is {_shown(value)}, which JSON cannot hold; it can hold {_KINDS}")


def _text(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} is {value[:80]!r}, half of a character of two parts; take it out") from error
    return str.__str__(value)


def _object(value: Mapping[Any, Any], name: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, each in value.items():
        word = _key(key, name)
        if word in members:
            raise ConfigurationError(f"{name} has the key {word!r} twice, once as a text and once as a number")
        members[word] = _plain(each, f"{name}[{word!r}]")
    return members


def _key(key: Any, name: str) -> str:
    if isinstance(key, str):
        return _text(key, name)
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return str(int(key))  # tokens in logit_bias
    raise ConfigurationError(f"{name} has the key {_shown(key)}; JSON's keys are texts, or whole numbers made texts")


def _shown(value: Any) -> str:
    text = repr(value)
    kind = type(value).__name__
    return f"{text if len(text) <= 80 else text[:80] + '…'} ({kind})"  # noqa: PLR2004 - as much as a line shows


def parse(text: str) -> Any:
    """The value of a JSON text. Numbers without a point and an exponent are `int`, all others `Number`.

    Raises:
        json.JSONDecodeError: it is not JSON.
        AnswerError: only a loose parser reads it: NaN, a key twice, too large a number, too deep.
    """
    try:
        return json.loads(
            text, parse_float=_number, parse_int=_whole, parse_constant=_constant, object_pairs_hook=_pairs
        )
    except RecursionError as error:
        raise AnswerError("it is nested too deeply") from error


def _constant(word: str) -> Any:
    raise AnswerError(f"{word} is no number in JSON")


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise AnswerError(f"no column holds the number {digits[:20]}… of {len(digits)} digits")
    return int(digits)


def _number(digits: str) -> Number:
    try:
        number = Number(digits)
    except InvalidOperation:
        number = Number("NaN")  # an exponent that Decimal does not have
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS:
        raise AnswerError(f"no column holds the number {digits[:40]}")
    return number


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise AnswerError(f"{twice!r} is there twice")
    return members
