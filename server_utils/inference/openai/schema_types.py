"""The Spark type that a JSON schema means. Driver, and executors.

https://json-schema.org/draft/2020-12; a schema of several types, or of any, is refused: a column has one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from server_utils.errors import ConfigurationError

_SPARK = {"string": "StringType", "integer": "LongType", "number": "DoubleType", "boolean": "BooleanType"}
_FORMATS = {"date": "DateType", "date-time": "TimestampType"}


def spark_type(schema: Mapping[str, Any]) -> Any:
    """The Spark type of a schema's answers. Raises ConfigurationError for what has none, naming where it stands."""
    return _Reader(schema).read(schema, "the answer")


class _Reader:
    """Reads the type from each keyword, `type`, `$ref`, `allOf` and so on; those of one schema must agree."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root, self._open = root, []  # type: Mapping[str, Any], list[str]

    def read(self, schema: Any, where: str) -> Any:
        if schema is False:
            raise ConfigurationError(f"{where} is false: nothing can stand there; leave it out, or say its 'type'")
        claims = self._claims(schema, where)
        if not claims:
            raise ConfigurationError(
                f"{where} may be of several types or of any ({json.dumps(schema)[:200]}); a column has one: say 'type'"
            )
        return _all_of(claims, where)

    def _claims(self, schema: Any, where: str) -> list[Any]:
        """The types that the keywords of a schema say; none where they leave it open."""
        if not isinstance(schema, Mapping):
            return []
        claims = [self._referred(schema["$ref"], where)] if "$ref" in schema else []
        for part in schema.get("allOf", []):
            claims += self._claims(part, where)
        for key in ("anyOf", "oneOf"):
            options = [self._claims(each, where) for each in schema.get(key, []) if not _is_null(each)]
            if options and all(options):
                claims.append(_any_of([_all_of(each, where) for each in options], where, schema))
        own = self._own(schema, where, alone=not claims)
        return [*claims, own] if own is not None else claims

    def _own(self, schema: Mapping[str, Any], where: str, *, alone: bool) -> Any:
        """The type by `type`, or by what is said of members or values. alone: no other keyword tells more."""
        from pyspark.sql import types

        kind = self._kind(schema, where)
        if kind == "object":
            return self._object(schema, where, alone=alone)
        if kind == "array":
            return self._array(schema, where, alone=alone)
        if kind not in _SPARK:
            return None
        formats = _FORMATS if kind == "string" else {}
        return getattr(types, formats.get(schema.get("format", ""), _SPARK[kind]))()

    def _referred(self, path: str, where: str) -> Any:
        if path in self._open:
            raise ConfigurationError(f"{where} holds itself ({path}); a column's type cannot: give it a fixed depth")
        target: Any = self._root
        for part in path.removeprefix("#").split("/")[1:]:
            target = _member(target, unquote(part).replace("~1", "/").replace("~0", "~"))
        if not isinstance(target, Mapping) or not path.startswith("#"):
            raise ConfigurationError(f"{where} refers to {path}, which is not in the schema")
        self._open.append(path)
        read = self.read(target, where)
        self._open.pop()
        return read

    def _kind(self, schema: Mapping[str, Any], where: str) -> str | None:
        """The JSON type, without null; None where other keys must tell."""
        kinds = schema.get("type")
        if kinds is None and ("enum" in schema or "const" in schema):
            values = schema.get("enum", [schema.get("const")])
            kinds = sorted({_json_type(value) for value in values})
        names = [kinds] if isinstance(kinds, str) else list(kinds or [])
        left = [name for name in names if name != "null"]
        if names and not left:
            raise ConfigurationError(f"{where} is always null; leave it out, or say its 'type'")
        if set(left) == {"integer", "number"}:
            return "number"
        if len(left) > 1:
            raise ConfigurationError(f"{where} may be {' or '.join(left)}; a column has one type: choose one")
        if left:
            return left[0]
        return "object" if "properties" in schema else None

    def _object(self, schema: Mapping[str, Any], where: str, *, alone: bool) -> Any:
        from pyspark.sql import types

        fields = schema.get("properties", {})
        if fields:
            return types.StructType(
                [types.StructField(name, self.read(each, f"{name!r} of {where}")) for name, each in fields.items()]
            )
        rest = schema.get("additionalProperties")
        values = [*schema.get("patternProperties", {}).values(), *([rest] if isinstance(rest, Mapping) else [])]
        if values and rest is not True and all(values):
            kinds = [self.read(each, f"a value of {where}") for each in values]
            return types.MapType(types.StringType(), _any_of(kinds, f"a value of {where}", schema))
        if alone:
            raise ConfigurationError(f"{where} is an object that does not say what it holds; add 'properties'")
        return None

    def _array(self, schema: Mapping[str, Any], where: str, *, alone: bool) -> Any:
        from pyspark.sql import types

        rest = schema.get("items")
        items = [*schema.get("prefixItems", []), *([rest] if isinstance(rest, Mapping) else [])]
        if items:
            kinds = [self.read(each, f"an item of {where}") for each in items]
            return types.ArrayType(_any_of(kinds, f"an item of {where}", schema))
        if alone:
            raise ConfigurationError(f"{where} is an array that does not say what its items are; add 'items'")
        return None


def _member(target: Any, name: str) -> Any:
    if isinstance(target, Mapping):
        return target.get(name)
    if isinstance(target, Sequence) and not isinstance(target, str) and name.isdecimal() and int(name) < len(target):
        return target[int(name)]
    return None


def _any_of(kinds: Sequence[Any], where: str, schema: Mapping[str, Any]) -> Any:
    """The type that holds whatever any of these does."""
    from pyspark.sql import types

    names = {type(kind).__name__ for kind in kinds}
    if all(kind == kinds[0] for kind in kinds):
        return kinds[0]
    if names <= {"LongType", "DoubleType"}:
        return types.DoubleType()
    if names <= {"StringType", "DateType", "TimestampType"}:
        return types.StringType()
    raise ConfigurationError(
        f"{where} may be of several types ({json.dumps(schema)[:200]}); a column has one: choose one"
    )


def _all_of(kinds: Sequence[Any], where: str) -> Any:
    """The type of what is of all of these at once: of structs the fields of all."""
    first, *others = kinds
    for other in others:
        first = _both(first, other, where)
    return first


def _both(first: Any, other: Any, where: str) -> Any:
    from pyspark.sql import types

    if first == other:
        return first
    if isinstance(first, types.StructType) and isinstance(other, types.StructType):
        fields = {field.name: field.dataType for field in first}
        for field in other:
            earlier = fields.get(field.name, field.dataType)
            fields[field.name] = _both(earlier, field.dataType, f"{field.name!r} of {where}")
        return types.StructType([types.StructField(name, kind) for name, kind in fields.items()])
    names = {type(first).__name__, type(other).__name__}
    for narrow, wide in (("LongType", "DoubleType"), ("DateType", "StringType"), ("TimestampType", "StringType")):
        if names == {narrow, wide}:
            return first if type(first).__name__ == narrow else other
    raise ConfigurationError(f"{where} must be {first.simpleString()} and {other.simpleString()} at once; choose one")


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and (
        schema.get("type") in ("null", ["null"]) or schema.get("const", 0) is None or schema.get("enum") == [None]
    )


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null", list: "array"}
    return names.get(type(value), "object")
