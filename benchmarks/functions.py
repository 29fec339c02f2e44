"""The models of the benchmark, as every arm uses them. Imported by Spark's Python; shipped by value to the servers."""

from __future__ import annotations

CLASSES, PIXELS = 10, 784
THREADS = 1  # per server and per Python worker: two of them share two cores


def load_encoder(path: str, threads: int):
    """MiniLM on so many threads: texts -> float32 of shape (n, 384)."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(path)
    return lambda texts: model.encode(texts, batch_size=32, show_progress_bar=False)


def load_classifier():
    """A linear layer with fixed weights: float32 (n, 784) -> (n, 10)."""
    import numpy as np

    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)
    return lambda batch: batch @ weights


def encoder_server(ports: list[int], model_path: str) -> None:
    """A user's function for `TritonServerManager`: one text in, one vector out."""
    import numpy as np
    import torch
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    model = SentenceTransformer(model_path)

    @batch
    def embed(text):
        texts = [row.decode() for row in text.reshape(-1)]
        return {"vector": model.encode(texts, batch_size=32, show_progress_bar=False)}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "encoder",
            embed,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="vector", dtype=np.float32, shape=(384,))],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()


def classifier_server(ports: list[int]) -> None:
    """A user's function: 784 numbers in, 10 out."""
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    weights = np.random.default_rng(0).normal(size=(784, 10)).astype(np.float32)

    @batch
    def classify(pixels):
        return {"scores": pixels @ weights}

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind(
            "classifier",
            classify,
            inputs=[Tensor(name="pixels", dtype=np.float32, shape=(784,))],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=4096),
        )
        triton.serve()
