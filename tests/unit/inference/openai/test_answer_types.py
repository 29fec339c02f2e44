"""Which values a Spark type holds, exactly, and which are errors."""

from __future__ import annotations

import json

import pytest
from pyspark.sql import types

from server_utils.inference.openai.answer_types import written
from server_utils.inference.openai.strict_json import AnswerError, parse

MAP = types.MapType
DATE = types.DateType()
ROW = types.StructType([types.StructField("n", types.ByteType(), nullable=False), types.StructField("day", DATE)])


def of(kind, text):
    return written(kind.jsonValue(), parse(text))


@pytest.mark.parametrize(
    ("kind", "text", "made"),
    [
        (types.LongType(), "3.0", 3),
        (types.LongType(), "1e2", 100),
        (types.LongType(), "-12.50e1", -125),
        (types.LongType(), "9223372036854775807", 2**63 - 1),
        (types.LongType(), "9007199254740993.0", 2**53 + 1),
        (types.LongType(), "-9223372036854775808", -(2**63)),
        (types.IntegerType(), "2147483647.0", 2**31 - 1),
        (types.ShortType(), "-32768", -32768),
        (types.ByteType(), "127", 127),
        (types.DoubleType(), "1", 1.0),
        (types.DoubleType(), "3.14159265358979323846264338327950288", 3.141592653589793),
        (types.DoubleType(), "1e-400", 0.0),
        (types.FloatType(), "0.1", 0.10000000149011612),
        (types.FloatType(), "3.4028234663852886e38", 3.4028234663852886e38),
        (types.BooleanType(), "true", True),
        (types.DecimalType(10, 2), "12345678.9", "12345678.90"),
        (types.DecimalType(10, 2), "-1.500", "-1.50"),
        (types.DecimalType(10, 2), "1e3", "1000.00"),
        (types.DecimalType(5, 0), "3.0", "3"),
        (
            types.DecimalType(38, 18),
            "12345678901234567890.123456789012345678",
            "12345678901234567890.123456789012345678",
        ),
        (types.StringType(), r'"\ud83d\ude00"', "\U0001f600"),
        (types.VarcharType(3), '"abc"', "abc"),
        (DATE, '"2024-02-29"', "2024-02-29"),
        (types.TimestampType(), '"2024-02-29T12:00:00Z"', "2024-02-29T12:00:00.000000+00:00"),
        (types.TimestampType(), '"2024-02-29t12:00:00.5z"', "2024-02-29T12:00:00.500000+00:00"),
        (types.TimestampType(), '"2024-02-29 12:00:00.123456000+05:30"', "2024-02-29T12:00:00.123456+05:30"),
        (types.TimestampType(), '"2024-02-29T12:00:00"', "2024-02-29T12:00:00.000000"),
        (types.TimestampNTZType(), '"0001-01-01T00:00"', "0001-01-01T00:00:00.000000"),
        (types.ArrayType(types.ByteType()), "[1, null, 3.0]", [1, None, 3]),
        (MAP(types.StringType(), types.ByteType()), '{"a": 1.0, "b": null}', {"a": 1, "b": None}),
        (MAP(types.IntegerType(), DATE), '{"-7": "2024-02-29"}', [{"key": -7, "value": "2024-02-29"}]),
        (MAP(types.BooleanType(), types.ByteType()), '{"true": 1}', [{"key": True, "value": 1}]),
        (MAP(types.DecimalType(3, 1), types.ByteType()), '{"1.5": 1}', [{"key": "1.5", "value": 1}]),
        (MAP(DATE, types.ByteType()), '{"2024-02-29": 1}', [{"key": "2024-02-29", "value": 1}]),
        (ROW, '{"n": 1, "day": null, "more": [{}]}', {"n": 1, "day": None}),
        (ROW, "null", None),
    ],
)
def test_what_fits_a_type_is_written_for_spark_exactly(kind, text, made):
    value = of(kind, text)

    assert value == made
    assert type(value) is type(made)
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        (types.LongType(), "12345678901234567890", "$: 12345678901234567890 is more than bigint holds"),
        (types.LongType(), "9223372036854775808", "more than bigint"),
        (types.LongType(), "-9223372036854775809", "more than bigint"),
        (types.LongType(), "9223372036854775808.0", "more than bigint"),
        (types.LongType(), "1e300", "more than bigint"),
        (types.LongType(), "3.5", "3.5 is no whole number, as bigint wants"),
        (types.LongType(), "1e-300", "no whole number"),
        (types.LongType(), '"3"', "'3' is no bigint"),
        (types.LongType(), "true", "True is no bigint"),
        (types.LongType(), "[3]", "[3] is no bigint"),
        (types.IntegerType(), "2147483648", "more than int holds"),
        (types.ShortType(), "-32769", "more than smallint holds"),
        (types.ByteType(), "4000", "more than tinyint holds"),
        (types.FloatType(), "1e39", "1E+39 is more than float holds"),
        (types.DoubleType(), "1e309", "more than double holds"),
        (types.DoubleType(), "1" + "0" * 399, "more than double holds"),
        (types.DoubleType(), '"1.5"', "is no double"),
        (types.DoubleType(), "false", "False is no double"),
        (types.BooleanType(), '"true"', "'true' is no boolean"),
        (types.BooleanType(), "1", "1 is no boolean"),
        (types.DecimalType(10, 2), "100000000", "more than decimal(10,2) holds"),
        (types.DecimalType(10, 2), "99999999.995", "more digits after its point than decimal(10,2) keeps"),
        (types.DecimalType(10, 2), "1e-300", "more digits after its point"),
        (types.DecimalType(10, 2), '"1.50"', "is no decimal(10,2)"),
        (types.StringType(), "5", "5 is no text"),
        (types.StringType(), r'"a \ud800 b"', "half of a character"),
        (types.VarcharType(3), '"abcd"', "4 characters, more than varchar(3) holds"),
        (DATE, '"next Tuesday"', "'next Tuesday' is no date"),
        (DATE, '"2024-02-30"', "no date"),
        (DATE, '"2023-02-29"', "no date"),
        (DATE, '"0000-01-01"', "no date"),
        (DATE, '"20240229"', "no date"),
        (DATE, '"2024-2-9"', "no date"),
        (DATE, '" 2024-02-29"', "no date"),
        (DATE, '"\u0662024-02-29"', "no date"),
        (DATE, '"2024-02-29T00:00:00"', "no date"),
        (DATE, "20240229", "no text"),
        (types.TimestampType(), '"noon"', "no time such as 2024-02-29T12:00:00Z"),
        (types.TimestampType(), '"2024-02-29"', "no time"),
        (types.TimestampType(), '"2024-02-30T12:00:00Z"', "no time that there is"),
        (types.TimestampType(), '"2024-02-29T24:00:00Z"', "no time that there is"),
        (types.TimestampType(), '"2024-02-29T12:00:60Z"', "no time that there is"),
        (types.TimestampType(), '"2024-02-29T12:00:00+19:00"', "no time that there is"),
        (types.TimestampType(), '"0001-01-01T00:00:00+01:00"', "no time that there is"),
        (types.TimestampType(), '"2024-02-29T12:00:00.1234567Z"', "finer than a microsecond"),
        (types.TimestampType(), '"2024-02-29T12:00:00 Europe/Berlin"', "no time"),
        (types.TimestampType(), "1709208000", "no text"),
        (types.TimestampNTZType(), '"2024-02-29T12:00:00Z"', "has a time zone"),
        (types.ArrayType(types.ByteType()), "[1, 4000]", "$[1]: 4000 is more than tinyint holds"),
        (types.ArrayType(types.ByteType(), containsNull=False), "[null]", "$[0]: it is null"),
        (types.ArrayType(types.ByteType()), '{"0": 1}', "is no array"),
        (MAP(types.StringType(), types.ByteType()), '{"a": 4000}', "$.a: 4000 is more"),
        (MAP(types.StringType(), types.ByteType(), valueContainsNull=False), '{"a": null}', "$.a: it is null"),
        (MAP(types.StringType(), types.ByteType()), r'{"\udc00": 1}', "half of a character"),
        (MAP(types.IntegerType(), types.ByteType()), '{"x": 1}', "the key 'x' is no int"),
        (
            MAP(types.IntegerType(), types.ByteType()),
            '{"3000000000": 1}',
            "the key '3000000000' is no int, or more than it holds",
        ),
        (MAP(types.IntegerType(), types.ByteType()), '{"true": 1}', "the key 'true' is no int"),
        (MAP(types.IntegerType(), types.ByteType()), '{"1": 1, "1.0": 2}', "the key '1.0' is there twice"),
        (MAP(types.BooleanType(), types.ByteType()), '{"1": 1}', "the key '1' is no boolean"),
        (MAP(types.BooleanType(), types.ByteType()), '{"yes": 1}', "the key 'yes' is no boolean"),
        (MAP(DATE, types.ByteType()), '{"soon": 1}', "'soon' is no date"),
        (ROW, "[1]", "is no object"),
        (ROW, '{"n": null}', "$.n: it is null, which its type does not allow"),
    ],
)
def test_what_does_not_fit_a_type_is_an_error_that_says_where(kind, text, words):
    with pytest.raises(AnswerError) as caught:
        of(kind, text)
    assert words in str(caught.value)
