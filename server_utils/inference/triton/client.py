"""Requests to a Triton server on this host: kept connections, one deadline, retries. No Spark."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from geventhttpclient.response import HTTPParseError
from tritonclient import http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from server_utils.errors import InferenceError
from server_utils.host.processes import ProcessId
from server_utils.inference import request_lock
from server_utils.inference.executor_servers import RequestDeadline
from server_utils.inference.triton.model import Model, Tensor
from server_utils.inference.triton.shared_memory import SharedMemoryPool
from server_utils.inference.triton.tensors import Array
from server_utils.servers.launch import Server

_PAUSE_S = 0.05
logger = logging.getLogger(__name__)
_FRAME = re.compile(r'^  File "(.*)", line (\d+), in (.*)$', re.MULTILINE)
_BACKEND_DIED = re.compile(r"Stub process '.*' is not healthy")  # Triton to every request from then on


class TritonClient:
    """Infers with one model. Safe to share by threads: each has a connection of its own, which is kept."""

    def __init__(self, locate: Callable[[], Server], model: Model, *, timeout_s: float) -> None:
        """Send to the server that `locate` finds or starts; `locate` is called again when that one is gone.

        timeout_s: seconds for one request, at each server that takes over after a death. Time that a server needs to
            start is not counted: it has its own bound.
        """
        self.model = model
        self._locate, self._timeout_s = locate, timeout_s
        self._server: Server | None = None
        self._thread = _ThreadState()

    def infer(self, inputs: Sequence[Array]) -> list[Array]:
        """One request. inputs: in the model's order, each of shape (rows, *shape). Returns outputs, likewise.

        Raises:
            InferenceError: the model or Triton refused it; the same request would be refused again.
            ServerUnavailableError: no server answered before the deadline.
        """
        deadline, exclusive = RequestDeadline(self._timeout_s), False
        while True:
            server = self._server = self._server or self._locate()
            deadline.begin(server)
            try:
                return self._send_once(server, inputs, exclusive=exclusive)
            except InferenceServerException as error:
                if exclusive or not self._may_be_merged(inputs):
                    raise InferenceError(reason(error.message())) from error
                exclusive = True
            except _NoAnswerError as error:
                self._server = None
                # The supervisor notices a dead server at once, and needs a moment to say so.
                deadline.pause(_PAUSE_S, f"{type(error.problem).__name__}: {error.problem}")

    def _send_once(self, server: Server, inputs: Sequence[Array], *, exclusive: bool) -> list[Array]:
        """Raises _NoAnswerError, and InferenceServerException when a server that goes on has refused the request."""
        try:
            with request_lock.of_request(server.folder, exclusive=exclusive):
                return self._send(server, inputs)
        except InferenceServerException as error:
            if self._is_gone(server, error):
                raise _NoAnswerError(error) from error
            raise
        except (OSError, HTTPParseError) as error:
            if self._thread.memory:
                self._thread.memory.retire()
            raise _NoAnswerError(error) from error

    def _may_be_merged(self, inputs: Sequence[Array]) -> bool:
        """Whether a row of another request may be to blame for a refusal.

        The rows of a larger request are sent one by one in the end, so only requests of one row need to be sure.
        """
        return self.model.max_batch_size > 0 and len(inputs[0]) == 1

    def _is_gone(self, server: Server, error: InferenceServerException) -> bool:
        """Whether an error comes from a server that was about to end: then it says nothing about the request."""
        if _BACKEND_DIED.match(error.message()):
            return True
        return not (server.process and server.process.alive()) or self._locate().process != server.process

    def _send(self, server: Server, inputs: Sequence[Array]) -> list[Array]:
        outputs = [http.InferRequestedOutput(tensor.name) for tensor in self.model.outputs]
        connection, memory = self._connected(server)
        answer = connection.infer(self.model.name, self._encoded(inputs, memory), outputs=outputs)
        return [self._checked(tensor, answer.as_numpy(tensor.name), len(inputs[0])) for tensor in self.model.outputs]

    def _checked(self, tensor: Tensor, array: Array | None, rows: int) -> Array:
        """An output as an array of so many rows. Raises InferenceError when it is something else."""
        if array is None:
            raise InferenceError(f"the model answered without output {tensor}")
        batch = array if self.model.max_batch_size else array[None]
        if len(batch) != rows:
            raise InferenceError(f"output {tensor} came back with {len(batch)} rows for {rows}")
        if not tensor.has(batch.shape[1:]):
            raise InferenceError(f"output {tensor} came back with rows of shape {batch.shape[1:]}")
        return batch

    def _encoded(self, inputs: Sequence[Array], memory: SharedMemoryPool) -> list[http.InferInput]:
        batches = inputs if self.model.max_batch_size else [rows[0] for rows in inputs]
        encoded = [
            http.InferInput(
                tensor.name, batch.shape, "BYTES" if batch.dtype == np.object_ else np_to_triton_dtype(batch.dtype)
            )
            for tensor, batch in zip(self.model.inputs, batches, strict=True)
        ]
        memory.write(encoded, batches)
        return encoded

    def _connected(self, server: Server) -> tuple[http.InferenceServerClient, SharedMemoryPool]:
        """This thread's connection to this very process of the server, and the memory that both share."""
        thread, identity = self._thread, (server.process, server.ports["http"])
        if thread.client is None or thread.memory is None or thread.identity != identity:
            thread.client = http.InferenceServerClient(
                f"127.0.0.1:{server.ports['http']}",
                connection_timeout=self._timeout_s,
                network_timeout=self._timeout_s,
            )
            thread.memory, thread.identity = SharedMemoryPool(server, thread.client), identity
        return thread.client, thread.memory


def reason(message: str) -> str:
    """Why Triton refused a request, in one line: of a traceback only the error and the line that raised it.

    The log has all of it.
    """
    logger.info("refused: %s", message)
    _, header, trace = message.rpartition("Traceback (most recent call last):")
    if header:
        frames = _FRAME.findall(trace)
        message = re.split(r"\n(?=\S)", trace.split("\n\nAt:\n")[0], maxsplit=1)[-1]
        message += f" ({Path(frames[-1][0]).name}, line {frames[-1][1]}, in {frames[-1][2]})" if frames else ""
    return " ".join(message.split())


class _NoAnswerError(Exception):
    """The server was away, or about to end: the request may be sent again, to the next one."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem


class _ThreadState(threading.local):
    """What each thread has of its own: a connection, shared memory, and the process at their other end."""

    client: http.InferenceServerClient | None = None
    memory: SharedMemoryPool | None = None
    identity: tuple[ProcessId | None, int] | None = None
