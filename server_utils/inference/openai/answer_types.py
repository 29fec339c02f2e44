"""Typed answers: each is exactly a value of the type, or an error. Both sides; no schemas, no servers.

`from_json` of Spark makes null, without a word, of what does not fit, reads no keys but texts, and reads times by
settings of the session. So values are checked and written out here (executors), and `column` has Spark read the plain
ones with `from_json` and make the others from texts by casts, which mean the same in every session and release.

A type is given as `DataType.jsonValue` has it.
"""

from __future__ import annotations

import datetime as dt
import importlib
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from server_utils.inference.openai.strict_json import AnswerError, parse

BITS = {"byte": 8, "short": 16, "integer": 32, "long": 64}
_SQL = {"byte": "tinyint", "short": "smallint", "integer": "int", "long": "bigint"}
_FLOATS = ("float", "double")
_TEXT = re.compile(r"string(?: collate \w+)?")
_SIZED = re.compile(r"varchar\((\d+)\)")
_DECIMAL = re.compile(r"decimal\((\d+),\s*(-?\d+)\)")
_CASTS = ("date", "timestamp", "timestamp_ntz")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ](?P<time>[0-9]{2}:[0-9]{2})(?P<second>:[0-9]{2})?"
    r"(?:\.(?P<fraction>[0-9]+))?(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_MICROS = 6
_MOST_OFFSET = dt.timedelta(hours=18)  # as java.time has it


def decimal_of(kind: Any) -> tuple[int, int] | None:
    """Precision and scale of a decimal; None of other types."""
    match = _DECIMAL.fullmatch(kind) if isinstance(kind, str) else None
    return (int(match[1]), int(match[2])) if match else None


def varchar_of(kind: Any) -> int | None:
    """The most characters of a varchar; None of other types."""
    match = _SIZED.fullmatch(kind) if isinstance(kind, str) else None
    return int(match[1]) if match else None


def is_text(kind: Any) -> bool:
    """Whether it is a string, of whatever collation."""
    return isinstance(kind, str) and _TEXT.fullmatch(kind) is not None


def is_plain(kind: Any) -> bool:
    """Whether it is one of the types, without parts, that answers can have."""
    if not isinstance(kind, str):
        return False
    return kind in (*BITS, *_FLOATS, *_CASTS, "boolean") or is_text(kind) or bool(decimal_of(kind) or varchar_of(kind))


def written(kind: Any, value: Any, where: str = "$") -> Any:
    """The value for `column` to read: JSON whose every part fits the type.

    Args:
        kind: the type.
        value: as `strict_json.parse` reads it; of an object, what the type has no field for is left out.
        where: the value's place in the answer.

    Raises:
        AnswerError: it is not of the type, or more than the type can hold.
    """
    if value is None:
        return None
    if isinstance(kind, str):
        return _leaf(kind, value, where)
    if kind["type"] == "array":
        return [
            _part(kind["elementType"], each, f"{where}[{at}]", nullable=kind["containsNull"])
            for at, each in enumerate(_of(list, value, "array", where))
        ]
    members = _of(dict, value, "object", where)
    if kind["type"] == "map":
        return _map(kind, members, where)
    fields = {field["name"]: field for field in kind["fields"]}
    return {
        name: _part(fields[name]["type"], each, f"{where}.{name}", nullable=fields[name]["nullable"])
        for name, each in members.items()
        if name in fields
    }


def _part(kind: Any, value: Any, where: str, *, nullable: bool) -> Any:
    if value is None and not nullable:
        raise AnswerError(f"{where}: it is null, which its type does not allow")
    return written(kind, value, where)


def _of(python: type, value: Any, name: str, where: str) -> Any:
    if not isinstance(value, python):
        raise AnswerError(f"{where}: {_shown(value)} is no {name}")
    return value


def _map(kind: Mapping[str, Any], members: Mapping[str, Any], where: str) -> Any:
    """A map: an object if its keys are texts, else an array of entries, as `from_json` reads no other keys."""
    nullable = kind["valueContainsNull"]
    values = {key: _part(kind["valueType"], each, f"{where}.{key}", nullable=nullable) for key, each in members.items()}
    if is_text(kind["keyType"]):
        return {_text(key, where): each for key, each in values.items()}
    entries: dict[Any, Any] = {}
    for key, each in values.items():
        map_key = _mapped_key(kind["keyType"], key, where)
        if map_key in entries:
            raise AnswerError(f"{where}: the key {key!r} is there twice, in two spellings")
        entries[map_key] = each
    return [{"key": key, "value": each} for key, each in entries.items()]


def _mapped_key(kind: str, key: str, where: str) -> Any:
    if kind in _CASTS or varchar_of(kind):
        return _leaf(kind, key, where)
    try:
        return _leaf(kind, parse(key), where)
    except ValueError as error:
        raise AnswerError(f"{where}: the key {key!r} is no {_SQL.get(kind, kind)}, or more than it holds") from error


def _leaf(kind: str, value: Any, where: str) -> Any:
    if kind == "boolean":
        return _of(bool, value, "boolean", where)
    if kind in BITS:
        return _whole(kind, value, where)
    if kind in _FLOATS:
        return _float(kind, value, where)
    if size := decimal_of(kind):
        return _decimal(kind, size, value, where)
    return _words(kind, _text(_of(str, value, "text", where), where), where)


def _words(kind: str, text: str, where: str) -> str:
    if kind == "date":
        return _date(text, where)
    if kind in _CASTS:
        return _moment(kind, text, where)
    if (most := varchar_of(kind)) and len(text) > most:
        raise AnswerError(f"{where}: {_shown(text)} has {len(text)} characters, more than {kind} holds")
    return text


def _text(value: str, where: str) -> str:
    """The text. Raises AnswerError for half of a surrogate pair, which Spark would turn into a question mark."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise AnswerError(f"{where}: {_shown(value)} holds half of a character, which no text can") from error
    return value


def _numeric(value: Any, kind: str, where: str) -> int | Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise AnswerError(f"{where}: {_shown(value)} is no {_SQL.get(kind, kind)}")
    return value


def _whole(kind: str, value: Any, where: str) -> int:
    """The whole number. It may be written as 3.0 or 1e2, as in JSON Schema."""
    number = _numeric(value, kind, where)
    if number != int(number):
        raise AnswerError(f"{where}: {number} is no whole number, as {_SQL[kind]} wants")
    half = 2 ** (BITS[kind] - 1)
    if not -half <= number < half:
        raise AnswerError(f"{where}: {number} is more than {_SQL[kind]} holds")
    return int(number)


def _float(kind: str, value: Any, where: str) -> float:
    """The nearest float. Raises AnswerError for a number that rounds to infinity."""
    number = _numeric(value, kind, where)
    try:
        with np.errstate(over="ignore"):
            near = float(number) if kind == "double" else float(np.float32(float(number)))
    except OverflowError:
        near = math.inf
    if math.isinf(near):
        raise AnswerError(f"{where}: {number} is more than {kind} holds")
    return near


def _decimal(kind: str, size: tuple[int, int], value: Any, where: str) -> str:
    """The exact number as text, with the digits of its scale. `Decimal` would round it to a context's precision."""
    precision, scale = size
    exact = Decimal(_numeric(value, kind, where))
    sign, digits, exponent = exact.as_tuple()
    number, shift = int("".join(map(str, digits))), int(exponent) + scale
    unscaled, rest = (number * 10**shift, 0) if shift >= 0 else divmod(number, 10**-shift)
    if rest:
        raise AnswerError(f"{where}: {exact} has more digits after its point than {kind} keeps")
    if unscaled >= 10**precision:
        raise AnswerError(f"{where}: {exact} is more than {kind} holds")
    return format(Decimal((sign, tuple(map(int, str(unscaled))), -scale)), "f")


def _date(text: str, where: str) -> str:
    try:
        if _DATE.fullmatch(text):
            return dt.date.fromisoformat(text).isoformat()
    except ValueError:  # the 30th of February
        pass
    raise AnswerError(f"{where}: {_shown(text)} is no date such as 2024-02-29")


def _moment(kind: str, text: str, where: str) -> str:
    """The time with microseconds. It stays without an offset if it has none: Spark reads it in the session's zone."""
    match = _TIME.fullmatch(text)
    if not match or (match["fraction"] and not match["second"]):
        example = "2024-02-29T12:00:00" + ("" if kind == "timestamp_ntz" else "Z")
        raise AnswerError(f"{where}: {_shown(text)} is no time such as {example}")
    if kind == "timestamp_ntz" and match["zone"]:
        raise AnswerError(f"{where}: {_shown(text)} has a time zone, which {kind} cannot keep")
    fraction = match["fraction"] or ""
    if fraction[_MICROS:].strip("0"):
        raise AnswerError(f"{where}: {_shown(text)} is finer than a microsecond")
    whole = f"{match['day']}T{match['time']}{match['second'] or ':00'}.{fraction[:_MICROS]:0<6}"
    moment = _real(whole + (match["zone"] or "").upper())
    if moment is None:
        raise AnswerError(f"{where}: {_shown(text)} is no time that there is")
    return moment.isoformat(timespec="microseconds")


def _real(text: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
        utc = moment.replace(tzinfo=None) - (moment.utcoffset() or dt.timedelta())
    except (ValueError, OverflowError):  # the 30th of February; an hour before the year 1, in UTC
        return None
    return moment if abs(moment.replace(tzinfo=None) - utc) <= _MOST_OFFSET else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004 - as much as an error needs


def column(kind: Any, written_json: Any) -> Any:
    """Spark's column of the type, from one of the texts that `written` has made."""
    functions: Any = importlib.import_module("pyspark.sql.functions")  # its stubs differ from version to version
    # The text was checked. If Spark cannot read it after all, the job fails: a null would look like an answer.
    read = functions.from_json(written_json, spark(_json_type(kind)), {"mode": "FAILFAST"})
    if _json_type(kind) == kind:
        return read
    # The parts are used often and must be computed once: Spark computes the argument of a function once.
    return functions.transform(functions.array(read), lambda each: _converted(kind, each, functions)).getItem(0)


def spark(kind: Any) -> Any:
    """The type as pyspark's `DataType`."""
    from pyspark.sql import types

    return types.StructType.fromJson({"type": "struct", "fields": [_field("value", kind)]})["value"].dataType


def _field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


def _json_type(kind: Any) -> Any:
    """The type for `from_json`. Every part may be null, because `from_json` ignores that a part may not."""
    if isinstance(kind, str):
        return "string" if kind in _CASTS or varchar_of(kind) else kind
    if kind["type"] == "array":
        return kind | {"elementType": _json_type(kind["elementType"]), "containsNull": True}
    if kind["type"] == "struct":
        fields = [field | {"type": _json_type(field["type"]), "nullable": True} for field in kind["fields"]]
        return kind | {"fields": fields}
    value = _json_type(kind["valueType"])
    if is_text(kind["keyType"]):
        return kind | {"valueType": value, "valueContainsNull": True}
    entry = {"type": "struct", "fields": [_field("key", _json_type(kind["keyType"])), _field("value", value)]}
    return {"type": "array", "elementType": entry, "containsNull": True}


def _converted(kind: Any, read: Any, functions: Any) -> Any:
    """A part as its own type, made from what `from_json` has read."""
    if _json_type(kind) == kind or varchar_of(kind):
        return read
    if isinstance(kind, str):
        return read.cast(spark(kind))
    if kind["type"] == "array":
        element, nullable = kind["elementType"], kind["containsNull"]
        return functions.transform(read, lambda each: _as_declared(element, each, functions, nullable=nullable))
    if kind["type"] == "struct":
        fields = [
            _as_declared(field["type"], read.getField(field["name"]), functions, nullable=field["nullable"]).alias(
                field["name"], metadata=field["metadata"]
            )
            for field in kind["fields"]
        ]
        return functions.when(read.isNotNull(), functions.struct(*fields))
    return _mapped(kind, read, functions)


def _mapped(kind: Mapping[str, Any], read: Any, functions: Any) -> Any:
    nullable = kind["valueContainsNull"]
    if is_text(kind["keyType"]):
        return functions.transform_values(
            read, lambda _, each: _as_declared(kind["valueType"], each, functions, nullable=nullable)
        )

    def entry(each: Any) -> Any:
        return functions.struct(
            _converted(kind["keyType"], each.getField("key"), functions).alias("key"),
            _as_declared(kind["valueType"], each.getField("value"), functions, nullable=nullable).alias("value"),
        )

    return functions.map_from_entries(functions.transform(read, entry))


def _as_declared(kind: Any, read: Any, functions: Any, *, nullable: bool) -> Any:
    """The part. Where it cannot be null, a default by `coalesce` makes Spark's type say so."""
    part = _converted(kind, read, functions)
    return part if nullable else functions.coalesce(part, _any_value(kind, functions))


def _any_value(kind: Any, functions: Any) -> Any:
    if isinstance(kind, str) and kind in _CASTS:
        return functions.expr(f"{'timestamp_ltz' if kind == 'timestamp' else kind}'1970-01-01'")
    if isinstance(kind, str):
        return functions.lit(_any_leaf(kind)).cast(spark("string" if varchar_of(kind) else kind))
    if kind["type"] == "array":
        return functions.array(_any_value(kind["elementType"], functions))
    if kind["type"] == "map":
        return functions.create_map(*(_any_value(kind[part], functions) for part in ("keyType", "valueType")))
    return functions.struct(*(_any_value(field["type"], functions).alias(field["name"]) for field in kind["fields"]))


def _any_leaf(kind: str) -> Any:
    """A literal whose cast, if there is one, cannot fail: Spark takes the result of others for nullable."""
    if size := decimal_of(kind):
        return Decimal((0, (9,) * size[0], -size[1]))
    if is_text(kind) or varchar_of(kind):
        return ""
    return False if kind == "boolean" else 0
