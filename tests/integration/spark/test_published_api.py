"""The code that NVIDIA publishes on distributed inference with Spark: the article's, and a notebook of each family."""

from __future__ import annotations

import importlib.util
import json
import re
import socket
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pyspark import cloudpickle
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField, StructType

from integration.spark import published, tiny_models
from integration.spark.conftest import as_in_a_notebook, kill
from server_utils import ConfigurationError, ServerStartError, TritonServerManager
from server_utils.host.processes import wait_until

TEXTS = ["a", "bb", "", "dddd"] * 10


def triton_server(ports: list[int], model_path: str) -> None:
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def _infer_fn(**inputs):
        sentences = np.squeeze(inputs["text"], -1)
        decoded = [sentence.decode("utf-8") for sentence in sentences]
        return {"preds": np.array([[len(text), 1] for text in decoded], dtype=np.float32)}

    workspace_path = f"{model_path}/workspace_{ports[0]}"
    triton_conf = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=triton_conf, workspace=workspace_path) as triton:
        triton.bind(
            model_name="my-model",
            infer_func=_infer_fn,
            inputs=[Tensor(name="text", dtype=object, shape=(-1,))],
            outputs=[Tensor(name="preds", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )
        triton.serve()


def triton_fn(model_name, host_to_url):
    import socket

    import numpy as np
    from pytriton.client import ModelClient

    url = host_to_url[socket.gethostname()]

    def infer_batch(inputs):
        with ModelClient(url, model_name, inference_timeout_s=240) as client:
            flattened = np.squeeze(inputs).tolist()
            encoded_batch = [[text.encode("utf-8")] for text in flattened]
            return client.infer_batch(np.array(encoded_batch))["preds"]

    return infer_batch


@pytest.fixture
def own_python_is_the_engines(spark, monkeypatch, tmp_path):
    if importlib.util.find_spec("pytriton") is None:
        pytest.skip("needs pytriton in Spark's own Python, as the article's clusters have it (.venv-spark35)")
    monkeypatch.setitem(spark.sparkContext.environment, "SPARK_SIDECAR_HOME", str(tmp_path / "no environments"))


@pytest.mark.usefixtures("own_python_is_the_engines")
def test_the_published_code_runs_as_it_is(spark, tmp_path):
    df = spark.createDataFrame([(text,) for text in TEXTS], "text string").repartition(2)

    server_manager = TritonServerManager(model_name="my-model", model_path=str(tmp_path))
    server_manager.start_servers(triton_server)
    host_to_http_url = server_manager.host_to_http_url
    host_to_grpc_url = server_manager.host_to_grpc_url
    found = []
    for host_to_url in (host_to_http_url, host_to_grpc_url):
        # The function is sent by value from here: a module of the tests cannot be imported by an executor.
        fetch = as_in_a_notebook(triton_fn)
        classify = predict_batch_udf(
            partial(fetch, model_name="my-model", host_to_url=host_to_url),
            return_type=ArrayType(FloatType()),
            input_tensor_shapes=[[1]],
            batch_size=8,
        )
        found.append(df.withColumn("preds", classify("text")).collect())
    server_manager.stop_servers()

    assert type(host_to_http_url) is dict
    assert set(host_to_http_url) == set(host_to_grpc_url) == {socket.gethostname()}
    assert host_to_http_url[socket.gethostname()].startswith("http://127.0.0.1:")
    assert host_to_grpc_url[socket.gethostname()].startswith("grpc://127.0.0.1:")
    for rows in found:
        assert sorted((row.text, *row.preds) for row in rows) == sorted((text, float(len(text)), 1.0) for text in TEXTS)


def test_the_older_pair_of_waiting_options_is_one_deadline(manager):
    servers = manager("older")

    servers.start_servers(tiny_models.whoami, wait_retries=24, wait_timeout=5)

    assert [server.state.value for server in servers.status()] == ["ready", "ready"]


def test_a_start_that_takes_longer_than_the_pair_allows_fails_with_the_end_of_the_log(manager):
    with pytest.raises(ServerStartError, match=r"still loading weights"):
        manager("slow").start_servers(tiny_models.never_ready, wait_retries=3, wait_timeout=5)


def test_options_that_do_not_exist_or_cannot_be_are_refused(manager):
    for options, words in (
        ({"timeout_s": 0}, "more than 0 seconds"),
        ({"hang_timeout": 3}, "did you mean hang_timeout_s"),
        ({"max_restarts": "many"}, "must be a number"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            manager("options").start_servers(tiny_models.whoami, **options)


PETS = [("Cat" if n % 2 else "Dog", n, "x" * (n % 5), 10 * n) for n in range(40)]
VECTOR, SENTIMENT = (
    ArrayType(FloatType()),
    StructType([StructField("label", StringType()), StructField("score", FloatType())]),
)


def texts_of(spark):
    return spark.createDataFrame([(text,) for text in TEXTS], "text string").repartition(2)


def arrays_of(width):
    return lambda spark: spark.createDataFrame(
        [([float(n)] * width,) for n in range(40)], "x array<float>"
    ).repartition(2)


def pets_of(spark):
    return spark.createDataFrame(PETS, "kind string, age bigint, breed string, fee bigint").repartition(2)


def read_texts(answer):
    return np.squeeze(answer, -1)


def read_json(answer):
    return [json.loads(each) for each in np.squeeze(answer, -1)]


def preds_of_pets():
    return [n + 0.5 * fee + len(breed) + (kind == "Cat") for kind, n, breed, fee in PETS]


# Family: its weights, rows, columns, right answers, output, and the published client with what its column is.
FAMILIES = {
    "sentence_embedding": (
        None,
        texts_of,
        ["text"],
        [[float(len(text)), float(text.count("a"))] for text in TEXTS],
        partial(published.text_client, output="embeddings", read=np.asarray),
        {"return_type": VECTOR, "input_tensor_shapes": [[1]], "batch_size": 32},
    ),
    "pipeline": (
        None,
        texts_of,
        ["text"],
        [json.dumps({"label": "POSITIVE" if "a" in text else "NEGATIVE", "score": len(text) / 10}) for text in TEXTS],
        partial(published.text_client, output="outputs", read=read_json),
        {"return_type": SENTIMENT, "input_tensor_shapes": [[1]], "batch_size": 32},
    ),
    "conditional_generation": (
        None,
        texts_of,
        ["text"],
        [text.upper() for text in TEXTS],
        partial(published.text_client, output="translations", read=read_texts),
        {"return_type": StringType(), "input_tensor_shapes": [[1]], "batch_size": 32},
    ),
    "image_classification": (
        np.ones((784, 10), np.float32),
        arrays_of(784),
        ["x"],
        [[784.0 * n] * 10 for n in range(40)],
        partial(published.array_client, output="labels"),
        {"return_type": VECTOR, "input_tensor_shapes": [[784]], "batch_size": 50},
    ),
    "regression": (
        np.ones((8, 1), np.float32),
        arrays_of(8),
        ["x"],
        [8.0 * n for n in range(40)],
        partial(published.array_client, output="preds"),
        {"return_type": FloatType(), "input_tensor_shapes": [[8]], "batch_size": 50},
    ),
    "preprocessing_layers": (
        np.array([1, 0.5], np.float32),
        pets_of,
        ["kind", "age", "breed", "fee"],
        preds_of_pets(),
        partial(published.columns_client, output="preds"),
        {"return_type": FloatType(), "input_tensor_shapes": [[1]] * 4, "batch_size": 64},
    ),
}


def as_it_is_sent(answer):
    """Answers of all clients alike: a struct as the JSON that it was, one element as itself."""
    if hasattr(answer, "asDict"):
        return json.dumps({"label": answer.label, "score": round(answer.score, 4)})
    return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer


def log_of(server):
    return Path(server.log).read_text()


@pytest.fixture
def as_in_notebooks():
    """Spark sends the functions of this module and of `published` by value, as it does those of a notebook."""
    modules = (published, sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


# Where Spark's own Python lacks the notebooks' client, a family of text alone and one of several columns do.
HAS_CLIENT = importlib.util.find_spec("pytriton") is not None
RUN_HERE = FAMILIES if HAS_CLIENT else ["pipeline", "preprocessing_layers"]


@pytest.mark.parametrize("family", RUN_HERE)
@pytest.mark.usefixtures("as_in_notebooks")
def test_a_published_notebook_of_each_family_runs_as_it_is(spark, tmp_path, family):
    weights, rows_of, columns, right, client, described = FAMILIES[family]
    if weights is not None:
        np.save(tmp_path / "weights.npy", weights)
    model_path = None if weights is None else str(tmp_path / "weights.npy")
    server_manager = TritonServerManager(model_name=f"notebook {family}", model_path=model_path)

    server_manager.start_servers(getattr(published, family), wait_retries=24)

    frame = rows_of(spark)
    found = [frame.select(server_manager.tensors(*columns)).collect()]
    if HAS_CLIENT:
        (model_name,) = server_manager.models
        for urls in (server_manager.host_to_http_url, server_manager.host_to_grpc_url):
            fetch = partial(client, model_name, urls)
            found.append(frame.select(predict_batch_udf(fetch, **described)(*columns)).collect())
    for rows in found:
        assert sorted(as_it_is_sent(row[0]) for row in rows) == sorted(right)
    server_manager.stop_servers()
    servers = server_manager.status()
    assert [(server.state.value, server.reason) for server in servers] == [("stopped", "told to stop")] * 2
    assert {re.search(r"SERVER: partition (\d)", log_of(server))[1] for server in servers} == {"0", "1"}
    assert all("SERVER: told to stop" in log_of(server) for server in servers)
    assert not list(Path("/tmp").glob("sidecar_published_*"))  # noqa: S108 - where the function wants its workspace


def test_a_server_that_starts_again_has_a_new_workspace_and_still_knows_its_task(manager):
    servers = manager("again")
    servers.start_servers(published.sentence_embedding)
    before = servers.status()

    for server in before:
        kill(server.process)

    def again():
        return [(server.state.value, server.restarts) for server in servers.status()] == [("ready", 1)] * 2

    assert wait_until(again, 120), servers.status()
    for server in servers.status():
        first, second = re.findall(r"SERVER: partition (\d)", log_of(server))
        assert first == second
        assert len(set(re.findall(r"The workspace is (\S+), not /tmp/sidecar_published_", log_of(server)))) == 2
