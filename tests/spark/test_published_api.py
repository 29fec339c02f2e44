"""The code that NVIDIA's article on distributed inference with Spark publishes, word for word but for the model."""

from __future__ import annotations

import importlib.util
import socket
from functools import partial

import pytest
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType

from server_utils import ConfigurationError, ServerStartError, TritonServerManager
from spark import tiny_models
from spark.conftest import as_in_a_notebook

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
