"""Tensors laid where a Triton server of this host reads them, instead of sent: Triton's system shared memory.

Executors; no Spark. Over loopback, tritonclient, the kernel and tritonserver copy every byte of a request nine times:
for rows of 784 float32 most of what a small model costs. Here it is one copy.
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_shared_memory.html
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException

from server_utils.process import ProcessId, Server
from server_utils.tensors import Array

_FOLDER = Path("/dev/shm")  # noqa: S108 - where shm_open looks
_WORTH_BYTES = 64 << 10  # what is smaller is sent: a request costs more than its bytes
_ALIGNMENT = 64  # of a tensor, as numpy and engines like it
_NAME = re.compile(r"sidecar\d+-(\d+)-(\d+)-[0-9a-f]+")
logger = logging.getLogger(__name__)


class Carrier:
    """Brings the tensors of one thread's requests to one process of a server: by shared memory where that can be had.

    A request must be answered before the next is loaded: they use the same memory.
    """

    def __init__(self, server: Server, connection: http.InferenceServerClient) -> None:
        """connection: to that very process."""
        self._server, self._connection = server, connection
        self._region: Region | None = None
        self._sends = False

    def load(self, inputs: Sequence[http.InferInput], batches: Sequence[Array]) -> None:
        """Give each input its tensor. Texts are always sent."""
        sizes = [0 if batch.dtype == np.object_ else -(-batch.nbytes // _ALIGNMENT) * _ALIGNMENT for batch in batches]
        region, offset = self._region_of(sum(sizes)), 0
        for asked, batch, size in zip(inputs, batches, sizes, strict=True):
            if region and size:
                region.write(batch, offset)
                asked.set_shared_memory(region.name, batch.nbytes, offset)
            else:
                asked.set_data_from_numpy(batch)
            offset += size

    def _region_of(self, size: int) -> Region | None:
        """Memory of at least so many bytes; None where the tensors are to be sent."""
        if self._sends or size < _WORTH_BYTES:
            return None
        if self._region is None or self._region.size < size:
            outgrown, self._region = self._region, None
            try:
                if outgrown:
                    outgrown.let_go()
                self._region = Region(size, self._server, self._connection)
            except (OSError, InferenceServerException) as error:
                # A server that is going down says no as well: a new one gets a new carrier.
                logger.warning("tensors are sent to %r, which is slower: %s", self._server.name, error)
                self._sends = True
        return self._region


class Region:
    """Memory that this process and a server have mapped. It has no name in the file system, and ends with them."""

    def __init__(self, size: int, server: Server, connection: http.InferenceServerClient) -> None:
        """Make it of at least `size` bytes, and have the server map it.

        Raises:
            OSError: there is no room for it.
            InferenceServerException: the server does not want it.
        """
        self.size = 1 << (size - 1).bit_length()  # requests grow: not a new one for each of them
        _check_room(self.size)
        self._connection, self._headers = connection, _headers(server)
        _unregister_of_the_dead(connection, self._headers)
        me = ProcessId.of(os.getpid())
        leader = server.process.pid if server.process else 0  # by it the supervisor knows what a killed client left
        self.name = f"sidecar{leader}-{me.pid}-{me.started}-{secrets.token_hex(8)}"
        self._memory = self._shared()

    def write(self, batch: Array, offset: int) -> None:
        """Lay a tensor of numbers there, in row-major order."""
        there = np.frombuffer(self._memory, batch.dtype, batch.size, offset)
        there.reshape(batch.shape)[...] = batch

    def let_go(self) -> None:
        """Have the server let go of it."""
        _unregister(self.name, self._connection, self._headers)

    def _shared(self) -> mmap.mmap:
        path = _FOLDER / self.name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size)  # later, a full disk would be a SIGBUS
            self._connection.register_system_shared_memory(self.name, f"/{self.name}", self.size, headers=self._headers)
            return mmap.mmap(descriptor, self.size)
        finally:
            path.unlink()
            os.close(descriptor)


def _check_room(size: int) -> None:
    """Triton needs the same room for its own processes: half of it is left to them."""
    found = os.statvfs(_FOLDER)
    if (found.f_bavail - found.f_blocks / 2) * found.f_frsize < size:
        raise OSError(f"{_FOLDER} would be more than half full with {size >> 20} MiB more; make it larger")


def _headers(server: Server) -> dict[str, str]:
    """What PyTriton 0.7 wants to hear before it maps memory; its server says it to whoever may read its folder."""
    token = (Path(server.log).parent / "token").read_text()
    return {"triton-access-token": token} if token else {}


def _unregister_of_the_dead(connection: http.InferenceServerClient, headers: dict[str, str]) -> None:
    """Regions of clients that were killed; a server keeps them for ever."""
    for region in connection.get_system_shared_memory_status(headers=headers):
        client = _NAME.fullmatch(region["name"])
        if client and not ProcessId(int(client[1]), int(client[2])).alive():
            _unregister(region["name"], connection, headers)


def _unregister(name: str, connection: http.InferenceServerClient, headers: dict[str, str]) -> None:
    with suppress(InferenceServerException):  # a request is reading it still: it goes when this process has gone
        connection.unregister_system_shared_memory(name, headers=headers)
