"""The arms: each a function of a data frame that returns it with the model's answers. All run in one Spark session."""

from __future__ import annotations

import functools

from pyspark.ml.functions import predict_batch_udf
from pyspark.sql.types import ArrayType, FloatType

from benchmarks import functions
from server_utils.host.processes import ancestor

VECTOR = ArrayType(FloatType())


def ours(servers, column: str):
    """The column function: no batch size to choose, no client to write."""
    return lambda frame: frame.select(servers.tensors(column).alias("answer"))


def in_process(load, column: str, *, batch_size: int, shapes=None):
    """Plain `predict_batch_udf`: a copy of the model in every Python worker."""

    def make_predict_fn():
        model = load()
        return lambda rows: model(list(rows) if rows.dtype == object else rows)

    predict = predict_batch_udf(make_predict_fn, return_type=VECTOR, batch_size=batch_size, input_tensor_shapes=shapes)
    return lambda frame: frame.select(predict(column).alias("answer"))


def upstream(servers, column: str, *, model: str, batch_size: int, shapes=None):
    """A new PyTriton client for every batch, as the published notebooks do.

    They look servers up by host name, which finds one of two on one host; here each executor finds its own, so that
    this arm has as many servers as the others.
    """
    urls = {key.split("/")[1]: url for key, url in servers.urls.items()}

    def make_predict_fn():
        import numpy as np
        from pytriton.client import ModelClient

        executor = ancestor("java")
        url = urls[f"{executor.pid}-{executor.started}"]

        def predict(rows):
            batch = np.vectorize(lambda text: text.encode())(rows).reshape(-1, 1) if rows.dtype == object else rows
            with ModelClient(url, model, inference_timeout_s=300) as client:
                return next(iter(client.infer_batch(batch).values()))

        return predict

    predict = predict_batch_udf(make_predict_fn, return_type=VECTOR, batch_size=batch_size, input_tensor_shapes=shapes)
    return lambda frame: frame.select(predict(column).alias("answer"))


def encoder_arms(servers, model_path: str) -> dict:
    """The arms of the text workload; upstream's notebooks take 32 rows a batch."""
    load = functools.partial(functions.load_encoder, model_path, functions.THREADS)
    return {
        "in-process, 32": in_process(load, "text", batch_size=32),
        "in-process, 1000": in_process(load, "text", batch_size=1000),
        "upstream, 32": upstream(servers, "text", model="encoder", batch_size=32),
        "ours": ours(servers, "text"),
    }


def classifier_arms(servers) -> dict:
    """The arms of the small-tensor workload, at the two batch sizes that were measured before."""
    shapes, arms = [[functions.PIXELS]], {}
    for size in (100, 1000):
        arms[f"in-process, {size}"] = in_process(functions.load_classifier, "pixels", batch_size=size, shapes=shapes)
        arms[f"upstream, {size}"] = upstream(servers, "pixels", model="classifier", batch_size=size, shapes=shapes)
    return arms | {"ours, binary": ours(servers, "raw"), "ours": ours(servers, "pixels")}
