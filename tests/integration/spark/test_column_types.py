"""What the types of columns and of models can hold, and what becomes of a row that they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import functions
from pyspark.sql.types import FloatType

from integration.spark import tiny_models
from server_utils import ConfigurationError, TritonServerManager

NUMBERS = ("half", "single", "byte", "large", "tiny", "flag")
BROKEN = "cast(X'636166e9' as string)"  # café in ISO 8859-1
NOT_UTF8 = "has a text that is not UTF-8; decode it in Spark first"
PICTURE = b"\x89PNG\r\n\x1a\n\0\0\xff\0"


@pytest.fixture(scope="module")
def servers(spark):
    with TritonServerManager("kinds", spark=spark) as manager:
        manager.start_servers(tiny_models.kinds)
        yield manager


def numbers(name, column="x"):
    """The inputs of the model of numbers, with a column for the one of this name.

    No two are alike: predict_batch_udf takes columns that are for one of several.
    """
    others = {each: functions.lit(number) for number, each in enumerate(NUMBERS)}
    return (others | {"flag": functions.lit(1).cast("boolean"), name: column}).values()


def answers(frame, column):
    """The answers in the order of the rows."""
    return [row.y for row in sorted(frame.select("id", column.alias("y")).collect(), key=lambda row: row.id)]


@pytest.mark.parametrize(
    "case",
    [
        ("half", "bigint", [1, 100_000, -65_504, None, 65_520, 65_519], {1, 4}),
        ("half", "double", [65_504.0, 1e5, -1e300, math.inf, math.nan, 1e-30], {1, 2}),
        ("half", "float", [65_504.0, 1e30, -math.inf, None], {1}),
        ("single", "double", [1e38, 1e300, -1e39, -math.inf, math.nan, 1e-60, None], {1, 2}),
        ("single", "bigint", [2**53 + 1, -(2**24) - 1, 7], set()),
        ("single", "boolean", [True, False, None], set()),
        ("byte", "int", [0, 255, 256, -1, None], {2, 3}),
        ("byte", "boolean", [True, None], set()),
        ("large", "bigint", [5, -1, 2**63 - 2], {1}),
        ("tiny", "smallint", [127, 128, -128, -129], {1, 3}),
        ("flag", "boolean", [True, False, None], set()),
    ],
)
def test_a_finite_number_that_the_models_type_cannot_hold_is_an_error_of_its_row(spark, servers, case):
    name, kind, given, wrong = case
    frame = spark.createDataFrame(list(enumerate(given)), f"id int, x {kind}")
    model = {"half": np.float16, "single": np.float32}.get(name, int)

    found = answers(frame, servers.tensors(*numbers(name), model="numbers", output=name, on_error="struct"))

    for row, (value, answer) in enumerate(zip(given, found, strict=True)):
        if row in wrong:
            assert answer.value is None
            assert "has a number that is too large or too small, the model wants" in answer.error
        else:
            expected = None if value is None else model(value) + (name == "large")
            assert answer.error is None
            assert answer.value is None if value is None else np.array_equal(answer.value, expected, equal_nan=True)


def test_a_number_that_spark_has_no_type_for_is_an_error_of_the_row_it_answers(spark, servers):
    frame = spark.createDataFrame([(0, 1), (1, 2**63 - 1), (2, 3)], "id int, x bigint")

    found = answers(frame, servers.tensors(*numbers("large"), model="numbers", output="large", on_error="struct"))

    assert [each.value for each in found] == [2, None, 4]
    assert "was answered with a number in 'large'" in found[1].error
    assert "that Spark's bigint cannot hold" in found[1].error


@pytest.mark.parametrize(
    "value",
    ["cast(1 as decimal(10,2))", "date'2024-01-01'", "timestamp'2024-01-01 00:00:00'", "'1'", "1e0", "array(1e0)"],
)
def test_a_column_of_no_numbers_or_of_fractions_for_whole_ones_says_what_to_do(spark, servers, value):
    column = servers.tensors(*numbers("tiny"), model="numbers", output="tiny", on_error="null")

    with pytest.raises(Exception, match=r"cannot be sent as 'tiny' of shape .*; cast it in Spark first"):
        # One partition: Spark 3.5 may close the worker of a failed stage's other tasks under the next job.
        spark.range(0, 1, 1, 1).selectExpr("id", f"{value} as x").select(column).collect()


def test_predict_batch_udf_refuses_a_fraction_that_the_model_has_no_room_for(spark, servers):
    make = servers.make_predict_fn(model="numbers", output="half")
    udf = predict_batch_udf(make, return_type=FloatType(), batch_size=9)
    frame = spark.createDataFrame([(0, 1.5), (1, 1e5)], "id int, x double").coalesce(1)

    assert answers(frame.where("id = 0"), udf(*numbers("half"))) == [1.5]
    with pytest.raises(Exception, match=r"row 1 of .* has a number that is too large or too small"):
        frame.select(udf(*numbers("half"))).collect()


def with_a_broken_one(spark, one="'fine'", other=BROKEN, kind="string"):
    return spark.range(0, 5, 1, 1).selectExpr(
        "id", f"case id when 1 then {other} when 2 then cast(null as {kind}) else {one} end as t"
    )


def test_a_text_that_is_not_utf8_is_the_error_of_its_row(spark, servers):
    frame = with_a_broken_one(spark, "'naïve \\0 模型 \ufffd'")

    told = answers(frame, servers.tensors("t", model="text", on_error="struct"))
    null = answers(frame, servers.tensors("t", model="text", on_error="null"))

    fine = "naïve \0 模型 \ufffd"
    assert [each.value for each in told] == null == [fine, None, None, fine, fine]
    assert [each.error is None for each in told] == [True, False, True, True, True]
    assert NOT_UTF8 in told[1].error
    with pytest.raises(Exception, match=f"row 1 of partition 0 {NOT_UTF8}"):
        frame.select(servers.tensors("t", model="text")).collect()


def test_a_text_in_an_array_that_is_not_utf8_is_the_error_of_its_row(spark, servers):
    frame = with_a_broken_one(spark, "array('é', '')", f"array('a', {BROKEN})", "array<string>")

    found = answers(frame, servers.tensors("t", model="texts", on_error="struct"))

    assert [each.value for each in found] == [["é", ""], None, None, ["é", ""], ["é", ""]]
    assert NOT_UTF8 in found[1].error


def test_bytes_go_to_a_model_of_bytes_as_they_are_and_come_back_as_binary_where_one_says_so(spark, servers):
    frame = spark.createDataFrame([(0, PICTURE), (1, None), (2, b""), (3, b"text\0")], "id int, t binary")
    column = servers.tensors("t", model="text", as_type="binary")
    several = servers.tensors(functions.array("t", "t"), model="texts", as_type="binary", on_error="struct")

    assert dict(frame.select(column.alias("y")).dtypes)["y"] == "binary"
    assert [each and bytes(each) for each in answers(frame, column)] == [PICTURE, None, b"", b"text\0"]
    twice = answers(frame.where("t is not null"), several)
    assert [[bytes(each) for each in row.value] for row in twice] == [[PICTURE] * 2, [b""] * 2, [b"text\0"] * 2]


def test_an_answer_that_is_no_text_is_an_error_of_its_row_that_names_the_option(spark, servers):
    frame = spark.createDataFrame([(0, PICTURE), (1, b"text")], "id int, t binary").coalesce(1)
    several = servers.tensors(functions.array("t", "t"), model="texts", on_error="null")

    found = answers(frame, servers.tensors("t", model="text", on_error="struct"))

    assert [each.value for each in found] == [None, "text"]
    assert "was answered with bytes that are not UTF-8 in 'same'" in found[0].error
    assert 'as_type="binary" gives them as they are' in found[0].error
    assert answers(frame, several) == [None, ["text", "text"]]
    with pytest.raises(Exception, match=r'row 0 of partition 0 was answered with bytes .*as_type="binary"'):
        frame.select(servers.tensors("t", model="text")).collect()


def test_an_option_or_an_input_that_cannot_work_is_refused_when_the_column_is_made(servers):
    for make, says in (
        (lambda: servers.tensors("x", model="total", as_type="binary"), "as_type is for outputs of bytes"),
        (lambda: servers.tensors("x", model="text", as_type="float"), 'as_type must be "string" or "binary"'),
        (lambda: servers.tensors("x", model="grid"), r"'x' of shape \(-1, -1, 3\) .*has 2 free dimensions"),
        (lambda: servers.make_predict_fn(model="grid"), "with one -1 at most"),
        (lambda: servers.make_predict_fn(model="text", as_type="binary"), "has no binary columns"),
    ):
        with pytest.raises(ConfigurationError, match=says):
            make()


def test_an_empty_array_is_an_error_of_its_row_in_one_line(spark, servers):
    frame = spark.createDataFrame([(0, [1.0, 2.0]), (1, []), (2, None), (3, [4.0])], "id int, x array<float>").coalesce(
        1
    )

    found = answers(frame, servers.tensors("x", model="total", on_error="struct"))

    assert [each.value for each in found] == [3.0, None, None, 4.0]
    assert found[1].error.startswith("is an empty array, which Triton refuses, the model wants 'x' of shape (-1,)")
    none = servers.tensors(functions.expr("cast(array() as array<string>)"), model="texts", on_error="struct")
    assert all(each.error.startswith("is an empty array") for each in answers(frame, none))


def test_what_a_model_says_against_a_row_is_told_in_one_line_without_a_traceback(spark, servers):
    frame = spark.range(2).coalesce(1)

    found = answers(frame, servers.tensors("id", model="wordy", on_error="struct"))

    for each in found:
        said, place = each.error.split(" (")
        assert said == "was refused: ValueError: no row of 1 will do: none"
        assert place.startswith("tiny_models.py, line ")
        assert place.endswith(", in wordy)")
    with pytest.raises(Exception, match="row 0 of partition 0 was refused: ValueError: no row of 1 will do") as raised:
        frame.select(servers.tensors("id", model="wordy")).collect()
    assert "TritonModelException" not in str(raised.value)


def test_answers_of_another_shape_than_the_model_declares_are_refused_rather_than_mixed_up(spark, servers):
    found = answers(spark.range(3), servers.tensors("id", model="three", on_error="struct"))

    assert [each.value for each in found] == [None] * 3
    assert "'one' of shape (1,) and type int64 came back with rows of shape (3,)" in found[0].error


def test_a_column_is_called_by_the_function_and_what_it_is_made_of(spark, servers, capsys):
    frame = spark.range(1).selectExpr("id", "string(id) as text", "array(float(id)) as x")
    total = servers.tensors("x", model="total", on_error="struct")

    made = frame.select(
        servers.tensors("text", model="text"),
        servers.tensors(functions.upper("text"), model="text"),
        servers.tensors(functions.array(functions.col("id").cast("float")), model="total"),
        total,
        servers.tensors("x", model="total").alias("mine"),
    )
    made.explain()

    assert made.columns[:2] == ["tensors(text)", "tensors(upper(text))"]
    assert made.columns[2].startswith("tensors(array(")
    assert made.columns[3:] == ["tensors(x)", "mine"]
    plan = capsys.readouterr().out
    assert "tensors(" in plan
    assert "partial" not in plan
    assert frame.where(total["value"] == 0).select(total["error"]).collect()[0][0] is None
    assert frame.groupBy(servers.tensors("x", model="total")).count().columns == ["tensors(x)", "count"]
