"""The client against a real Triton of its own, without Spark."""

from __future__ import annotations

import functools
import os
import signal
import socket
import uuid
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from server_utils.backends.triton.function_call import Call
from server_utils.backends.triton.manager import TritonServerManager, files_for
from server_utils.errors import InferenceError, ServerStartError, ServerUnavailableError
from server_utils.host.processes import ProcessId, wait_until
from server_utils.inference.triton.client import TritonClient, reason
from server_utils.inference.triton.model import choose
from server_utils.servers import lifecycle
from server_utils.servers.launch import State

START_S = 120


def arithmetic_server(ports):
    """Models: `double` numbers (13 is refused), `shout` texts, `sum` of a whole request without batching."""
    import time

    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def double(x):
        if (x == 13).any():
            raise ValueError("13 is not liked")
        if (x == 99).any():
            time.sleep(30)
        return {"y": x * 2}

    @batch
    def shout(text):
        return {"loud": np.char.encode(np.char.upper(np.char.decode(text.astype(bytes), "utf-8")), "utf-8")}

    def total(requests):
        return [{"total": request.data["x"].sum(keepdims=True)} for request in requests]

    def floats(name, shape):
        return Tensor(name=name, dtype=np.float32, shape=shape)

    def text(name):
        return Tensor(name=name, dtype=bytes, shape=(1,))

    batches, single = ModelConfig(max_batch_size=64), ModelConfig(batching=False)
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind("double", double, inputs=[floats("x", (2,))], outputs=[floats("y", (2,))], config=batches)
        triton.bind("shout", shout, inputs=[text("text")], outputs=[text("loud")], config=batches)
        triton.bind("sum", total, inputs=[floats("x", (-1,))], outputs=[floats("total", (1,))], config=single)
        triton.serve()


def triton_launch(function, **fields):
    """A launch of a user's function, as the manager makes it, for a machine without Spark."""
    return TritonServerManager("test")._launch(
        application="test",
        name="test",
        id=uuid.uuid4().hex,
        environment="triton",
        files=files_for(functools.partial(function, **fields), Call((), ("ports",)), environment="triton"),
        start_timeout_s=START_S,
    )


class Running:
    """A real server and clients of it."""

    def __init__(self, launch):
        self.launch, self.owner = launch, ProcessId.of(os.getpid())

    def locate(self):
        return lifecycle.ensure(self.launch, self.owner, timeout_s=START_S)

    def client(self, model, timeout_s=60.0):
        return TritonClient(self.locate, choose(self.locate().models, model), timeout_s=timeout_s)


@contextmanager
def served(function, **fields):
    """A real server of a user's function, stopped in the end."""
    server = Running(triton_launch(function, **fields))
    server.locate()
    try:
        yield server
    finally:
        lifecycle.stop(lifecycle.ensure_supervisor(server.launch, server.owner, timeout_s=10))


@pytest.fixture
def running():
    with served(arithmetic_server) as server:
        yield server


def silent_once(ports, marker):
    """The first Triton falls silent over its first model: it is stopped just before it is asked to load it."""
    import os
    from pathlib import Path

    import engine_watch
    from pytriton.client import client
    from pytriton.models import manager

    load = manager.ModelClient.load_model

    def load_in_silence(self, *args, **fields):
        (server,) = [pid for pid, name in engine_watch.below(os.getpid()) if name == "tritonserver"]
        os.kill(server, 19)  # SIGSTOP
        load(self, *args, **fields)

    if not Path(marker).exists():
        Path(marker).touch()
        client.DEFAULT_INFERENCE_TIMEOUT_S = 3  # pytriton's patience with any answer, which is a minute
        manager.ModelClient.load_model = load_in_silence
    arithmetic_server(ports)


def test_a_triton_that_falls_silent_while_it_loads_a_model_is_replaced_by_another(tmp_path):
    with served(silent_once, marker=str(tmp_path / "marker")) as server:
        assert server.client("double").infer([np.ones((1, 2), np.float32)])[0].tolist() == [[2, 2]]
        log = Path(server.locate().log).read_text()
        assert log.count("Triton did not answer while it loaded a model") == 1


def test_a_real_triton_answers_refuses_moves_and_times_out(running):
    """One start for all of it: a real Triton takes seconds."""
    numbers_texts_and_sums_are_answered(running)
    what_the_model_refuses_is_refused_with_its_reason(running)
    a_connection_is_kept_per_thread(running)
    a_restarted_server_is_found_again_in_the_middle_of_requests(running)
    a_request_ends_at_its_deadline(running)


def numbers_texts_and_sums_are_answered(running):
    pairs = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert running.client("double").infer([pairs])[0].tolist() == (pairs * 2).tolist()
    texts = np.array([["straße"], [""], ["x" * 1_000_000]], dtype=object)
    loud = [row[0].decode() for row in running.client("shout").infer([texts])[0]]
    assert loud == ["STRASSE", "", "X" * 1_000_000]
    assert running.client("sum").infer([pairs.reshape(1, -1)])[0].tolist() == [[15]]


def what_the_model_refuses_is_refused_with_its_reason(running):
    client = running.client("double")
    with pytest.raises(InferenceError, match="13 is not liked"):
        client.infer([np.full((1, 2), 13, np.float32)])
    with pytest.raises(InferenceError, match=r"(?i)shape|batch"):
        client.infer([np.zeros((65, 2), np.float32)])
    assert client.infer([np.zeros((64, 2), np.float32)])[0].shape == (64, 2)


def a_connection_is_kept_per_thread(running):
    client = running.client("double")

    def ask(number):
        client.infer([np.full((1, 2), number, np.float32)])
        return id(client._thread.client)

    with futures.ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(ask, range(12)))) <= 2


def a_restarted_server_is_found_again_in_the_middle_of_requests(running):
    client, before = running.client("double"), running.locate()
    with futures.ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(client.infer, [np.full((1, 2), n, np.float32)]) for n in range(100, 500)]
        before.process.signal(signal.SIGKILL)
        found = [answer.result()[0][0, 0] for answer in asked]
    assert found == [2 * n for n in range(100, 500)]
    after = running.locate()
    assert (after.restarts, after.state, after.ports) == (before.restarts + 1, State.READY, before.ports)
    assert wait_until(lambda: not before.process.alive(), 5)


def a_request_ends_at_its_deadline(running):
    with pytest.raises(ServerUnavailableError, match=r"within 0\.5 s"):
        running.client("double", timeout_s=0.5).infer([np.full((1, 2), 99, np.float32)])


def names_no_port(ports):
    """A Triton without any config."""
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import Tensor
    from pytriton.triton import Triton

    number = [Tensor(name="x", dtype=np.float32, shape=(1,))]
    with Triton() as triton:
        triton.bind("same", batch(lambda x: {"x": x}), number, number)
        triton.serve()


def serves_elsewhere(ports, port):
    """As a function that was written for one server on a machine of its own."""
    from pytriton.triton import Triton, TritonConfig

    with Triton(config=TritonConfig(http_port=port)) as triton:
        triton.serve()


def test_a_function_that_names_no_ports_gets_those_of_its_server():
    with served(names_no_port) as server:
        assert server.client("same").infer([np.ones((1, 1), np.float32)])[0].tolist() == [[1]]


def test_a_function_that_serves_at_a_port_of_its_own_is_told_so_at_once():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        pytest.raises(ServerStartError, match=rf"HTTP is at port {port}, and must be at ports\[0\]"),
        served(serves_elsewhere, port=port),
    ):
        pass


TRACEBACK = """Failed to process the request(s) for model 'm_0_0', message: TritonModelException: Model execute error: \
Traceback (most recent call last):
  File "/tmp/folder/1/model.py", line 492, in execute
    raise triton_responses_or_error
c_python_backend_utils.TritonModelException: Traceback (most recent call last):
  File "/envs/triton/proxy/inference.py", line 393, in _handle_requests
    async for responses in self._model_callable(requests):
  File "/home/me/reviews.py", line 30, in infer
    raise ValueError(words)
    ^^^^^^^^^^^^^^^^^^^^^^^
ValueError: first
second

  third


At:
  /tmp/folder/1/model.py(501): execute
"""


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (TRACEBACK, "ValueError: first second third (reviews.py, line 30, in infer)"),
        ("[request id: x] unexpected shape for input 'x'", "[request id: x] unexpected shape for input 'x'"),
        ("two\n  lines", "two lines"),
        ('Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError', "KeyError (a.py, line 1, in f)"),
        ("", ""),
    ],
)
def test_what_triton_says_of_a_request_is_told_in_one_line(message, says):
    assert reason(message) == says
