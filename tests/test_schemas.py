"""Structured output: what a schema, a pydantic model or a Spark type means, and what cannot be a column."""

from __future__ import annotations

import enum
import json

import pydantic
import pytest
from pyspark.sql import types

from server_utils.errors import ConfigurationError
from server_utils.schemas import Checker, schema_of, spark_type


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
        "n": {"type": "integer", "description": "stars given"},
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


@pytest.mark.parametrize("given", [7, "a string", object()])
def test_what_is_no_schema_at_all_is_refused_with_what_is(given):
    with pytest.raises(ConfigurationError, match=r"a JSON schema .* a pydantic model's class or a Spark type"):
        schema_of(given)


def test_a_schema_that_breaks_json_schemas_own_rules_is_refused():
    with pytest.raises(ConfigurationError, match="response_format is not a JSON schema"):
        Checker({"type": "objekt"})


def test_a_spark_type_that_json_lacks_is_refused():
    with pytest.raises(ConfigurationError, match="holds a binary"):
        schema_of(types.StructType([types.StructField("b", types.BinaryType())]))


def test_a_checker_reads_what_keeps_to_the_schema_and_says_what_does_not():
    checker = Checker(schema_of(Place))

    assert checker.read('{"city": "Bonn"}') == {"city": "Bonn"}
    with pytest.raises(ValueError, match=r"\$: 'city' is a required property"):
        checker.read("{}")
    with pytest.raises(json.JSONDecodeError):
        checker.read("Bonn")
