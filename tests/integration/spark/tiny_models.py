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


def _answer(row, ports):
    return np.hstack([2 * row, np.full_like(row, os.getpid()), np.full_like(row, ports[0])])


_ID, _ANSWER = {"row": (np.int64, (1,))}, {"answer": (np.int64, (3,))}


def whoami(ports):
    """Answer each row with twice its number, the server's process and its HTTP port."""
    from pytriton.decorators import batch

    serve(ports, ("whoami", batch(lambda row: {"answer": _answer(row, ports)}), _ID, _ANSWER, {}))


def shifted(ports, model_path):
    """Answer each row with its number plus what the model's file says."""
    from pytriton.decorators import batch

    shift = int((Path(model_path) / "shift").read_text())
    infer = batch(lambda row: {"shifted": row + shift})
    serve(ports, ("shifted", infer, _ID, {"shifted": (np.int64, (1,))}, {}))


def gated(ports, model_path):
    """As `whoami`, but rows whose number ends with 50 wait until there is a file `go`."""
    from pytriton.decorators import batch

    folder = Path(model_path)

    @batch
    def infer(row):
        if np.any(row % 100 == 50):
            (folder / str(os.getpid())).touch()
            while not (folder / "go").exists():
                time.sleep(0.02)
        return {"answer": _answer(row, ports)}

    serve(ports, ("gated", infer, _ID, _ANSWER, {}))


def chance(ports, model_path):
    """Answer each row with a number from 0 to 99 by chance, and leave a byte per row in a file."""
    from pytriton.decorators import batch

    draw = np.random.default_rng()

    @batch
    def infer(row):
        with (Path(model_path) / str(os.getpid())).open("ab") as file:
            file.write(b"." * len(row))
        return {"number": draw.integers(0, 100, row.shape)}

    serve(ports, ("chance", infer, _ID, {"number": (np.int64, (1,))}, {}))


def says_when_it_crashes(ports, model_path):
    (Path(model_path) / f"{os.getpid()}.crashed").write_text(str(time.time()))
    raise ValueError("the weights have the wrong shape")


def without_a_server(ports):
    """As `whoami`, but the program that pytriton is to run is not there."""
    from pytriton import triton

    prepare = triton.Triton._prepare_triton_inference_server
    triton.Triton._prepare_triton_inference_server = lambda self: prepare(self) / "nowhere"
    whoami(ports)


def open_to_the_network(ports):
    """As `whoami`, with a TritonConfig that asks for every interface."""
    from pytriton.decorators import batch

    model = ("whoami", batch(lambda row: {"answer": _answer(row, ports)}), _ID, _ANSWER, {})
    serve(ports, model, http_address="0.0.0.0", grpc_address="0.0.0.0", metrics_address="0.0.0.0")  # noqa: S104 - its point


def with_repository(ports, model_path):
    """As `whoami`, beside a model repository of the user's own."""
    from pytriton.decorators import batch

    model = ("whoami", batch(lambda row: {"answer": _answer(row, ports)}), _ID, _ANSWER, {})
    serve(ports, model, model_repository=Path(model_path))


def many(ports):
    """One model for each way that rows may be asked for."""
    from pytriton.decorators import batch

    @batch
    def vector(x):
        return {"total": x.sum(axis=1, keepdims=True), "halves": (x / 2).astype(np.float64)}

    @batch
    def text(text):
        letters = [list(row[0][:3].ljust(3, b"\0")) for row in text]
        return {
            "length": np.array([[len(row[0])] for row in text]),
            "upper": np.char.upper(text.astype(bytes)),
            "letters": np.array(letters, np.float32),
        }

    @batch
    def picky(row):
        if np.any(row % 10 == 3):
            raise ValueError("no numbers that end with 3")
        return {"twice": 2 * row}

    @batch
    def pair(left, right):
        return {"sum": left + right, "larger": left > right}

    def alone(requests):
        return [{"mean": np.array([request["x"].mean()], dtype=np.float32)} for request in requests]

    one, four = (1,), (4,)
    pair_outputs = {"sum": (np.int32, one), "larger": (np.bool_, one)}  # numpy 2 pickles np.bool_ by a name 1 lacks
    text_outputs = {"length": (np.int64, one), "upper": (bytes, one), "letters": (np.float32, (3,))}
    serve(
        ports,
        ("vector", vector, {"x": (np.float32, four)}, {"total": (np.float32, one), "halves": (np.float64, four)}, {}),
        ("text", text, {"text": (bytes, one)}, text_outputs, {}),
        ("picky", picky, {"row": (np.int64, one)}, {"twice": (np.int64, one)}, {}),
        ("pair", pair, {"left": (np.int32, one), "right": (np.int32, one)}, pair_outputs, {}),
        ("alone", alone, {"x": (np.float32, (-1,))}, {"mean": (np.float32, one)}, {"batching": False}),
    )


def kinds(ports):
    """Models that hand back what they are given, of every type of numbers and of bytes, and ill-behaved ones."""
    from pytriton.decorators import batch

    @batch
    def numbers(large, **others):
        return others | {"large": large + 1}

    @batch
    def same(text):
        return {"same": text}

    @batch
    def total(x):
        return {"total": x.reshape(len(x), -1).sum(axis=1, keepdims=True)}

    @batch
    def three(row):
        return {"one": np.tile(row, (1, 3))}

    @batch
    def wordy(row):
        raise ValueError(f"no row of {len(row)}\nwill do:\n\n  none")

    one, some, row, answer = (1,), (-1,), {"row": (np.int64, (1,))}, {"one": (np.int64, (1,))}
    types = {"half": np.float16, "single": np.float32, "byte": np.uint8, "large": np.uint64, "tiny": np.int8}
    every = {name: (kind, one) for name, kind in types.items()} | {"flag": (np.bool_, one)}
    floats, total_of = {"x": (np.float32, some)}, {"total": (np.float32, one)}
    serve(
        ports,
        ("numbers", numbers, every, every, {}),
        ("text", same, {"text": (bytes, one)}, {"same": (bytes, one)}, {}),
        ("texts", same, {"text": (bytes, some)}, {"same": (bytes, some)}, {}),
        ("total", total, floats, total_of, {}),
        ("grid", total, {"x": (np.float32, (-1, -1, 3))}, total_of, {}),
        ("three", three, row, answer, {}),
        ("wordy", wordy, row, answer, {}),
    )


def _together():
    """Wait for the server of the other executor: what fails later is ended wordless."""
    folder = Path.cwd()
    (folder / "met").touch()
    until = time.monotonic() + 60
    while len(list(folder.parent.glob("*/met"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)


def bad_path(ports, model_path):
    """Read weights that are not there."""
    _together()
    np.load(Path(model_path) / "weights.npy")


def missing_package(ports):
    """Import what the sealed environment does not have."""
    _together()
    import no_such_package  # noqa: F401


def leaves(ports):
    """End by sys.exit."""
    _together()
    import sys

    sys.exit("no licence for this model")


def drops(ports):
    """End without a word to Python."""
    _together()
    os.write(2, b"CUDA error: device-side assert triggered\n")
    os._exit(3)


def out_of_memory(ports):
    """End as the kernel ends what takes too much memory."""
    _together()
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def raises_while_serving(ports):
    """Fail in the `with` block, when Triton is up already."""
    _together()
    from pytriton.triton import Triton, TritonConfig

    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])):
        raise ValueError("the weights have the wrong shape")


def second_fails(ports, model_path):
    """Serve the first that comes, fail for the second."""
    try:
        (Path(model_path) / "first").touch(exist_ok=False)
    except FileExistsError:
        raise MemoryError("CUDA out of memory") from None
    whoami(ports)


def taken_port(ports, model_path):
    """Ignore the ports, and use one that somebody else listens on."""
    taken = int(Path(model_path).name)
    whoami([taken, *ports[1:]])


def never_ready(ports):
    """Load for ever."""
    os.write(1, b"still loading weights\n")
    while True:
        time.sleep(1)
