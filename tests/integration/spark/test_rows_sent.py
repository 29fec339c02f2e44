"""How many rows are sent to the servers for what people do with a column: docs/semantics.md, counted."""

from __future__ import annotations

import pytest
from pyspark.errors import AnalysisException
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import LongType

from integration.spark import tiny_models, uses
from server_utils import TritonServerManager


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("asked")


@pytest.fixture(scope="module")
def servers(spark, folder):
    with TritonServerManager("chance", str(folder), spark=spark) as manager:
        manager.start_servers(tiny_models.chance)
        yield manager


@pytest.fixture
def ask(servers):
    return servers.tensors


@pytest.fixture
def asked(folder):
    return uses.counter(folder)


def each(kinds):
    return pytest.mark.parametrize("use", kinds, ids=lambda use: use.name)


@each(uses.ONCE)
def test_a_row_is_asked_once_and_its_answer_is_the_same_wherever_it_is_used(spark, ask, asked, use):
    assert uses.asked_and_broken(spark, ask, use, asked) == (use.asked, 0)


@each(uses.NOBODY)
def test_nobody_is_asked_for_a_column_that_nobody_reads(spark, ask, asked, use):
    assert uses.asked_and_broken(spark, ask, use, asked) == (0, 0)


@each(uses.WHICH)
def test_rows_that_are_left_out_before_the_column_are_not_asked_and_those_left_out_after_it_are(spark, ask, asked, use):
    assert uses.asked_and_broken(spark, ask, use, asked) == (use.asked, 0)


@each(uses.AGAIN)
def test_rows_are_asked_again_where_spark_runs_the_plan_again(spark, ask, asked, use):
    assert uses.asked_and_broken(spark, ask, use, asked) == (use.asked, 0)


@each(uses.WAYS_ROUND)
def test_what_is_kept_between_is_asked_once(spark, ask, asked, use):
    assert uses.asked_and_broken(spark, ask, use, asked) == (use.asked, 0)
    spark.catalog.clearCache()


@each(uses.REFUSED)
def test_spark_refuses_a_question_inside_an_aggregate_or_a_join_before_any_job(spark, ask, asked, use):
    before = asked()
    with pytest.raises(AnalysisException):
        use.rows(spark.range(5), ask).collect()
    assert asked() == before


def test_predict_batch_udf_asks_once_too_where_it_is_marked_nondeterministic(spark, servers, ask, asked):
    plain = predict_batch_udf(servers.make_predict_fn(), return_type=LongType(), batch_size=50).asNondeterministic()
    use = uses.Use("a filter", lambda frame, _: frame.withColumn("y", plain("id")).where("y > 50"), holds=uses.over_50)
    assert uses.asked_and_broken(spark, ask, use, asked) == (use.asked, 0)
