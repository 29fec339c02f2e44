"""Structured output: what a schema, a pydantic model or a Spark type means, and what cannot be a column."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
import re

import numpy as np
import pydantic
import pydantic.v1
import pytest
from pyspark.sql import types
from typing_extensions import TypedDict

from server_utils.errors import ConfigurationError
from server_utils.inference.openai.schema_types import spark_type
from server_utils.inference.openai.structured_output import Checker, answer_format, schema_of


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


class Place(pydantic.BaseModel):
    city: str
    zip: str | None = None


class Review(pydantic.BaseModel):
    mood: Mood
    stars: int = pydantic.Field(ge=1, le=5)
    weight: float
    seen: bool
    tags: list[str]
    place: Place
    scores: dict[str, float]


REVIEW = (
    "struct<mood:string,stars:bigint,weight:double,seen:boolean,tags:array<string>,"
    "place:struct<city:string,zip:string>,scores:map<string,double>>"
)


def test_a_pydantic_model_is_a_struct_column_of_its_fields():
    assert spark_type(schema_of(Review)).simpleString() == REVIEW


def test_openais_wrapping_means_the_schema_inside():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}

    assert schema_of({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}) == schema
    assert schema_of(schema) == schema


ROUND_TRIPS = [
    "struct<a:string,b:bigint,c:double,d:boolean>",
    "struct<a:array<string>,b:struct<c:bigint>>",
    "struct<a:map<string,bigint>>",
]


@pytest.mark.parametrize("ddl", ROUND_TRIPS)
def test_a_spark_type_becomes_a_schema_whose_answers_have_that_type(ddl):
    schema = schema_of(_of_ddl(ddl))

    assert spark_type(schema).simpleString() == ddl
    assert schema["additionalProperties"] is False


def _of_ddl(ddl):
    plain = {"string": types.StringType(), "bigint": types.LongType(), "double": types.DoubleType()}
    plain["boolean"] = types.BooleanType()

    def parse(text):
        kind, _, inside = text.partition("<")
        inside = inside.removesuffix(">")
        if kind == "array":
            return types.ArrayType(parse(inside))
        if kind == "map":
            return types.MapType(types.StringType(), parse(inside.partition(",")[2]))
        if kind != "struct":
            return plain[kind]
        fields, depth, start = [], 0, 0
        for at, letter in enumerate([*inside, ","]):
            depth += {"<": 1, ">": -1}.get(letter, 0)
            if letter == "," and not depth:
                name, _, rest = inside[start:at].partition(":")
                fields.append(types.StructField(name, parse(rest)))
                start = at + 1
        return types.StructType(fields)

    return parse(ddl)


def test_a_spark_field_says_whether_it_may_be_null_and_what_it_means():
    kind = types.StructType(
        [
            types.StructField("n", types.IntegerType(), nullable=False, metadata={"comment": "stars given"}),
            types.StructField("day", types.DateType()),
        ]
    )

    assert schema_of(kind)["properties"] == {
        "n": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "description": "stars given"},
        "day": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    }
    assert schema_of(kind)["required"] == ["n", "day"]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": ["string", "integer"]}, "may be string or integer"),
        ({}, "may be of several types or of any"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "may be of several types"),
        ({"type": "object"}, "does not say what it holds"),
        ({"type": "array"}, "does not say what its items are"),
        ({"type": "objekt"}, "may be of several types or of any"),
        ({"properties": {"a": True}}, "'a' of the answer may be of several types or of any (true)"),
        ({"properties": {"a": {"title": "A"}}}, "'a' of the answer may be of several types or of any"),
        ({"properties": {"a": False}}, "'a' of the answer is false: nothing can stand there"),
        ({"properties": {"a": {"type": "null"}}}, "'a' of the answer is always null"),
        ({"enum": ["a", 1]}, "may be integer or string"),
        ({"enum": [["a"]]}, "is an array that does not say what its items are"),
        ({"type": "array", "items": {}}, "an item of the answer may be of several types or of any"),
        ({"type": "array", "items": True}, "is an array that does not say what its items are"),
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"}, "may be of several types"),
        ({"type": "object", "additionalProperties": True}, "does not say what it holds"),
        ({"type": "object", "properties": {}, "additionalProperties": False}, "does not say what it holds"),
        ({"anyOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]}, "several"),
        ({"anyOf": [{"type": "string"}, {}]}, "may be of several types or of any"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "must be string and bigint at once"),
        ({"$ref": "https://example.com/schema.json"}, "refers to https://example.com/schema.json, which is not in"),
        ({"$ref": "#"}, "holds itself"),
        ({"$ref": "#/$defs/gone"}, "refers to #/$defs/gone, which is not in the schema"),
        ({"properties": {"a": {"type": "object"}}}, "'a' of the answer is an object that does not say"),
        ({"$defs": {"t": {"properties": {"next": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}, "holds itself"),
    ],
)
def test_a_schema_that_no_column_can_hold_is_refused_with_the_place(schema, words):
    with pytest.raises(ConfigurationError) as caught:
        spark_type(schema)
    assert words in str(caught.value)


def test_a_nullable_field_has_the_type_of_what_it_may_be():
    assert spark_type({"anyOf": [{"type": "string"}, {"type": "null"}]}).simpleString() == "string"
    assert spark_type({"type": ["number", "integer", "null"]}).simpleString() == "double"
    assert spark_type({"enum": ["a", "b", None]}).simpleString() == "string"
    assert spark_type({"const": 3}).simpleString() == "bigint"


LINES = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "ddl"),
    [
        ({"type": "string", "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "timestamp"),
        ({"type": "string", "format": "email"}, "string"),
        ({"type": ["string"]}, "string"),
        ({"type": "string", "nullable": True}, "string"),
        ({"properties": {"nullable": {"type": "boolean", "nullable": True}}}, "struct<nullable:boolean>"),
        ({"enum": [1, 2.5, None]}, "double"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}, {"type": "null"}]}, "double"),
        ({"anyOf": [{"const": "a"}, {"const": "b"}, {"type": "string", "maxLength": 3}]}, "string"),
        ({"oneOf": [{"type": "string", "format": "date"}, {"type": "string"}]}, "string"),
        ({"type": "string", "anyOf": [{"minLength": 3}, {"pattern": "^a"}]}, "string"),
        ({"allOf": [{"$ref": "#/$defs/n"}], "description": "x", "$defs": {"n": {"type": "integer"}}}, "bigint"),
        ({"allOf": [{"type": "number"}, {"type": "integer"}, {"minimum": 3}]}, "bigint"),
        ({"type": "object", "allOf": [{"properties": {"a": LINES}}, {"properties": {"b": LINES}}]},
         "struct<a:array<bigint>,b:array<bigint>>"),
        ({"$ref": "#/$defs/a~1b~0c%20d", "$defs": {"a/b~c d": {"type": "integer"}}}, "bigint"),
        ({"$ref": "#/$defs/a/prefixItems/1", "$defs": {"a": {"prefixItems": [True, {"type": "string"}]}}}, "string"),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}]}, "array<double>"),
        ({"type": "array", "items": [{"type": "integer"}, {"type": "integer"}]}, "array<bigint>"),
        ({"properties": {"a": {"type": "string"}}, "additionalProperties": True}, "struct<a:string>"),
        ({"type": "object", "patternProperties": {"^[0-9]+$": LINES}, "additionalProperties": False},
         "map<string,array<bigint>>"),
    ],
)  # fmt: skip
def test_a_schema_that_means_one_spark_type_is_read_as_it(schema, ddl):
    form = answer_format(schema)

    assert spark_type(form.schema).simpleString() == ddl


def test_the_words_of_older_dialects_become_todays_so_that_engine_and_check_know_them():
    tuples = schema_of({"items": [{"type": "string", "nullable": True}], "additionalItems": False})

    assert tuples == {"prefixItems": [{"anyOf": [{"type": "string"}, {"type": "null"}]}], "items": False}


def test_a_format_that_no_grammar_knows_is_left_out_and_a_field_of_that_name_is_not():
    named = {"properties": {"format": {"type": "string", "format": "path"}}}

    assert schema_of(named) == {"properties": {"format": {"type": "string"}}}
    assert schema_of({"type": "string", "format": "date"}) == {"type": "string", "format": "date"}


class Inner1(pydantic.v1.BaseModel):
    day: dt.date


class Outer1(pydantic.v1.BaseModel):
    inner: Inner1 = pydantic.v1.Field(..., description="pydantic to 2.8 writes allOf round one $ref")
    pair: tuple[int, int]
    note: str | None


@dataclasses.dataclass
class Point:
    x: int
    y: float | None


class Named(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("given", "ddl"),
    [
        (Outer1, "struct<inner:struct<day:date>,pair:array<bigint>,note:string>"),
        (Point, "struct<x:bigint,y:double>"),
        (Named, "struct<name:string>"),
        (Mood, "string"),
        (list[Place], "array<struct<city:string,zip:string>>"),
        (dict[str, dt.datetime], "map<string,timestamp>"),
        (pydantic.TypeAdapter(dict[str, int]), "map<string,bigint>"),
        (int, "bigint"),
        ({"type": "json_schema", "name": "x", "schema": {"type": "integer"}}, "bigint"),
    ],
)
def test_what_pydantic_describes_is_read_as_the_schema_that_it_makes(given, ddl):
    assert spark_type(answer_format(given).schema).simpleString() == ddl


class Price(pydantic.BaseModel):
    price: decimal.Decimal


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "json_object"}, "leaves open which fields there are, and a column has a type: give a schema"),
        ({"type": "text"}, "leave it out"),
        ({"type": "json_schema"}, "holds no schema; say"),
        (types.LongType, "is the class LongType; say LongType()"),
        (Price, "'price' of the answer may be of several types"),
        (Point(1, 2.0), "must be a JSON schema (a dict), a pydantic model's class or a Spark type"),
        (Checker, "Checker'> no schema can be made"),
        ({"type": "integer", "minimum": {1}}, "response_format['minimum'] is {1} (set), which JSON cannot hold"),
        ({"type": "string", "pattern": "("}, "response_format is not a JSON schema"),
    ],
)
def test_what_is_no_type_of_a_column_is_refused_with_what_to_write(given, words):
    with pytest.raises(ConfigurationError) as caught:
        answer_format(given)
    assert words in str(caught.value)


def test_numbers_of_numpy_are_numbers_in_a_schema_too():
    assert schema_of({"type": "integer", "maximum": np.int64(5)}) == {"type": "integer", "maximum": 5}


@pytest.mark.parametrize("given", [7, "a string", object(), True, None])
def test_what_is_no_schema_at_all_is_refused_with_what_is(given):
    with pytest.raises(ConfigurationError, match=r"a JSON schema .* a pydantic model's class or a Spark type"):
        schema_of(given)


def test_a_schema_that_breaks_json_schemas_own_rules_is_refused():
    with pytest.raises(ConfigurationError, match="response_format is not a JSON schema"):
        Checker({"type": "objekt"})


LACKED = [
    (types.BinaryType(), "holds a binary"),
    (types.NullType(), "holds a void"),
    (types.DayTimeIntervalType(), "holds a interval day to second"),
    (types.CharType(3), "holds a char"),
    (types.MapType(types.ArrayType(types.LongType()), types.LongType()), "a map whose keys have parts"),
    (types.StructType(), "a struct with no fields"),
    (types.StructType([types.StructField("a", types.LongType())] * 2), "two fields of one name"),
]
if hasattr(types, "VariantType"):
    LACKED.append((types.VariantType(), "holds a variant"))


@pytest.mark.parametrize(("kind", "words"), LACKED)
def test_a_spark_type_that_json_lacks_is_refused(kind, words):
    with pytest.raises(ConfigurationError, match=words):
        schema_of(types.StructType([types.StructField("b", kind)]))


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (types.ByteType(), {"type": "integer", "minimum": -128, "maximum": 127}),
        (types.ShortType(), {"type": "integer", "minimum": -32768, "maximum": 32767}),
        (types.LongType(), {"type": "integer"}),
        (types.FloatType(), {"type": "number"}),
        (types.DecimalType(10, 2), {"type": "number", "minimum": -99999999.99, "maximum": 99999999.99}),
        (types.DecimalType(3, 0), {"type": "integer", "minimum": -999, "maximum": 999}),
        (types.DecimalType(38, 18), {"type": "number"}),
        (types.DateType(), {"type": "string", "format": "date"}),
        (types.TimestampType(), {"type": "string", "format": "date-time"}),
        (types.VarcharType(5), {"type": "string", "maxLength": 5}),
    ],
)
def test_bounds_and_formats_of_a_spark_type_are_in_its_schema(kind, schema):
    assert schema_of(kind) == schema


def test_answers_are_checked_against_the_spark_type_whatever_its_schema_can_say():
    form = answer_format(types.StructType([types.StructField("price", types.DecimalType(38, 18))]))
    checker = Checker(form.schema, form.kind)

    assert checker.read('{"price": 0.123456789012345678}') == {"price": "0.123456789012345678"}
    with pytest.raises(ValueError, match="more digits after its point"):
        checker.read('{"price": 0.1234567890123456789}')
    with pytest.raises(ValueError, match="'price' is a required property"):
        checker.read("{}")
    with pytest.raises(ValueError, match="Additional properties are not allowed"):
        checker.read('{"price": null, "more": 1}')


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"type": "integer"}, ["3", "3.0", "1e2"], ["12345678901234567890", "3.5", "1e400", "NaN", "true", '"3"']),
        ({"type": "number", "multipleOf": 0.01}, ["19.99", "0.1", "3"], ["19.999"]),
        ({"type": "number", "minimum": 0.1}, ["0.1", "1"], ["0.09999999999999999999", "Infinity", "1e400"]),
        ({"enum": [0.1, 1]}, ["0.1", "1.0"], ["0.2"]),
        ({"type": "string", "format": "email"}, ['"a@b.c"'], ['"nobody"', "5"]),
        ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2024-02-30"']),
        ({"type": "array", "items": {"type": "integer"}}, ["[3.0, 1]"], ["[1, 12345678901234567890]", "[[1]]"]),
        ({"properties": {"a": {"type": "integer"}}}, ["{}", '{"a": 1, "b": 2}'], ["[]", '{"a": 1, "a": 1}', "5"]),
    ],
)
def test_an_answer_is_exactly_of_its_schema_or_an_error(schema, right, wrong):
    checker = Checker(schema)

    for text in right:
        checker.read(text)
    for text in wrong:
        with pytest.raises(ValueError, match=r"\$|no number in JSON|no column holds|is there twice"):
            checker.read(text)


def test_a_checker_reads_what_keeps_to_the_schema_and_says_what_does_not():
    checker = Checker(schema_of(Place))

    assert checker.read('{"city": "Bonn"}') == {"city": "Bonn"}
    with pytest.raises(ValueError, match=r"\$: 'city' is a required property"):
        checker.read("{}")
    with pytest.raises(json.JSONDecodeError):
        checker.read("Bonn")


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("2024-02-29T12:00:00", True),
        ("2024-02-29T12:00:00.123456", True),
        ("2024-02-29T12:00:0012", False),
        ("2024-02-29T12:00:00.", False),
        ("2024-02-29T12:00:00Z", False),
    ],
)
def test_a_time_without_a_zone_has_a_pattern_that_engines_keep(text, is_one):
    """vLLM's grammar takes an optional group `(…)?` at the end without its first character too."""
    at = schema_of(types.StructType([types.StructField("at", types.TimestampNTZType())]))["properties"]["at"]
    (pattern,) = (each["pattern"] for each in at.get("anyOf", [at]) if "pattern" in each)
    assert ")?" not in pattern
    assert bool(re.search(pattern, text)) == is_one
