"""Real Dynamo with vLLM behind it, beside an executor: the columns, typed answers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions
from support import real_dynamo, real_vllm

from integration.spark.conftest import LOCAL, session
from server_utils import ConfigurationError, DynamoServerManager
from server_utils.demo import assets
from server_utils.errors import EnvironmentMissingError

pytestmark = session(LOCAL)


@pytest.fixture(scope="module")
def model():
    return real_dynamo.model_folder()


@pytest.fixture(scope="module")
def servers(spark, model):
    with DynamoServerManager("tiny", str(model), spark=spark) as manager:
        manager.start_servers(router="kv", max_model_len=real_vllm.CONTEXT, max_num_seqs=8)
        yield manager


def test_rows_get_answers_and_bad_rows_say_why_and_hold_nobody_up(spark, servers):
    prompt = (
        "case id % 50 when 7 then repeat('word ', 512) when 3 then null else concat('tell me of ', id) end as prompt"
    )
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    rows = spark.range(0, 100, 1, 2).selectExpr("id", prompt)
    answered = rows.select(
        "id",
        servers.generate("prompt", max_tokens=4, on_error="struct", details=True).alias("plain"),
        servers.chat("prompt", max_tokens=4, on_error="null").alias("chat"),
    )
    typed = rows.where("id % 50 not in (3, 7) and id < 8").select(
        servers.generate("prompt", response_format=schema, on_error="struct", temperature=0).alias("a")
    )

    found = answered.collect()

    assert sorted(row.id for row in found) == list(range(100))
    for row in found:
        if row.id % 50 == 7:
            assert "context_length" in row.plain.error
            assert row.chat is None
        elif row.id % 50 == 3:
            assert (row.plain.value, row.plain.error, row.chat) == (None, None, None)
        else:
            assert (row.plain.error, row.plain.completion_tokens <= 4) == (None, True)
            assert row.chat is not None
    for row in typed.collect():
        assert (row.a.value and row.a.value.mood in ("good", "bad")) or "was cut off" in row.a.error
    (status,) = servers.status()
    assert status.rows >= 196
    assert status.errors["too_long"] == 4
    assert status.metrics["tokens_out"] > 0


def test_what_it_lacks_is_refused_before_a_job(servers):
    for options, words in [
        ({"structured_outputs": {"choice": ["a"]}}, "has no field 'structured_outputs'"),
        ({"max_token": 3}, "has no field 'max_token'; did you mean max_tokens"),
        ({"n": 2}, "a row has one answer"),
        ({"seed": 1}, "seed ends the engine of vLLM 0.32 on a CPU"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            servers.generate("prompt", **options)
        assert words in str(caught.value)
    start = r'these servers do not offer /v1/embeddings; start them with start_servers\(runner="pooling"\)'
    with pytest.raises(ConfigurationError, match=start):
        servers.embed(functions.lit("a"))


def test_a_run_goes_on_where_it_was_and_says_how_far_it_is(spark, servers, tmp_path):
    rows = spark.range(0, 24, 1, 2).selectExpr("id", "concat('tell me of ', id) as prompt").cache()
    answer = {"answer": servers.generate("prompt", max_tokens=2)}
    (before,) = servers.status()

    first = servers.run(rows.where("id < 10"), answer, tmp_path / "out", key="id", parts=1)
    whole = servers.run(rows, answer, tmp_path / "out", key="id", parts=1)
    with servers.progress(total=24) as shown:
        rows.select(*answer.values()).write.format("noop").mode("overwrite").save()

    assert (first.written, whole.already_written, whole.written) == (10, 10, 14)
    assert shown.latest.rows == 24
    (after,) = servers.status()
    assert after.rows - before.rows == 24 + 24


def test_vectors_are_those_of_the_model_and_a_text_that_is_too_long_holds_nobody_up(spark):
    try:
        model = assets.minilm_path()
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    texts = ["the cat sleeps", "a kitten is asleep", "taxes rise", None, "word " * 400, "the cat sleeps"]
    rows = spark.createDataFrame(list(enumerate(texts)), "id int, text string").coalesce(1)

    with DynamoServerManager("mini", str(model), spark=spark) as servers:
        servers.start_servers(runner="pooling")
        found = sorted(rows.select("id", servers.embed("text", on_error="struct").alias("a")).collect())
        with pytest.raises(ConfigurationError, match=r'start them with start_servers\(runner="generate"\)'):
            servers.generate("text")
        (status,) = servers.status()

    assert [row.id for row in found if row.a.error] == [4]
    assert found[3].a.value is None
    cat, kitten, taxes, again = (np.array(found[number].a.value) for number in (0, 1, 2, 5))
    assert cat.shape == (384,)
    assert (cat @ kitten > 0.5, cat @ taxes < 0.3) == (True, True)  # of length 1: these are cosines
    assert np.allclose(cat, again, atol=1e-3)
    assert (status.rows, status.errors) == (5, {"refused": 1})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers must be a whole number, 1 or more; it is 0"),
        ({"embedding_worker": True}, 'for vectors say runner="pooling"'),
        ({"runner": "pooling", "router": "kv"}, "servers for vectors keep no caches"),
        ({"task": "embed", "router": "kv"}, "servers for vectors keep no caches"),
        ({"router": "random"}, "router must be one of round-robin, kv; it is 'random'"),
        ({"migration_limit": -1}, "migration_limit must be a whole number"),
        ({"disaggregated": {"prefill": 1}}, 'disaggregated must be {"prefill": n, "decode": m}'),
        ({"disaggregated": {"prefill": 1, "decode": 1}, "workers": 2}, "give one of them"),
        ({"max_model_length": 5}, "no option 'max_model_length'; did you mean max_model_len"),
        ({"kv_events_config": {}}, 'router="kv" has workers publish'),
        ({"require_key": True}, "no option 'require_key'"),
    ],
)
def test_an_option_that_it_does_not_have_is_refused_before_a_start(spark, model, options, words):
    with pytest.raises(ConfigurationError) as caught:
        DynamoServerManager("other", str(model), spark=spark).start_servers(**options)
    assert words in str(caught.value)
