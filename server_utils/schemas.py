"""Structured output: JSON schemas, pydantic models and Spark types, turned into one another. Driver, but `check`.

https://json-schema.org/draft/2020-12; what Spark has no type for is refused here rather than lost in a column.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from server_utils.errors import ConfigurationError

_NUMBERS = {"byte": "integer", "short": "integer", "integer": "integer", "long": "integer"}
_PLAIN = {"string": "string", "boolean": "boolean", "double": "number", "float": "number"} | _NUMBERS
_FORMATS = {"date": "date", "timestamp": "date-time", "timestamp_ntz": "date-time"}
_SPARK = {"string": "StringType", "integer": "LongType", "number": "DoubleType", "boolean": "BooleanType"}


def schema_of(response_format: Any) -> dict[str, Any]:
    """The JSON schema that somebody means.

    response_format: a JSON schema, OpenAI's `{"type": "json_schema", …}` around one, a pydantic model's class, or a
        Spark type.

    Raises:
        ConfigurationError: it is none of these.
    """
    if hasattr(response_format, "model_json_schema"):
        return dict(response_format.model_json_schema())
    if hasattr(response_format, "jsonValue"):
        return _from_spark(response_format.jsonValue())
    if isinstance(response_format, Mapping):
        return dict(response_format.get("json_schema", {}).get("schema") or response_format)
    raise ConfigurationError(
        "response_format must be a JSON schema (a dict), a pydantic model's class or a Spark type; it is "
        f"{response_format!r}"
    )


def _from_spark(kind: Any) -> dict[str, Any]:
    """A schema whose every answer fits the Spark type; kind: as `DataType.jsonValue` has it."""
    if isinstance(kind, str):
        if kind in _FORMATS:
            return {"type": "string", "format": _FORMATS[kind]}
        name = "double" if kind.startswith("decimal") else kind
        if name not in _PLAIN:
            raise ConfigurationError(f"response_format holds a {kind}, which JSON has no type for; use a string")
        return {"type": _PLAIN[name]}
    if kind["type"] == "array":
        return {"type": "array", "items": _nullable(_from_spark(kind["elementType"]), maybe=kind["containsNull"])}
    if kind["type"] == "map":
        values = _nullable(_from_spark(kind["valueType"]), maybe=kind["valueContainsNull"])
        return {"type": "object", "additionalProperties": values}
    fields = {field["name"]: _field(field) for field in kind["fields"]}
    return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    """A field's comment is what the model is told about it."""
    found = _nullable(_from_spark(field["type"]), maybe=field["nullable"])
    comment = field.get("metadata", {}).get("comment")
    return found | ({"description": comment} if comment else {})


def _nullable(schema: dict[str, Any], *, maybe: bool) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]} if maybe else schema


def spark_type(schema: Mapping[str, Any]) -> Any:
    """The Spark type of a schema's answers. Raises ConfigurationError for what has none, naming where it stands."""
    return _Reader(schema).read(schema, "the answer")


class _Reader:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._open = root, []  # type: Mapping[str, Any], list[str]

    def read(self, schema: Mapping[str, Any], where: str) -> Any:
        from pyspark.sql import types

        if "$ref" in schema:
            return self._referred(schema["$ref"], where)
        kind = self._kind(schema, where)
        if kind == "object":
            return self._object(schema, where)
        if kind == "array":
            items = schema.get("items")
            if not isinstance(items, Mapping):
                raise ConfigurationError(f"{where} is an array that does not say what its items are; add 'items'")
            return types.ArrayType(self.read(items, f"an item of {where}"))
        if kind is None:
            options = [each for key in ("anyOf", "oneOf") for each in schema.get(key, []) if not _is_null(each)]
            if len(options) == 1:
                return self.read(options[0], where)
        if kind not in _SPARK:
            raise ConfigurationError(
                f"{where} may be of several types or of any ({json.dumps(schema)[:200]}); a column has one: say 'type'"
            )
        return getattr(types, _SPARK[kind])()

    def _referred(self, path: str, where: str) -> Any:
        if path in self._open:
            raise ConfigurationError(f"{where} holds itself ({path}); a column's type cannot: give it a fixed depth")
        target: Any = self._root
        for part in path.removeprefix("#/").split("/"):
            target = target.get(part) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            raise ConfigurationError(f"{where} refers to {path}, which is not in the schema")
        self._open.append(path)
        found = self.read(target, where)
        self._open.pop()
        return found

    def _kind(self, schema: Mapping[str, Any], where: str) -> str | None:
        """The JSON type, without null; None where other keys must tell."""
        kinds = schema.get("type")
        if kinds is None and ("enum" in schema or "const" in schema):
            values = schema.get("enum", [schema.get("const")])
            kinds = sorted({_json_type(value) for value in values})
        names = [kinds] if isinstance(kinds, str) else list(kinds or [])
        left = [name for name in names if name != "null"]
        if set(left) == {"integer", "number"}:
            return "number"
        if len(left) > 1:
            raise ConfigurationError(f"{where} may be {' or '.join(left)}; a column has one type: choose one")
        if left:
            return left[0]
        return "object" if "properties" in schema else None

    def _object(self, schema: Mapping[str, Any], where: str) -> Any:
        from pyspark.sql import types

        fields = schema.get("properties", {})
        if fields:
            return types.StructType(
                [types.StructField(name, self.read(each, f"{name!r} of {where}")) for name, each in fields.items()]
            )
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values:
            return types.MapType(types.StringType(), self.read(values, f"a value of {where}"))
        raise ConfigurationError(f"{where} is an object that does not say what it holds; add 'properties'")


def _is_null(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "null" or schema.get("const", 0) is None


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
    return names.get(type(value), "object")


class Checker:
    """Answers against a schema. Executors."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ConfigurationError when the schema itself is none."""
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise ConfigurationError(f"response_format is not a JSON schema: {error.message}") from error
        self._validator = Draft202012Validator(schema)

    def read(self, text: str) -> Any:
        """The answer as JSON. Raises ValueError saying what is wrong with it."""
        value = json.loads(text)
        found = next(iter(self._validator.iter_errors(value)), None)
        if found is not None:
            raise ValueError(f"{found.json_path}: {found.message[:300]}")
        return value
