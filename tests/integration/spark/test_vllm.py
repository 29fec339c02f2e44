"""Real vLLM beside two executors: the columns, and a job that is hit half-way."""

from __future__ import annotations

import re

import pytest
from pyspark.sql import functions
from pyspark.sql.types import LongType, StringType, StructField, StructType
from support import real_vllm

from integration.spark.conftest import in_background, kill, once, part, wait_for_states
from server_utils import ConfigurationError, VLLMServerManager
from server_utils.host.processes import wait_until
from server_utils.inference.utf8 import PROBLEM

LONG = {"max_tokens": 100, "ignore_eos": True}


@pytest.fixture(scope="module")
def model():
    return real_vllm.model_folder()


@pytest.fixture(scope="module")
def servers(spark, model):
    with VLLMServerManager("tiny", str(model), spark=spark) as manager:
        manager.start_servers(max_model_len=real_vllm.CONTEXT, max_num_seqs=8)
        yield manager


def prompts(spark, count=200, partitions=4):
    """Rows 7, 57, … are too long for the model; rows 3, 53, … are null."""
    prompt = (
        functions.when(functions.col("id") % 50 == 7, functions.repeat(functions.lit("word "), real_vllm.CONTEXT))
        .when(functions.col("id") % 50 == 3, functions.lit(None))
        .otherwise(functions.concat(functions.lit("tell me of "), functions.col("id")))
    )
    return spark.range(0, count, 1, partitions).withColumn("prompt", prompt)


def test_rows_get_answers_and_bad_rows_say_why_and_hold_nobody_up(spark, servers):
    answer = servers.generate("prompt", max_tokens=8, on_error="struct", details=True)

    found = prompts(spark).withColumn("answer", answer).collect()

    assert sorted(row.id for row in found) == list(range(200))
    for row in found:
        value, error, reason, tokens_in, tokens_out = row.answer
        if row.id % 50 == 7:
            assert value is None
            assert "maximum context length is 512 tokens" in error
        elif row.id % 50 == 3:
            assert (value, error, reason) == (None, None, None)
        else:
            assert value is not None
            assert error is None
            assert reason in ("stop", "length")
            assert tokens_in > 3
            assert 1 <= tokens_out <= 8
    statuses = servers.status()
    assert sum(server.rows for server in statuses) >= 196
    assert min(server.rows for server in statuses) > 0
    assert sum(server.errors.get("too_long", 0) for server in statuses) == 4


def test_a_bad_row_fails_the_job_by_its_number_unless_one_says_otherwise(spark, servers):
    bad = prompts(spark, 50, 1).withColumn("answer", servers.generate("prompt", max_tokens=2))
    with pytest.raises(Exception, match=r"row 7 of partition 0: HTTP 400.*maximum context length"):
        bad.collect()

    fine = prompts(spark, 50, 1).withColumn("answer", servers.generate("prompt", max_tokens=2, on_error="null"))
    assert [row.id for row in fine.collect() if row.answer is None] == [3, 7]


def test_conversations_and_plain_texts_are_put_into_the_models_own_template(spark, servers):
    roles = functions.array(
        functions.struct(functions.lit("system").alias("role"), functions.lit("be brief").alias("content")),
        functions.struct(functions.lit("user").alias("role"), functions.col("prompt").alias("content")),
    )
    parts = functions.expr(
        "array(struct('user' as role, array(struct('text' as type, prompt as text, cast(null as struct<url: string>) "
        "as image_url)) as content))"
    )
    fine = prompts(spark, 40, 2).where("prompt is not null and id != 7")
    asked = {"max_tokens": 4, "temperature": 0, "details": True, "on_error": "struct"}

    row = fine.select(
        servers.chat(roles, **asked).alias("talk"),
        servers.chat("prompt", **asked).alias("text"),
        servers.chat(parts, **asked).alias("parts"),
        servers.generate("prompt", **asked).alias("bare"),
    ).first()

    assert not any(answer.error for answer in row)
    assert row.talk.prompt_tokens > row.text.prompt_tokens == row.parts.prompt_tokens > row.bare.prompt_tokens


def test_answers_keep_to_a_schema_and_come_as_a_typed_column(spark, servers):
    kind = StructType([StructField("n", LongType(), nullable=False), StructField("word", StringType())])
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    fine = prompts(spark, 24, 2).where("id != 7")
    typed = fine.select(
        "prompt",
        servers.generate("prompt", response_format=schema, on_error="struct", details=True, temperature=0).alias("a"),
        servers.generate("prompt", response_format=kind, max_tokens=3, on_error="struct").alias("cut"),
    )

    assert typed.schema["a"].dataType["value"].dataType.simpleString() == "struct<mood:string>"
    assert typed.schema["cut"].dataType["value"].dataType.simpleString() == "struct<n:bigint,word:string>"
    for row in typed.collect():
        if row.prompt is None:
            assert (row.a.value, row.a.error, row.cut.value) == (None, None, None)
        else:
            # Random numbers may pad with blanks until the end: an answer is right, or says that it was cut.
            assert (row.a.value and row.a.value.mood in ("good", "bad")) or "was cut off" in row.a.error
            assert "was cut off" in row.cut.error


TYPED = (
    "tiny tinyint, small smallint, whole int, big bigint, single float, price decimal(10,2), count decimal(5,0), "
    "seen boolean, day date, at timestamp, wall timestamp_ntz, days array<date>, by_year map<int,string>"
)


@once
def test_the_engine_takes_the_schema_of_every_spark_type_and_keeps_to_it(spark, servers):
    """A grammar that it refused would be an error of every row; none knows months, keys of maps, scales, or sizes."""
    kinds = {field.name: StructType([field]) for field in spark.createDataFrame([], TYPED).schema}
    columns = [
        servers.generate("prompt", response_format=kind, on_error="struct", max_tokens=40).alias(name)
        for name, kind in kinds.items()
    ]

    frame = spark.range(4).selectExpr("concat('tell me of ', id) as prompt").select(*columns)

    assert {name: frame.schema[name].dataType["value"].dataType for name in kinds} == kinds
    rows = frame.collect()
    for name, answer in ((name, row[name]) for row in rows for name in kinds):
        expected = "was cut off|no date|not a 'date'|no time|the key|more digits after its point"
        too_large = r"no column holds the number|is more than \S+ holds"
        assert answer.value or re.search(f"{expected}|{too_large}", answer.error), (name, answer)
    assert any(row.tiny.value for row in rows)


def test_a_typed_answer_by_chance_is_asked_once_and_kept_by_what_it_is(spark, servers):
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    typed = servers.generate("prompt", response_format=schema, on_error="struct", temperature=1.0)
    before = sum(server.rows for server in servers.status())

    kept = prompts(spark, 48, 2).where("prompt is not null and id != 7").withColumn("a", typed)
    found = kept.where("a.error is null and a.value.mood = 'good'").select("id", "a.value.mood", "a.error").collect()

    assert {(row.mood, row.error) for row in found} <= {("good", None)}
    assert sum(server.rows for server in servers.status()) - before == 46


@pytest.mark.parametrize(("field", "value"), [("temperature", -1), ("temperature", "hot"), ("max_tokens", 0)])
def test_a_value_that_the_engine_refuses_ends_the_job_and_leaves_no_column_of_nulls(spark, servers, field, value):
    answer = servers.generate("prompt", on_error="null", **{field: value})

    with pytest.raises(Exception, match=f"the server refuses {field}={value!r}: HTTP 400"):
        prompts(spark, 2, 1).select(answer).collect()


def test_a_text_that_is_not_utf8_is_the_error_of_its_row_wherever_it_stands(spark, servers):
    texts = spark.range(0, 5, 1, 1).selectExpr(
        "id",
        "case id when 1 then cast(X'636166e9' as string) when 2 then null else concat('naïve \\0 � ', id) end as text",
        "X'61' as fine",
    )
    frame = texts.selectExpr(
        "*",
        "cast(text as binary) as raw",
        "if(text is null, null, array(struct('user' as role, text as content))) as talk",
        "if(text is null, null, array(struct('user' as role, array(struct('text' as type, text as text)) as content))) "
        "as parts",
    )
    asked = {"max_tokens": 2, "on_error": "struct"}
    columns = [servers.generate(name, **asked) for name in ("text", "raw")]
    columns += [servers.chat(name, **asked) for name in ("text", "raw", "talk", "parts")]

    for column in columns:
        found = [row[0] for row in frame.select(column).collect()]
        assert [each.error for each in found] == [None, PROBLEM, None, None, None]
        assert [each.value is None for each in found] == [False, True, True, False, False]
    with pytest.raises(Exception, match=f"row 1 of partition 0: {PROBLEM[:30]}"):
        frame.select(servers.chat("talk", max_tokens=2)).collect()
    binary = "array(struct('user' as role, 'hi' as content, X'ff00' as data))"
    assert frame.select(servers.chat(functions.expr(binary), **asked)).first()[0].error is None


def test_a_column_is_called_by_the_function_and_what_it_is_made_of(spark, servers, capsys):
    typed = {"response_format": StructType([StructField("n", LongType())])}
    frame = prompts(spark, 1).select(
        servers.generate("prompt"),
        servers.generate(functions.upper("prompt"), details=True),
        servers.chat("prompt", **typed),
        servers.generate("prompt", on_error="struct", **typed),
    )
    frame.explain()

    names = ["generate(prompt)", "generate(upper(prompt))", "chat(prompt)", "generate(prompt)"]
    assert frame.columns == names
    plan = capsys.readouterr().out
    assert "generate(" in plan
    assert "chat(" in plan
    assert "partial" not in plan


def test_what_a_request_cannot_hold_is_refused_before_any_job(servers):
    for options, words in [
        ({"max_token": 3}, "has no field 'max_token'; did you mean max_tokens"),
        ({"guided_choice": ["a"]}, "say structured_outputs={'choice': ['a']}"),
        ({"n": 2}, "a row has one answer"),
        ({"stream": True}, "answers come whole"),
        ({"on_error": "ignore"}, 'on_error must be "raise", "null" or "struct"'),
        ({"response_format": {"type": "object"}}, "does not say what it holds"),
        ({"response_format": {"type": "json_object"}}, "structured_outputs={'json_object': True}"),
        ({"stop": {"a"}}, "stop is {'a'} (set), which JSON cannot hold"),
        ({"temperature": float("nan")}, "temperature is nan"),
    ]:
        with pytest.raises(ConfigurationError) as caught:
            servers.generate("prompt", **options)
        assert words in str(caught.value)
    with pytest.raises(ConfigurationError, match=r'start them with start_servers\(runner="pooling"\)'):
        servers.embed("prompt")


@once
def test_a_job_survives_the_death_of_an_engine(spark, servers):
    before = wait_for_states(servers, "ready", "ready")
    frame = prompts(spark, 160).where("id % 50 != 7").withColumn("answer", servers.generate("prompt", **LONG))
    job = in_background(frame.collect)
    assert wait_until(lambda: all(server.metrics.get("running") for server in servers.status()), 60)

    kill(part(before[0], "VLLM::EngineCore"))

    found = job.result(timeout=300)
    assert sorted(row.id for row in found) == [number for number in range(160) if number % 50 != 7]
    assert all(row.answer or row.prompt is None for row in found)
    after = wait_for_states(servers, "ready", "ready")
    assert [server.restarts for server in after] == [before[0].restarts + 1, before[1].restarts]
    assert "exited with status 1" in after[0].reason
