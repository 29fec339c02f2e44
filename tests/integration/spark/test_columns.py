"""Rows of every kind through the column functions: what goes in, what comes out, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pyspark
import pytest
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import functions
from pyspark.sql.types import ArrayType, FloatType, LongType
from support.fakes import known_to

from integration.spark import tiny_models
from server_utils import ConfigurationError, TritonServerManager

OLD = tuple(map(int, pyspark.__version__.split(".")[:2])) < (4, 1)
VECTOR = "id bigint, x array<float>"
BIG = "é" * 500_000  # a megabyte of UTF-8


@pytest.fixture(scope="module")
def servers(spark):
    with TritonServerManager("many", spark=spark) as manager:
        manager.start_servers(tiny_models.many)
        yield manager


@pytest.fixture
def totals(servers):
    return lambda column, **options: servers.tensors(column, model="vector", output="total", **options)


def by_id(frame):
    return {row.id: row.y for row in frame.collect()}


def test_null_empty_and_huge_texts_come_back_where_they_were(spark, servers):
    texts = [None, "", "abc", BIG, None, "naïve 模型", BIG]
    frame = spark.createDataFrame(list(enumerate(texts)), "id bigint, text string").repartition(3)

    found = by_id(frame.withColumn("y", servers.tensors("text", model="text", output="length")))
    upper = by_id(frame.withColumn("y", servers.tensors("text", model="text", output="upper")))

    assert found == {i: None if text is None else len(text.encode()) for i, text in enumerate(texts)}
    assert upper[0] is None
    assert upper[1] == ""
    assert upper[2] == "ABC"
    assert upper[3] == BIG


def test_wide_rows_come_back_where_they_were_by_memory_that_the_servers_share(spark, servers):
    number = functions.col("id")
    wide = functions.when(number % 7 != 3, functions.array_repeat(number.cast("float"), 30_000))
    found = by_id(spark.range(0, 40, 1, 4).withColumn("y", servers.tensors(wide, model="alone")))
    assert found == {i: None if i % 7 == 3 else i for i in range(40)}
    assert all(known_to(server) for server in servers.status())


def test_nan_and_infinity_pass_through(spark, servers):
    row = [math.nan, math.inf, -1.0, 0.0]
    frame = spark.createDataFrame([(0, row)], VECTOR)

    found = by_id(frame.withColumn("y", servers.tensors("x", model="vector", output="halves")))

    np.testing.assert_array_equal(found[0], np.array(row) / 2)


def test_a_row_of_the_wrong_shape_is_named_with_its_place_and_the_shape_wanted(spark, totals):
    frame = spark.createDataFrame([(i, [1.0] * (3 if i == 5 else 4)) for i in range(8)], VECTOR).coalesce(1)

    with pytest.raises(Exception, match=r"row 5 of partition 0 has 3 elements, the model wants 'x' of shape \(4,\)"):
        frame.withColumn("y", totals("x")).collect()


def test_wrong_rows_become_null_and_the_others_go_on(spark, totals):
    bad = {1: [1.0], 3: [1.0] * 5, 5: None, 6: []}
    frame = spark.createDataFrame([(i, bad.get(i, [float(i)] * 4)) for i in range(8)], VECTOR)

    found = by_id(frame.withColumn("y", totals("x", on_error="null")))

    assert found == {i: None if i in bad else 4.0 * i for i in range(8)}


def test_a_struct_holds_the_value_or_the_error_of_each_row(spark, totals):
    bad = {1: [1.0], 3: [1.0] * 5, 5: None}
    frame = spark.createDataFrame([(i, bad.get(i, [float(i)] * 4)) for i in range(6)], VECTOR)

    found = by_id(frame.withColumn("y", totals("x", on_error="struct")))

    assert {i: y.value for i, y in found.items()} == {0: 0.0, 1: None, 2: 8.0, 3: None, 4: 16.0, 5: None}
    assert "has 1 elements" in found[1].error
    assert "has 5 elements" in found[3].error
    assert [found[i].error for i in (0, 2, 4, 5)] == [None] * 4


def test_a_request_that_the_model_refuses_is_narrowed_to_the_rows_to_blame(spark, servers):
    frame = spark.range(0, 100, 1, 2)

    found = by_id(frame.withColumn("y", servers.tensors("id", model="picky", on_error="struct")))

    for i, y in found.items():
        assert y.value == (None if i % 10 == 3 else 2 * i)
        assert ("no numbers that end with 3" in y.error) if i % 10 == 3 else y.error is None


def test_rows_that_triton_merges_with_a_bad_one_of_another_task_are_not_blamed(spark, servers):
    frame = spark.range(0, 400, 1, 4)

    found = by_id(frame.withColumn("y", servers.tensors("id", model="picky", on_error="null", batch_rows=2, window=8)))

    assert found == {i: None if i % 10 == 3 else 2 * i for i in range(400)}


def test_a_row_that_the_model_refuses_fails_the_job_with_the_models_own_words(spark, servers):
    frame = spark.range(0, 10, 1, 1)

    with pytest.raises(Exception, match=r"(?s)row 3 of partition 0 was refused.*no numbers that end with 3"):
        frame.withColumn("y", servers.tensors("id", model="picky")).collect()


def test_a_binary_column_holds_the_elements_as_bytes(spark, totals):
    rows = [(i, np.full(4, i, "<f4").tobytes()) for i in range(5)] + [(5, None), (6, b"12345"), (7, bytearray(4))]
    frame = spark.createDataFrame(rows, "id bigint, x binary")

    found = by_id(frame.withColumn("y", totals("x", on_error="struct")))

    assert [found[i].value for i in range(8)] == [0.0, 4.0, 8.0, 12.0, 16.0, None, None, None]
    assert "has 5 bytes" in found[6].error
    assert "has 1 elements" in found[7].error


@pytest.mark.parametrize("kind", ["tinyint", "smallint", "int", "bigint"])
def test_columns_of_whole_numbers_fit_wider_and_narrower_inputs(spark, servers, kind):
    frame = spark.range(0, 20, 1, 2).withColumn("n", functions.col("id").cast(kind))

    found = frame.withColumn("y", servers.tensors("n", "n", model="pair", output="sum"))

    assert by_id(found) == {i: 2 * i for i in range(20)}
    assert dict(found.dtypes)["y"] == "int"


def test_several_inputs_and_outputs_keep_their_order(spark, servers):
    frame = spark.range(0, 20, 1, 2).selectExpr("id", "int(id) as n", "int(10) as ten")

    larger = by_id(frame.withColumn("y", servers.tensors("n", "ten", model="pair", output="larger")))
    halves = frame.withColumn("x", functions.array(*[functions.col("n").cast("float")] * 4))
    halves = by_id(halves.withColumn("y", servers.tensors("x", model="vector", output="halves")))

    assert larger == {i: i > 10 for i in range(20)}
    assert halves == {i: [i / 2] * 4 for i in range(20)}


def test_a_model_without_batching_takes_rows_one_by_one_and_of_any_length(spark, servers):
    frame = spark.createDataFrame([(i, [float(i)] * (i + 1)) for i in range(10)], VECTOR)

    found = by_id(frame.withColumn("y", servers.tensors("x", model="alone")))

    assert found == {i: float(i) for i in range(10)}


def test_empty_partitions_and_an_empty_frame_give_nothing(spark, servers):
    frame = spark.range(0, 3, 1, 8)

    assert by_id(frame.withColumn("y", servers.tensors("id", model="picky"))) == {0: 0, 1: 2, 2: 4}
    assert by_id(frame.where("id > 5").withColumn("y", servers.tensors("id", model="picky"))) == {}


def test_a_column_of_nothing_but_nulls_asks_nobody(spark, totals):
    frame = spark.createDataFrame([(i, None) for i in range(5)], VECTOR)

    assert set(by_id(frame.withColumn("y", totals("x"))).values()) == {None}


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_order_is_kept_whatever_the_size_of_sparks_batches(spark, servers, batch):
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(batch))
    try:
        frame = spark.range(0, 200, 1, 2).withColumn("n", functions.expr("if(id % 5 = 0, null, int(id))"))
        column = servers.tensors("n", "n", model="pair", output="sum", batch_rows=3, window=5)
        found = [(row.id, row.y) for row in frame.withColumn("y", column).collect()]
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")

    assert found == [(i, None if i % 5 == 0 else 2 * i) for i in range(200)]


def test_a_column_that_cannot_be_sent_says_which_type_is_wanted(spark, servers):
    frame = spark.createDataFrame([(0, "text")], "id bigint, x string").coalesce(1)

    with pytest.raises(Exception, match="a column of string cannot be sent as 'row' of shape"):
        frame.withColumn("y", servers.tensors("x", model="picky")).collect()


def test_wrong_names_and_options_are_refused_before_any_job(servers):
    for wrong, words in (
        (lambda: servers.tensors("x"), "model= is needed"),
        (lambda: servers.tensors("x", model="vectr"), "'vector'"),
        (lambda: servers.tensors("x", model="vector"), "output= is needed"),
        (lambda: servers.tensors("x", "y", model="picky"), "takes 1 columns"),
        (lambda: servers.tensors("x", model="picky", on_error="ignore"), "on_error must be"),
        (lambda: servers.tensors("x", model="picky", window=0), "window must be more than 0"),
        (lambda: servers.embed("x", model="picky"), r"use tensors\(\)"),
        (lambda: servers.make_predict_fn(model="picky", on_error="null"), "no place for errors"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            wrong()


def test_sparks_own_predict_batch_udf_may_ask_the_servers(spark, servers):
    udf = predict_batch_udf(
        servers.make_predict_fn(model="vector", output="halves"),
        return_type=ArrayType(FloatType()),
        batch_size=10,
        input_tensor_shapes=[[4]],
    )
    frame = spark.createDataFrame([(i, [float(i)] * 4) for i in range(50)], VECTOR)

    assert by_id(frame.withColumn("y", udf("x"))) == {i: [i / 2] * 4 for i in range(50)}


def test_predict_batch_udf_asks_for_plain_columns_too(spark, servers):
    make = servers.make_predict_fn(model="picky")
    udf = predict_batch_udf(make, return_type=LongType(), batch_size=7)

    assert by_id(spark.range(4, 13, 1, 2).withColumn("y", udf("id"))) == {i: 2 * i for i in range(4, 13)}


def test_predict_batch_udf_hands_both_inputs_to_a_model_of_two(spark, servers):
    udf = predict_batch_udf(servers.make_predict_fn(model="pair", output="sum"), return_type=LongType(), batch_size=7)

    assert by_id(spark.range(20).withColumn("y", udf("id", functions.col("id") * 2))) == {i: 3 * i for i in range(20)}


def test_predict_batch_udf_refuses_a_whole_number_that_the_model_has_no_room_for(spark, servers):
    udf = predict_batch_udf(servers.make_predict_fn(model="pair", output="sum"), return_type=LongType(), batch_size=9)

    with pytest.raises(
        Exception, match=r"row 1 of .* has a number that is too large or too small, the model wants 'left'"
    ):
        spark.range(2**31 - 1, 2**31 + 1, 1, 1).withColumn("y", udf("id", functions.lit(0))).collect()


def test_predict_batch_udf_gives_null_for_a_null_text_where_an_answer_is_one_value(spark, servers):
    udf = predict_batch_udf(
        servers.make_predict_fn(model="text", output="length"), return_type=LongType(), batch_size=9
    )
    frame = spark.createDataFrame([(0, "ab"), (1, None)], "id bigint, text string").coalesce(1)

    assert by_id(frame.withColumn("y", udf("text"))) == {0: 2, 1: None}


def test_predict_batch_udf_hands_on_bytes_that_are_no_text(spark, servers):
    make = servers.make_predict_fn(model="text", output="length")
    udf = predict_batch_udf(make, return_type=LongType(), batch_size=9)
    frame = spark.createDataFrame([(0, b"\xff\0\xfe"), (1, b"a")], "id bigint, x binary")

    assert by_id(frame.withColumn("y", udf("x"))) == {0: 3, 1: 1}


def test_predict_batch_udf_refuses_a_null_text_where_an_answer_is_a_vector_and_names_its_row(spark, servers):
    make = servers.make_predict_fn(model="text", output="letters")
    udf = predict_batch_udf(make, return_type=ArrayType(FloatType()), batch_size=9)
    frame = spark.createDataFrame([(0, "ab"), (1, None), (2, "c")], "id bigint, text string").coalesce(1)

    with pytest.raises(Exception, match=r"row 1 of a batch of predict_batch_udf is null.*tensors\(\)"):
        frame.withColumn("y", udf("text")).collect()
    whole = frame.where("text is not null").withColumn("y", udf("text"))
    assert by_id(whole) == {0: [97, 98, 0], 2: [99, 0, 0]}


def test_a_whole_number_that_the_model_has_no_room_for_is_refused_by_its_row(spark, servers):
    frame = spark.createDataFrame([(0, 2**31 - 1), (1, 2**31)], "id bigint, n bigint").coalesce(1)
    summed = servers.tensors("n", functions.lit(0), model="pair", output="sum", on_error="struct")

    found = by_id(frame.withColumn("y", summed))

    assert found[0] == (2**31 - 1, None)
    assert found[1].value is None
    assert "too large or too small, the model wants 'left'" in found[1].error


def test_plain_predict_batch_udf_without_any_server_is_the_other_way(spark):
    def make():
        return lambda x: x.sum(axis=1)

    udf = predict_batch_udf(make, return_type=FloatType(), batch_size=10, input_tensor_shapes=[[4]])
    frame = spark.createDataFrame([(i, [float(i)] * 4) for i in range(20)], VECTOR)

    assert by_id(frame.withColumn("y", udf("x"))) == {i: 4.0 * i for i in range(20)}


def test_a_float_column_keeps_its_nan_and_its_null(spark, servers):
    frame = spark.createDataFrame([(0, math.nan), (1, None), (2, 2.0)], "id bigint, x float")

    found = by_id(frame.withColumn("y", servers.tensors("x", model="alone")))

    assert math.isnan(found[0])
    assert found[1] is None
    assert found[2] == 2.0


def test_whole_numbers_beside_nulls_keep_their_digits(spark, servers):
    numbers = [2**53 - 1, None, -5, 0] if OLD else [2**60 + 1, None, -5, 0]
    frame = spark.createDataFrame(list(enumerate(numbers)), "id bigint, n bigint").coalesce(1)

    found = by_id(frame.withColumn("y", servers.tensors("n", model="picky")))

    assert found == {i: None if number is None else 2 * number for i, number in enumerate(numbers)}


@pytest.mark.skipif(not OLD, reason="needs a Spark before 4.1, which hands out pandas")
def test_whole_numbers_that_lost_digits_beside_nulls_are_refused_on_old_sparks(spark, servers):
    frame = spark.createDataFrame([(0, 2**60 + 1), (1, None)], "id bigint, n bigint").coalesce(1)

    with pytest.raises(Exception, match="fill the nulls in Spark first"):
        frame.withColumn("y", servers.tensors("n", model="picky")).collect()


@pytest.mark.skipif(OLD, reason="needs Spark 4.1: before it, a null inside an array of numbers arrives as NaN")
def test_a_null_inside_an_array_is_told(spark, totals):
    frame = spark.createDataFrame([(0, [1.0, None, 2.0, 3.0]), (1, [1.0] * 4)], VECTOR)

    found = by_id(frame.withColumn("y", totals("x", on_error="struct")))

    assert found[0].value is None
    assert "has a null inside" in found[0].error
    assert found[1].value == 4.0
