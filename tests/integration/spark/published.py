"""Functions of the shape of those in NVIDIA's notebooks, one for each family: the same calls in the same places.

What is a network there is a few lines of numpy here. They ask Spark for their task, name their workspace by the time,
and stop Triton in a signal handler of their own.
"""

# ruff: noqa: T201 - they print, and the servers' logs show it

from __future__ import annotations

import json


def sentence_embedding(ports):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} loads the encoder.")

    class Encoder:
        def encode(self, texts):
            return np.array([[len(text), text.count("a")] for text in texts], dtype=np.float32)

    encoder = Encoder()

    @batch
    def _infer_fn(**inputs):
        texts = np.squeeze(inputs["text"], -1)
        print(f"SERVER: {len(texts)} rows")
        return {"embeddings": encoder.encode([text.decode("utf-8") for text in texts])}

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="SentenceTransformer",
            infer_func=_infer_fn,
            inputs=[Tensor(name="text", dtype=object, shape=(-1,))],
            outputs=[Tensor(name="embeddings", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def pipeline(ports):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} makes the pipeline.")

    def pipe(texts):
        return [{"label": "POSITIVE" if "a" in text else "NEGATIVE", "score": len(text) / 10} for text in texts]

    @batch
    def _infer_fn(**inputs):
        texts = [text.decode("utf-8") for text in np.squeeze(inputs["text"], -1).tolist()]
        return {"outputs": np.array([[json.dumps(each)] for each in pipe(texts)])}  # json is the notebook's own import

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="SentimentAnalysis",
            infer_func=_infer_fn,
            inputs=[Tensor(name="text", dtype=object, shape=(-1,))],
            outputs=[Tensor(name="outputs", dtype=object, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def conditional_generation(ports):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} loads tokenizer and model.")

    def generate(texts):
        return [[text.upper()] for text in texts]

    @batch
    def _infer_fn(**inputs):
        texts = [text.decode("utf-8") for text in np.squeeze(inputs["text"], -1).tolist()]
        return {"translations": np.array(generate(texts))}

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="ConditionalGeneration",
            infer_func=_infer_fn,
            inputs=[Tensor(name="text", dtype=object, shape=(-1,))],
            outputs=[Tensor(name="translations", dtype=object, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def image_classification(ports, model_path):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} loads {model_path}.")
    weights = np.load(model_path)
    print("SERVER: compiled")

    @batch
    def _infer_fn(**inputs):
        images = inputs["images"]
        if len(images) != 1:
            images = np.squeeze(images)
        return {"labels": images @ weights}

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="ImageClassifier",
            infer_func=_infer_fn,
            inputs=[Tensor(name="images", dtype=np.float32, shape=(-1,))],
            outputs=[Tensor(name="labels", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def regression(ports, model_path):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} loads {model_path}.")
    weights = np.load(model_path)

    @batch
    def _infer_fn(**inputs):
        features = inputs["features"]
        if len(inputs["features"]) != 1:
            features = np.squeeze(features)
        return {"preds": features @ weights}

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="HousingModel",
            infer_func=_infer_fn,
            inputs=[Tensor(name="features", dtype=np.float32, shape=(-1,))],
            outputs=[Tensor(name="preds", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=50, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def preprocessing_layers(ports, model_path):
    import signal
    import time

    import numpy as np
    from pyspark import TaskContext
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    print(f"SERVER: partition {TaskContext.get().partitionId()} loads {model_path}.")
    weights = np.load(model_path)

    def decode(tensor):
        return np.vectorize(lambda text: text.decode("utf-8"))(tensor)

    def identity(tensor):
        return tensor

    transforms = {"Type": decode, "Age": identity, "Breed": decode, "Fee": identity}

    def predict(features):
        lengths = np.vectorize(len)(features["Breed"]) + (features["Type"] == "Cat")
        return (weights[0] * features["Age"] + weights[1] * features["Fee"] + lengths).astype(np.float32)

    @batch
    def _infer_fn(**inputs):
        decoded = {name: transforms[name](tensor) for name, tensor in inputs.items()}
        print(f"SERVER: {len(decoded['Type'])} rows")
        return {"preds": predict(decoded)}

    where = f"/tmp/sidecar_published_{time.strftime('%m_%d_%M_%S')}"  # noqa: S108 - as the notebooks do
    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
    with Triton(config=config, workspace=where) as triton:
        triton.bind(
            model_name="PetClassifier",
            infer_func=_infer_fn,
            inputs=[
                Tensor(name="Type", dtype=np.bytes_, shape=(-1,)),
                Tensor(name="Age", dtype=np.int64, shape=(-1,)),
                Tensor(name="Breed", dtype=np.bytes_, shape=(-1,)),
                Tensor(name="Fee", dtype=np.int64, shape=(-1,)),
            ],
            outputs=[Tensor(name="preds", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=128, batcher=DynamicBatcher(max_queue_delay_microseconds=5000)),
            strict=True,
        )

        def _stop(signum, frame):
            print("SERVER: told to stop")
            triton.stop()

        signal.signal(signal.SIGTERM, _stop)
        print("SERVER: serves")
        triton.serve()


def text_client(model_name, host_to_url, output, read):
    """Asks a model of one text; read: what an element of the answer becomes."""
    import socket

    import numpy as np
    from pytriton.client import ModelClient

    url = host_to_url[socket.gethostname()]

    def infer_batch(inputs):
        with ModelClient(url, model_name, inference_timeout_s=240) as client:
            encoded = [[text.encode("utf-8")] for text in np.squeeze(inputs).tolist()]
            return read(client.infer_batch(np.array(encoded, dtype=np.bytes_))[output])

    return infer_batch


def array_client(model_name, host_to_url, output):
    """Asks a model of one array of numbers."""
    import socket

    from pytriton.client import ModelClient

    url = host_to_url[socket.gethostname()]

    def infer_batch(inputs):
        with ModelClient(url, model_name, inference_timeout_s=240) as client:
            return client.infer_batch(inputs)[output]

    return infer_batch


def columns_client(model_name, host_to_url, output):
    """Asks a model of several columns by their names."""
    import socket

    import numpy as np
    from pytriton.client import ModelClient

    url = host_to_url[socket.gethostname()]

    def infer_batch(kind, age, breed, fee):
        def encode(value):
            return np.vectorize(lambda text: text.encode("utf-8"))(value).astype(np.bytes_)

        with ModelClient(url, model_name, inference_timeout_s=240) as client:
            found = client.infer_batch(Type=encode(kind), Age=age, Breed=encode(breed), Fee=fee)
            return found[output]

    return infer_batch
