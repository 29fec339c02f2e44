"""Structured output: JSON schemas, pydantic models and Spark types, turned into one another. Driver, but `Checker`.

https://json-schema.org/draft/2020-12; what Spark has no type for is refused here rather than lost in a column.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.answer_types import BITS, decimal_of, is_plain, is_text, varchar_of, written
from server_utils.inference.openai.schema_types import spark_type
from server_utils.inference.openai.strict_json import AnswerError, Number, parse, plain

# Grammars of engines know these; by JSON Schema any other one, such as pydantic's `path`, says nothing.
_FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
_CHECKED_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid")  # without packages of their own
_EXACT_DIGITS = 15  # what a float has in any case: bounds with more would be others than those that are meant
_WAYS = "a JSON schema (a dict), a pydantic model's class or a Spark type"


@dataclass(frozen=True)
class AnswerFormat:
    """What answers must keep to, and what they become.

    Attributes:
        schema: the JSON schema; None for text.
        kind: the column's type, as `DataType.jsonValue` has it.
    """

    schema: Mapping[str, Any] | None = None
    kind: Any = None


def answer_format(response_format: Any) -> AnswerFormat:
    """The format that `response_format` stands for, see `schema_of`; None is text. Raises ConfigurationError."""
    if response_format is None:
        return AnswerFormat()
    schema = schema_of(response_format)
    kind = response_format.jsonValue() if _is_spark(response_format) else None
    return AnswerFormat(schema, Checker(schema, kind).kind)


def schema_of(response_format: Any) -> dict[str, Any]:
    """The JSON schema that `response_format` stands for.

    response_format: a JSON schema, OpenAI's `{"type": "json_schema", …}` around one, a pydantic model's class (of
        pydantic 1 too), what pydantic makes a schema of (a dataclass, a TypedDict, a TypeAdapter), or a Spark type.

    Raises:
        ConfigurationError: it is none of these.
    """
    if _is_spark(response_format):
        return _from_spark(response_format.jsonValue())
    if isinstance(response_format, Mapping):
        given: Any = _unwrapped(response_format)
    else:
        given = _from_class(response_format)
    schema = plain(given, "response_format")
    if not isinstance(schema, dict):
        raise _no_schema(response_format)
    return dict(_as_draft_2020(schema))


def _is_spark(given: Any) -> bool:
    return hasattr(given, "jsonValue") and not isinstance(given, type)


def _no_schema(given: Any) -> ConfigurationError:
    return ConfigurationError(f"response_format must be {_WAYS}; it is {given!r}")


def _unwrapped(given: Mapping[str, Any]) -> Any:
    """The schema in OpenAI's wrapping, of either of its interfaces."""
    kind = given.get("type")
    if kind == "json_object":
        raise ConfigurationError(
            "response_format {'type': 'json_object'} leaves open which fields there are, and a column has a type: give "
            "a schema of the fields, or take the JSON as text with structured_outputs={'json_object': True}"
        )
    if kind == "text":
        raise ConfigurationError("response_format {'type': 'text'} is what you get without it: leave it out")
    if kind != "json_schema" and not isinstance(given.get("json_schema"), Mapping):
        return given
    inside = given.get("json_schema", given)
    if not isinstance(inside, Mapping) or not isinstance(inside.get("schema"), Mapping):
        raise ConfigurationError(
            "response_format {'type': 'json_schema'} holds no schema; say {'type': 'json_schema', 'json_schema': "
            "{'name': 'answer', 'schema': {...}}}, or give the schema itself"
        )
    return inside["schema"]


def _from_class(given: Any) -> Any:
    """The schema by which pydantic describes a class, or a type such as `list[int]`."""
    if hasattr(given, "model_json_schema"):
        return _described(given, given.model_json_schema)
    if hasattr(given, "json_schema") and hasattr(given, "validate_python"):
        return _described(given, given.json_schema)
    if isinstance(given, type) and hasattr(given, "__fields__") and hasattr(given, "schema"):
        return _described(given, given.schema)  # pydantic 1
    if hasattr(given, "jsonValue"):
        raise ConfigurationError(f"response_format is the class {given.__name__}; say {given.__name__}()")
    if not isinstance(given, type) and typing.get_origin(given) is None:
        raise _no_schema(given)
    try:
        from pydantic import TypeAdapter
    except ImportError as error:
        raise ConfigurationError(
            f"response_format is {given!r}, whose schema pydantic 2 would make, and it is not installed here; give "
            "a JSON schema (a dict) or a Spark type"
        ) from error
    return _described(given, lambda: TypeAdapter(given).json_schema())


def _described(given: Any, schema: Callable[[], Any]) -> Any:
    try:
        return schema()
    except Exception as error:  # pydantic's own errors, of any version, and those of the user's class
        raise ConfigurationError(
            f"response_format must be {_WAYS}; of {given!r} no schema can be made: {type(error).__name__}: {error}"
        ) from error


_NAMED = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")


def _as_draft_2020(schema: Any) -> Any:
    """The schema by draft 2020-12: OpenAPI's `nullable` and the older list of `items` for a tuple are replaced."""
    if not isinstance(schema, dict):
        return schema
    modern = {key: value for key, value in schema.items() if key != "format" or value in _FORMATS}
    if isinstance(modern.get("items"), list):
        rest = modern.pop("additionalItems", None)
        modern["prefixItems"] = modern.pop("items")
        if rest is not None:
            modern["items"] = rest
    for key in set(modern) & {*_NAMED, *_LISTED, *_SINGLE}:
        modern[key] = _members(key, modern[key])
    nullable = modern.pop("nullable", None)
    return {"anyOf": [modern, {"type": "null"}]} if nullable is True else modern


def _members(key: str, value: Any) -> Any:
    if key in _NAMED and isinstance(value, dict):
        return {name: _as_draft_2020(each) for name, each in value.items()}
    if key in _LISTED and isinstance(value, list):
        return [_as_draft_2020(each) for each in value]
    return _as_draft_2020(value)


def _from_spark(kind: Any) -> dict[str, Any]:
    """A schema whose every answer fits the Spark type; kind: as `DataType.jsonValue` has it."""
    if is_plain(kind):
        return _plain_type(kind)
    name = kind if isinstance(kind, str) else kind["type"]
    if name == "array":
        return {"type": "array", "items": _nullable(_from_spark(kind["elementType"]), maybe=kind["containsNull"])}
    if name == "map":
        if not is_plain(kind["keyType"]):
            raise ConfigurationError("response_format holds a map whose keys have parts; JSON's keys are texts")
        values = _nullable(_from_spark(kind["valueType"]), maybe=kind["valueContainsNull"])
        return {"type": "object", "additionalProperties": values}
    if name != "struct":
        raise ConfigurationError(f"response_format holds a {name}, which JSON has no type for; use a string")
    fields = {field["name"]: _field(field) for field in kind["fields"]}
    if len(fields) < len(kind["fields"]) or not fields:
        what = "two fields of one name" if fields else "no fields"
        raise ConfigurationError(f"response_format holds a struct with {what}; give each field a name of its own")
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


_TEXTS: dict[str, dict[str, Any]] = {
    "date": {"format": "date"},
    "timestamp": {"format": "date-time"},
    # `date-time` has a time zone, which this type cannot keep: the engine would write one every time. Not `(…)?`, which
    # vLLM 0.32 takes without its first character too: 12:00:0288777.
    "timestamp_ntz": {"pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,6}|)$"},
}


def _plain_type(kind: str) -> dict[str, Any]:
    """The schema of a plain type, with the bounds that grammars of engines can hold. All are checked on arrival.

    A bigint has no bounds: a model that is stopped at them writes other digits instead of more.
    """
    if kind in _TEXTS or is_text(kind):
        return {"type": "string"} | _TEXTS.get(kind, {})
    if most := varchar_of(kind):
        return {"type": "string", "maxLength": most}
    if kind in BITS:
        half = 2 ** (BITS[kind] - 1)
        return {"type": "integer"} | ({} if kind == "long" else {"minimum": -half, "maximum": half - 1})
    if size := decimal_of(kind):
        return _decimal(*size)
    return {"type": "boolean" if kind == "boolean" else "number"}


def _decimal(precision: int, scale: int) -> dict[str, Any]:
    kind = {"type": "number" if scale > 0 else "integer"}
    if precision > _EXACT_DIGITS:
        return kind
    most = Decimal((0, (9,) * precision, -scale))
    bound = float(most) if scale > 0 else int(most)
    return kind | {"minimum": -bound, "maximum": bound}


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a field. Its comment becomes the description, which the model reads."""
    schema = _nullable(_from_spark(field["type"]), maybe=field["nullable"])
    comment = field.get("metadata", {}).get("comment")
    return schema | ({"description": comment} if comment else {})


def _nullable(schema: dict[str, Any], *, maybe: bool) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]} if maybe else schema


class Checker:
    """Checks answers against a schema and the type of their column. Executors."""

    def __init__(self, schema: Mapping[str, Any], kind: Any = None) -> None:
        """Raises ConfigurationError when the schema is none, or no column's; kind: its type, where it was given."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise ConfigurationError(f"response_format is not a JSON schema: {error.message}") from error
        self.kind = spark_type(schema).jsonValue() if kind is None else kind
        self._validator = _validator(schema)

    def read(self, text: str) -> Any:
        """The answer, as `answer_types.column` reads it. Raises ValueError saying what is wrong with it."""
        value = parse(text)
        violation = next(iter(self._validator.iter_errors(value)), None)
        if violation is not None:
            raise AnswerError(f"{violation.json_path}: {violation.message[:300]}")
        return written(self.kind, value)


def _validator(schema: Mapping[str, Any]) -> Any:
    """A validator that computes with exact numbers, as `strict_json.parse` reads them, in the schema too."""
    from jsonschema import Draft202012Validator, FormatChecker, validators

    types = {
        "number": lambda _, value: _is_number(value),
        "integer": lambda _, value: _is_number(value) and value == int(value),
    }
    exact = validators.extend(
        Draft202012Validator,
        {"multipleOf": _multiple_of},
        type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(types),
    )
    return exact(json.loads(json.dumps(schema), parse_float=Number), format_checker=FormatChecker(_CHECKED_FORMATS))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def _multiple_of(_: Any, unit: Any, value: Any, __: Any) -> Iterable[Any]:
    """Check `multipleOf` exactly. By the floats of jsonschema itself 19.99 is no multiple of 0.01."""
    from jsonschema.exceptions import ValidationError

    if _is_number(value) and Fraction(value) % Fraction(unit):
        yield ValidationError(f"{value} is not a multiple of {unit}")
