"""What is JSON, of what users give and of what models answer."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import json
import types

import numpy as np
import pytest

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.strict_json import AnswerError, Number, parse, plain


class Effort(enum.StrEnum):
    LOW = "low"


class Level(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (np.int64(4), 4),
        (np.float32(0.5), 0.5),
        (np.bool_(1), True),
        (np.str_("a"), "a"),
        (np.array(7), 7),
        (np.array([[1, 2]], np.int8), [[1, 2]]),
        ((1, [np.uint8(2)]), [1, [2]]),
        ({np.int64(50256): np.float64(-100)}, {"50256": -100.0}),
        ({1: {"a": (None, True)}}, {"1": {"a": [None, True]}}),
        (types.MappingProxyType({"a": Effort.LOW}), {"a": "low"}),
        (Level.ONE, 1),
        (2**70, 2**70),
        ("na\u00efve \U0001f600", "na\u00efve \U0001f600"),
    ],
)
def test_what_means_json_is_made_json(given, made):
    value = plain(given, "field")

    assert value == made
    assert json.loads(json.dumps(value, allow_nan=False)) == made
    assert type(value) in (str, int, float, bool, list, dict)


HOLDS_ITSELF: list = []
HOLDS_ITSELF.append(HOLDS_ITSELF)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({1, 2}, r"field is \{1, 2\} \(set\), which JSON cannot hold"),
        (float("nan"), r"field is nan \(float\)"),
        (np.float32("inf"), r"field is inf \(float\)"),
        (b"bytes", r"field is b'bytes' \(bytes\)"),
        (object, r"field is <class 'object'> \(type\)"),
        (decimal.Decimal("0.1"), r"\(Decimal\)"),
        (dt.date(2024, 1, 1), r"\(date\)"),
        (np.datetime64("2024-01-01"), r"\(date\)"),
        (3 + 4j, r"\(complex\)"),
        ({"a": [1, {"b": {2}}]}, r"field\['a'\]\[1\]\['b'\] is \{2\} \(set\)"),
        ([np.array([1.0, np.nan])], r"field\[0\]\[1\] is nan"),
        ({None: 1}, r"field has the key None \(NoneType\)"),
        ({True: 1}, r"field has the key True \(bool\)"),
        ({1: "a", "1": "b"}, "field has the key '1' twice"),
        ("\ud800", "half of a character"),
        (HOLDS_ITSELF, "field holds itself"),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(given, words):
    with pytest.raises(ConfigurationError, match=words):
        plain(given, "field")


def test_numbers_are_read_exactly_as_they_are_written():
    value = parse('[12345678901234567890, 0.1, 1e2, -0.0, {"a": null}]')

    assert value == [12345678901234567890, Number("0.1"), Number("1e2"), Number("-0.0"), {"a": None}]
    assert repr(value[1]) == "0.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NaN", "NaN is no number in JSON"),
        ('{"a": [-Infinity]}', "-Infinity is no number in JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "'c' is there twice"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("9" * 5000, "no column holds the number 99999999999999999999… of 5000 digits"),
        ("1e999999999", "no column holds the number 1e999999999"),
        ("1e-99999999999999999999", "no column holds the number"),
    ],
)
def test_what_python_would_read_loosely_is_an_error(text, words):
    with pytest.raises(AnswerError) as caught:
        parse(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "Bonn", "{'a': 1}", '{"a": 1} and more', '"a\nb"', "01", "```json\n{}\n```"])
def test_what_is_no_json_is_an_error(text):
    with pytest.raises(json.JSONDecodeError):
        parse(text)
