"""What NVIDIA publishes for vLLM: the article's code, and two notebooks: a summary of each text, and typed facts.

In local mode: the managers of all three do the same, and each server takes ten seconds of a processor to start.
"""

from __future__ import annotations

import socket
from functools import partial

import pytest
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import functions
from pyspark.sql.types import IntegerType, StringType, StructField, StructType
from support import real_vllm

from integration.spark.conftest import LOCAL, as_in_a_notebook, session
from server_utils import VLLMServerManager

pytestmark = session(LOCAL)

ADDRESS = "http://localhost:7000"  # which the second notebook has in its code
# By a pattern and no schema: a model of random numbers would fill a schema's free white space until it is cut off.
FACTS = r'\{"sentiment": "(good|bad)", "score": [12]\}'


def article_client(model_name, host_to_url):
    """The article's client, as it is."""
    import socket

    import numpy as np
    import requests

    url = host_to_url[socket.gethostname()]

    def predict(inputs):
        response = requests.post(  # noqa: S113 - word for word
            f"{url}/v1/completions",
            json={"model": model_name, "prompt": inputs.tolist(), "max_tokens": 8, "temperature": 0.7, "top_p": 0.8},
        )
        return np.array([r["text"] for r in response.json()["choices"]])

    return predict


def summary_client(model_name, host_to_url):
    """Asks for one completion of each prompt."""
    import socket

    import numpy as np
    import requests

    url = host_to_url[socket.gethostname()]

    def predict(inputs):
        response = requests.post(  # noqa: S113 - as the notebook does
            f"{url}/v1/completions",
            json={
                "model": model_name,
                "prompt": inputs.tolist(),
                "max_tokens": 16,
                "temperature": 0.7,
                "top_p": 0.8,
                "repetition_penalty": 1.05,
            },
        )
        return np.array([choice["text"] for choice in response.json()["choices"]])

    return predict


def facts_client(model_name, host_to_url, pattern):
    """Reads each completion as JSON; a model of random numbers has to be held to it."""
    import json
    import socket

    import requests

    url = host_to_url[socket.gethostname()]

    def predict(inputs):
        response = requests.post(  # noqa: S113 - as the notebook does
            f"{url}/v1/completions",
            json={
                "model": model_name,
                "prompt": inputs.tolist(),
                "max_tokens": 100,
                "temperature": 0.7,
                "top_p": 0.8,
                "repetition_penalty": 1.05,
                "structured_outputs": {"regex": pattern},
            },
        )
        return [json.loads(choice["text"]) for choice in response.json()["choices"]]

    return predict


@pytest.fixture
def start():
    """Starts servers with the options of all three, but for the length, which the tiny model has not."""
    managers = []

    def start_servers(model, name, **options):
        managers.append(VLLMServerManager(model_name=name, model_path=str(model)))
        with pytest.warns(UserWarning, match="task='generate' became runner='generate'"):
            managers[-1].start_servers(gpu_memory_utilization=0.95, max_model_len=512, task="generate", **options)
        assert set(managers[-1].host_to_http_url) == {socket.gethostname()}
        return managers[-1]

    yield start_servers
    for manager in managers:
        manager.stop_servers()


def address_is_ours(server_manager):
    """Whether the address in the notebook's code is one of the servers'; another test may have the port."""
    return any(server.url("http").endswith(":7000") for server in server_manager.status())


def prompts(spark):
    return spark.range(0, 24, 1, 2).select(functions.concat(functions.lit("review "), "id").alias("prompt"))


@pytest.fixture(scope="module")
def model():
    return real_vllm.model_folder()


def test_the_code_of_the_article_runs_as_it_is(spark, model, start):
    server_manager = start(model, "tiny-llm", wait_retries=60, wait_timeout=5)
    fetch = partial(as_in_a_notebook(article_client), "tiny-llm", server_manager.host_to_http_url)
    generate = predict_batch_udf(fetch, return_type=StringType(), batch_size=8)

    found = prompts(spark).withColumn("answer", generate("prompt")).collect()

    assert len(found) == 24
    assert all(row.answer is not None for row in found)
    server_manager.stop_servers()
    assert {server.state.value for server in server_manager.status()} == {"stopped"}


def test_the_notebook_that_summarises_runs_as_it_is(spark, model, start):
    server_manager = start(model, "qwen-2.5-7b", enforce_eager=True, wait_retries=60)
    fetch = partial(as_in_a_notebook(summary_client), "qwen-2.5-7b", server_manager.host_to_http_url)
    generate = predict_batch_udf(fetch, return_type=StringType(), batch_size=8)

    found = prompts(spark).withColumn("summary", generate("prompt")).collect()

    assert len(found) == 24
    assert all(row.summary is not None for row in found)
    server_manager.stop_servers()
    assert [server.reason for server in server_manager.status()] == ["told to stop"]


def test_the_notebook_that_extracts_typed_facts_runs_as_it_is(spark, model, start):
    gpus = int(spark.conf.get("spark.executor.resource.gpu.amount", "1"))
    server_manager = start(model, "qwen-2.5-14b", enforce_eager=True, tensor_parallel_size=gpus, wait_retries=100)
    typed = StructType([StructField("sentiment", StringType()), StructField("score", IntegerType())])
    hosts = {socket.gethostname(): ADDRESS} if address_is_ours(server_manager) else server_manager.host_to_http_url
    fetch = partial(as_in_a_notebook(facts_client), "qwen-2.5-14b", hosts, FACTS)
    extract = predict_batch_udf(fetch, return_type=typed, batch_size=8)

    found = prompts(spark).withColumn("facts", extract("prompt")).collect()

    assert len(found) == 24
    assert {row.facts.sentiment for row in found} <= {"good", "bad"}
    assert {row.facts.score for row in found} <= {1, 2}
    server_manager.stop_servers()
    assert [server.reason for server in server_manager.status()] == ["told to stop"]
