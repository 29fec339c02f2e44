"""Functions for `start_servers`: models of a few lines of numpy, and functions that fail. They run in real Triton."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np


def serve(ports, *models, **settings):
    """Serve models, each (name, function of arrays, inputs, outputs, settings); tensors as {name: (type, shape)}."""
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    def tensors(described):
        return [Tensor(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in described.items()]

    config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2], **settings)
    with Triton(config=config) as triton:
        for name, function, inputs, outputs, model in models:
            triton.bind(name, function, tensors(inputs), tensors(outputs), config=ModelConfig(**model))
        triton.serve()


def _answer(i, ports):
    return np.hstack([2 * i, np.full_like(i, os.getpid()), np.full_like(i, ports[0])])


_ID, _ANSWER = {"id": (np.int64, (1,))}, {"answer": (np.int64, (3,))}


def whoami(ports):
    """Answer each row with twice its number, the server's process and its HTTP port."""
    from pytriton.decorators import batch

    serve(ports, ("whoami", batch(lambda id: {"answer": _answer(id, ports)}), _ID, _ANSWER, {}))


def gated(ports, model_path):
    """As `whoami`, but rows whose number ends with 50 wait until there is a file `go`."""
    from pytriton.decorators import batch

    folder = Path(model_path)

    @batch
    def infer(id):
        if np.any(id % 100 == 50):
            (folder / str(os.getpid())).touch()
            while not (folder / "go").exists():
                time.sleep(0.02)
        return {"answer": _answer(id, ports)}

    serve(ports, ("gated", infer, _ID, _ANSWER, {}))
