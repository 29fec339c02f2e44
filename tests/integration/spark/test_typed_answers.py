"""Typed answers and conversations in a real Spark job: the type that was given, and its exact values or an error."""

from __future__ import annotations

import datetime as dt
import decimal
import json

import numpy as np
import pyspark
import pytest
from pyspark.sql import Row, functions, types

from integration.spark.fake_llm import FakeLLMManager
from server_utils import ConfigurationError

DATE, BYTE, TEXT = types.DateType(), types.ByteType(), types.StringType()


@pytest.fixture(scope="module")
def servers(spark):
    with FakeLLMManager(spark) as manager:
        manager.start()
        yield manager


@pytest.fixture
def settings(spark):
    """settings(name=value) for one test; dots are written as __."""
    before = {}

    def change(**names):
        for name, value in names.items():
            key = name.replace("__", ".")
            before[key] = spark.conf.get(key, None)
            spark.conf.set(key, value)

    yield change
    for key, value in before.items():
        spark.conf.unset(key) if value is None else spark.conf.set(key, value)


def asked(spark, servers, response_format, answers, **options):
    """A frame with the answers to these texts, by their number; what is no text is written as JSON."""
    texts = [each if each is None or isinstance(each, str) else json.dumps(each) for each in answers]
    rows = [(number, each if each is None else f"say {each}") for number, each in enumerate(texts)]
    frame = spark.createDataFrame(rows, "id int, prompt string").repartition(2)
    column = servers.generate("prompt", response_format=response_format, **options)
    return frame.withColumn("answer", column)


def in_order(frame):
    """Not by `orderBy`: Spark asks everything once more, to find out where to cut the rows."""
    return [row.answer for row in sorted(frame.collect(), key=lambda row: row.id)]


def values(spark, servers, response_format, answers, **options):
    return in_order(asked(spark, servers, response_format, answers, **options))


def struct(**fields):
    return types.StructType([types.StructField(name, kind) for name, kind in fields.items()])


def local(*parts):
    return dt.datetime(*parts)  # noqa: DTZ001 - as Spark hands times without a zone out


EVERY = {
    "tiny": (BYTE, -128, -128),
    "small": (types.ShortType(), 32767, 32767),
    "whole": (types.IntegerType(), -(2**31), -(2**31)),
    "big": (types.LongType(), 2**63 - 1, 2**63 - 1),
    "single": (types.FloatType(), 3.4028234663852886e38, 3.4028234663852886e38),
    "double": (types.DoubleType(), 0.1, 0.1),
    "price": (types.DecimalType(10, 2), 12345678.9, decimal.Decimal("12345678.90")),
    "text": (TEXT, "na\u00efve \U0001f600 \u0000", "na\u00efve \U0001f600 \u0000"),
    "seen": (types.BooleanType(), False, False),
    "day": (DATE, "0001-01-01", dt.date(1, 1, 1)),
    "local": (types.TimestampNTZType(), "2024-03-31T02:30:00.000001", local(2024, 3, 31, 2, 30, 0, 1)),
    "list": (types.ArrayType(DATE), ["2024-02-29", None], [dt.date(2024, 2, 29), None]),
    "by_year": (types.MapType(types.IntegerType(), TEXT), {"2024": "a", "-1": None}, {2024: "a", -1: None}),
    "by_day": (types.MapType(DATE, DATE), {"2024-02-29": "2024-03-01"}, {dt.date(2024, 2, 29): dt.date(2024, 3, 1)}),
    "by_name": (types.MapType(TEXT, DATE), {"a b": "2024-03-01"}, {"a b": dt.date(2024, 3, 1)}),
    "inside": (
        struct(**{"a.b": DATE, "n": BYTE}),
        {"a.b": "2024-03-01", "n": 3.0},
        Row(**{"a.b": dt.date(2024, 3, 1), "n": 3}),
    ),
    "rows": (types.ArrayType(struct(day=DATE)), [{"day": "2024-03-01"}, None], [Row(day=dt.date(2024, 3, 1)), None]),
}


@pytest.mark.parametrize("on_error", ["raise", "struct"])
def test_a_column_has_the_very_type_that_was_given_and_the_very_values(spark, servers, on_error):
    kind = struct(**{name: each[0] for name, each in EVERY.items()})
    whole = {name: each[1] for name, each in EVERY.items()}

    before = sum(server.rows for server in servers.status())
    frame = asked(spark, servers, kind, [whole, dict.fromkeys(EVERY), None], on_error=on_error)

    given = frame.schema["answer"].dataType
    assert (given["value"].dataType if on_error == "struct" else given) == kind
    full, empty, null = [answer.value if on_error == "struct" else answer for answer in in_order(frame)]
    assert full.asDict() == {name: each[2] for name, each in EVERY.items()}
    assert set(empty.asDict().values()) == {None}
    assert null is None
    assert sum(server.rows for server in servers.status()) == before + 2  # however often its parts are named


def required(kind):
    """The type with null nowhere in it."""
    if isinstance(kind, types.StructType):
        return types.StructType([types.StructField(f.name, required(f.dataType), nullable=False) for f in kind])
    if isinstance(kind, types.ArrayType):
        return types.ArrayType(required(kind.elementType), containsNull=False)
    if isinstance(kind, types.MapType):
        return types.MapType(kind.keyType, required(kind.valueType), valueContainsNull=False)
    return kind


def test_a_type_without_nulls_is_kept_and_a_null_is_an_error(spark, servers):
    names = [name for name in EVERY if name not in ("list", "by_year", "rows")]
    kind = required(struct(**{name: EVERY[name][0] for name in EVERY}))
    fine = {name: EVERY[name][1] for name in names} | {"list": ["2024-02-29"], "by_year": {"1": "a"}, "rows": []}
    wrong = [fine | {name: None} for name in EVERY] + [fine | {"list": [None]}, fine | {"by_year": {"1": None}}]

    frame = asked(spark, servers, kind, [fine, *wrong, None], on_error="null")

    assert frame.schema["answer"].dataType == kind
    first, *others = in_order(frame)
    expected = {name: EVERY[name][2] for name in names}
    assert first.asDict() == expected | {"list": [dt.date(2024, 2, 29)], "by_year": {1: "a"}, "rows": []}
    assert set(others) == {None}


def test_what_a_type_cannot_hold_is_an_error_of_its_row_and_never_a_null_without_one(spark, servers):
    kind = struct(
        order=types.LongType(),
        age=BYTE,
        day=DATE,
        price=types.DecimalType(10, 2),
        ratio=types.FloatType(),
        by_year=types.MapType(types.IntegerType(), TEXT),
        many=types.ArrayType(types.LongType()),
    )
    fine = {"order": 1, "age": 1, "day": "2024-02-29", "price": 1, "ratio": 1, "by_year": {}, "many": []}
    wrong = {
        "order": 12345678901234567890,
        "age": 4000,
        "day": "next Tuesday",
        "price": 1.005,
        "ratio": 1e39,
        "by_year": {"soon": "x"},
        "many": [1, 12345678901234567890],
    }
    answers = [fine] + [fine | {name: value} for name, value in wrong.items()]
    answers += ['{"order": NaN}', json.dumps(fine)[:-1], json.dumps(fine).replace('"order"', '"order": 2, "order"')]

    first, *others = values(spark, servers, kind, answers, on_error="struct")

    assert first.error is None
    assert first.value.order == 1
    assert [each.value for each in others] == [None] * len(others)
    assert all("the answer does not keep to the schema: " in each.error for each in others)
    with pytest.raises(Exception, match=r"row \d+ of partition 0: .*12345678901234567890 is more than bigint holds"):
        in_order(asked(spark, servers, kind, answers[:2]).coalesce(1))


def test_whole_numbers_may_be_written_as_floats(spark, servers):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    answers = ['{"n": 3.0}', '{"n": 1e2}', '{"n": 9007199254740993.0}', '{"n": 12345678901234567890}', '{"n": 3.5}']

    found = values(spark, servers, schema, answers, on_error="struct", details=True)

    assert [each.value and each.value.n for each in found] == [3, 100, 9007199254740993, None, None]
    assert [each.error is None for each in found] == [True, True, True, False, False]
    assert {each.finish_reason for each in found} == {"stop"}


@pytest.mark.parametrize("policy", ["CORRECTED", "LEGACY"])
@pytest.mark.parametrize("ansi", ["true", "false"])
def test_a_time_without_an_offset_is_one_of_the_sessions_zone_whatever_its_parsers(
    spark, servers, settings, policy, ansi
):
    settings(
        spark__sql__session__timeZone="America/New_York",
        spark__sql__legacy__timeParserPolicy=policy,
        spark__sql__ansi__enabled=ansi,
        spark__sql__timestampType="TIMESTAMP_NTZ",
    )
    kind = struct(at=types.TimestampType(), wall=types.TimestampNTZType(), day=DATE)
    answers = [
        {"at": "2024-07-01T12:00:00.123456+02:00", "wall": "2024-07-01T12:00:00", "day": "1582-10-10"},
        {"at": "2024-07-01T12:00:00", "wall": None, "day": None},
        {"at": "2024-07-01T12:00:00Z", "wall": None, "day": None},
    ]

    frame = asked(spark, servers, kind, answers)
    assert frame.schema["answer"].dataType == kind
    numbers = (
        "struct(unix_micros(answer.at) as at, string(answer.wall) as wall, unix_date(answer.day) as day) as answer"
    )

    noon = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC).timestamp()
    first, second, third = in_order(frame.selectExpr("id", numbers))
    day = (dt.date(1582, 10, 10) - dt.date(1970, 1, 1)).days
    assert (first.at, first.wall, first.day) == ((noon - 7200) * 1e6 + 123456, "2024-07-01 12:00:00", day)
    assert second.at == (noon + 4 * 3600) * 1e6
    assert third.at == noon * 1e6


@pytest.mark.parametrize(
    ("kind", "answer", "value"),
    [
        (types.LongType(), "3.0", 3),
        (DATE, '"2024-02-29"', dt.date(2024, 2, 29)),
        (types.ArrayType(types.TimestampNTZType()), '["2024-02-29T12:00:00"]', [local(2024, 2, 29, 12)]),
        (types.MapType(BYTE, TEXT), '{"3": "x"}', {3: "x"}),
        ({"type": "string", "format": "date"}, '"2024-02-29"', dt.date(2024, 2, 29)),
        ({"type": ["integer", "null"]}, "null", None),
    ],
)
def test_an_answer_need_not_be_an_object(spark, servers, kind, answer, value):
    assert values(spark, servers, kind, [answer, None]) == [value, None]


def test_a_varchar_is_a_text_of_so_many_characters_at_most(spark, servers):
    found = asked(spark, servers, types.VarcharType(3), ['"abc"', '"abcd"'], on_error="null")

    assert found.schema["answer"].dataType == TEXT
    assert in_order(found) == ["abc", None]


@pytest.mark.skipif(pyspark.__version__ < "4", reason="Spark 3.5 has no collations")
def test_a_collation_is_kept(spark, servers):
    kind = struct(name=types.StringType("UTF8_LCASE"))
    frame = asked(spark, servers, kind, [{"name": "Ada"}])

    assert frame.schema["answer"].dataType == kind
    assert [row.answer.name for row in frame.where("answer.name = 'ADA'").collect()] == ["Ada"]


def test_a_comment_stays_with_its_field(spark, servers):
    kind = types.StructType([types.StructField("day", DATE, metadata={"comment": "of birth"})])

    assert asked(spark, servers, kind, []).schema["answer"].dataType["day"].metadata == {"comment": "of birth"}


def test_half_a_character_is_an_error_and_a_whole_one_is_kept(spark, servers):
    typed = values(spark, servers, struct(a=TEXT), [r'{"a": "\ud83d\ude00"}', r'{"a": "\ud83d"}'], on_error="struct")

    assert [each.value and each.value.a for each in typed] == ["\U0001f600", None]
    assert "half of a character" in typed[1].error


MESSAGES = "array<struct<role: string, content: string, tool_calls: array<struct<id: string>>>>"


def test_a_null_in_a_conversation_asks_nothing_and_a_broken_one_is_an_error(spark, servers):
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "7"}]}
    rows = [
        [{"role": "user", "content": "say yes"}],
        [{"role": "system", "content": "x"}, calls, {"role": "tool", "content": "say done"}],
        [{"role": "user", "content": None}],
        [{"role": "system", "content": None}, {"role": "user", "content": "say yes"}],
        None,
        [],
        [None],
        [{"role": None, "content": "say yes"}],
    ]
    frame = spark.createDataFrame([(number, row) for number, row in enumerate(rows)], f"id int, m {MESSAGES}")

    column = servers.chat("m", on_error="struct")
    found = in_order(frame.withColumn("answer", column))

    assert [each.value for each in found] == ["yes", "done", *[None] * 6]
    assert [each.error is None for each in found] == [True] * 5 + [False] * 3
    shown = functions.array(functions.expr("struct('user' as role, cast(null as string) as content)"))
    assert spark.range(1).select(servers.chat(shown).alias("answer")).first().answer is None


def test_fields_of_numpy_are_sent_and_others_refused_when_the_column_is_made(spark, servers):
    frame = spark.createDataFrame([("say yes",), (None,)], "prompt string")
    numbers = {"max_tokens": np.int64(4), "temperature": np.float32(0), "logit_bias": {7: np.float64(-1)}}

    answers = frame.select(servers.generate("prompt", on_error="null", **numbers).alias("a")).collect()

    assert {row.a for row in answers} == {"yes", None}
    for field in (
        {"stop": {"a"}},
        {"temperature": float("nan")},
        {"stop": b"x"},
        {"max_tokens": functions.col("prompt")},
    ):
        with pytest.raises(ConfigurationError, match=f"{next(iter(field))} is .*which JSON cannot hold"):
            servers.generate("prompt", on_error="null", **field)
