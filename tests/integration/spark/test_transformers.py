"""Real `transformers serve` beside two executors: its answers are the library's own, and what it lacks is refused."""

from __future__ import annotations

import json
import subprocess

import pytest
from pyspark.sql import functions
from support import real_vllm

from server_utils import ConfigurationError, TransformersServerManager
from server_utils.environments import builder
from server_utils.errors import EnvironmentMissingError

# What the library itself generates, without a server.
GENERATE = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, prompts = sys.argv[1], json.loads(sys.argv[2])
tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
for prompt in prompts:
    inputs = tokenizer(prompt, return_tensors="pt")
    tokens = model.generate(**inputs, max_new_tokens=6, do_sample=False)[0][inputs["input_ids"].shape[1]:]
    print(json.dumps(tokenizer.decode(tokens, skip_special_tokens=True)))
"""
PROMPTS = ["tell me of the sea", "one", "two and three"]


@pytest.fixture(scope="module")
def python():
    try:
        return builder.find("transformers").python
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def model():
    return real_vllm.model_folder()


@pytest.fixture(scope="module")
def servers(spark, model, python):
    with TransformersServerManager("tiny", str(model), spark=spark) as manager:
        manager.start_servers(dtype="float32")
        yield manager


def test_answers_are_those_of_the_library_and_nulls_stay_null(spark, servers, model, python):
    printed = subprocess.run(
        [python, "-c", GENERATE, model, json.dumps(PROMPTS)], capture_output=True, text=True, check=True
    ).stdout
    expected = dict(zip(PROMPTS, map(json.loads, printed.splitlines()), strict=True))
    frame = spark.createDataFrame([(prompt,) for prompt in [*PROMPTS, None] * 5], "prompt string").repartition(4)

    answer = servers.generate("prompt", max_tokens=6, temperature=0, details=True)
    rows = frame.withColumn("answer", answer).collect()

    assert len(rows) == 20
    for prompt, answered in rows:
        assert answered.value == expected.get(prompt)
        assert (answered.prompt_tokens is None) == (prompt is None)
    assert len({server.key for server in servers.status()}) == 2


def test_a_chat_answers_each_conversation(spark, servers):
    frame = spark.range(6).withColumn("reply", servers.chat(functions.lit("hello"), max_tokens=4, on_error="struct"))

    assert [row.reply.error for row in frame.collect()] == [None] * 6


def test_what_the_server_ignores_or_does_not_offer_is_refused_before_a_job(servers):
    with pytest.raises(ConfigurationError, match="ignores JSON schemas, so response_format cannot be kept"):
        servers.generate("prompt", response_format={"type": "object", "properties": {"a": {"type": "integer"}}})
    for name in ("presence_penalty", "top_k"):
        with pytest.raises(ConfigurationError, match=f"/v1/completions has no field '{name}'"):
            servers.generate("prompt", **{name: 1.0})
    with pytest.raises(ConfigurationError, match="has no field 'temprature'; did you mean temperature"):
        servers.chat("prompt", temprature=0)
    with pytest.raises(ConfigurationError, match="these servers do not offer /v1/embeddings"):
        servers.embed("prompt")


def test_an_option_that_it_does_not_have_is_refused_with_the_nearest(spark, model):
    manager = TransformersServerManager("other", str(model), spark=spark)
    with pytest.raises(ConfigurationError, match="has no option 'dtyp'; did you mean dtype"):
        manager.start_servers(dtyp="float32")
    with pytest.raises(ConfigurationError, match="transformers serve needs a model"):
        TransformersServerManager("other", spark=spark).start_servers()
