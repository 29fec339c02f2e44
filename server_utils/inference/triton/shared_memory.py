"""Tensors laid where a Triton server of this host reads them, instead of sent: Triton's system shared memory.

Executors; no Spark. Before Triton has a tensor that is sent, tritonclient copies it three times and the kernel twice,
which is most of what a small model costs (measured: CURSED_KNOWLEDGE). Here it is copied once.
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_shared_memory.html
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tritonclient import http
from tritonclient.utils import InferenceServerException

from server_utils.host.processes import ProcessId
from server_utils.inference.triton.tensors import Array
from server_utils.servers.launch import Server

_FOLDER = Path("/dev/shm")  # noqa: S108 - where shm_open looks
_WORTH_BYTES = 64 << 10  # what is smaller is sent: a request costs more than its bytes
_ALIGNMENT = 64  # of a tensor, as numpy and engines like it
_AGAIN_S = 60.0  # after a refusal
_NAME = re.compile(r"sidecar\d+-(\d+)-(\d+)-[0-9a-f]+")
logger = logging.getLogger(__name__)


class Carrier:
    """Brings the tensors of one thread's requests to one process of a server: by shared memory where that can be had.

    A request must be answered, or `abandon` be called, before the next is loaded: they use the same memory.
    """

    def __init__(self, server: Server, connection: http.InferenceServerClient) -> None:
        """connection: to that very process."""
        self._server, self._connection = server, connection
        self._region: Region | None = None
        self._left: list[Region] = []  # which the server has mapped still
        self._sends_until = 0.0

    def load(self, inputs: Sequence[http.InferInput], batches: Sequence[Array]) -> None:
        """Give each input its tensor; texts, and what is small, are sent. Raises OSError when no server answers."""
        sizes = [0 if batch.dtype == np.object_ else -(-batch.nbytes // _ALIGNMENT) * _ALIGNMENT for batch in batches]
        region, offset = self._region_of(sum(sizes)), 0
        for asked, batch, size in zip(inputs, batches, sizes, strict=True):
            if region and size:
                region.write(batch, offset)
                asked.set_shared_memory(region.name, batch.nbytes, offset)
            else:
                asked.set_data_from_numpy(batch)
            offset += size

    def abandon(self) -> None:
        """Use the memory of the last request no more: without an answer, the server may be reading it still."""
        if self._region:
            self._left.append(self._region)
            self._region = None

    def _region_of(self, size: int) -> Region | None:
        """Memory of at least so many bytes; None where the tensors are to be sent."""
        if size < _WORTH_BYTES:
            return None
        if self._region and self._region.size >= size:
            return self._region
        if time.monotonic() < self._sends_until:
            return None
        try:
            region = self._shared(size)
        except _RefusalError as why:
            logger.warning("tensors are sent to %r, which is slower: %s", self._server.name, why)
            self._sends_until = time.monotonic() + _AGAIN_S
            return None
        self.abandon()  # it is outgrown
        self._region = region
        return region

    def _shared(self, size: int) -> Region:
        """Memory that both have mapped. Raises _RefusalError, and OSError when no server answers."""
        headers = self._headers()
        with _refused_by(InferenceServerException):
            self._let_go(headers)
        leader = self._server.process.pid if self._server.process else 0
        with _refused_by(OSError):
            region = Region(size, leader)
        self._left.append(region)  # should the answer get lost
        with _refused_by(InferenceServerException):
            region.register(self._connection, headers)
        self._left.remove(region)
        return region

    def _let_go(self, headers: dict[str, str]) -> None:
        """Have the server let go of memory that nobody uses: ours, and that of clients that were killed."""
        left, held = {region.name for region in self._left}, set()
        for region in self._connection.get_system_shared_memory_status(headers=headers):
            if region["name"] in left or _is_of_the_dead(region["name"]):
                try:
                    self._connection.unregister_system_shared_memory(region["name"], headers=headers)
                except InferenceServerException:  # a request reads it still
                    held.add(region["name"])
        self._left = [region for region in self._left if region.name in held]

    def _headers(self) -> dict[str, str]:
        """What PyTriton 0.7 wants to hear before it maps memory: its server says it to whoever may read its folder."""
        with _refused_by(OSError):
            token = (Path(self._server.log).parent / "token").read_text()
        return {"triton-access-token": token} if token else {}


class Region:
    """Memory in /dev/shm: mapped here and, once registered, by a server. It ends with them, as it has no name then."""

    def __init__(self, size: int, leader: int) -> None:
        """Memory of at least `size` bytes. leader: the server's, whose supervisor removes what killed clients left.

        Raises OSError when there is no room for it.
        """
        self.size = 1 << (size - 1).bit_length()  # requests grow: not a new one for each of them
        _check_room(self.size)
        me = ProcessId.of(os.getpid())
        self.name = f"sidecar{leader}-{me.pid}-{me.started}-{secrets.token_hex(8)}"
        self._path = _FOLDER / self.name
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.size)  # later, a full disk would be a SIGBUS
            self._memory = mmap.mmap(descriptor, self.size)
        except BaseException:  # an interrupt as well: nobody else would remove the file
            self._path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def register(self, connection: http.InferenceServerClient, headers: dict[str, str]) -> None:
        """Have the server map it. Raises InferenceServerException when it does not want to, OSError without answer."""
        try:
            connection.register_system_shared_memory(self.name, f"/{self.name}", self.size, headers=headers)
        finally:
            self._path.unlink(missing_ok=True)

    def write(self, batch: Array, offset: int) -> None:
        """Lay a tensor of numbers there, in row-major order."""
        there = np.frombuffer(self._memory, batch.dtype, batch.size, offset)
        there.reshape(batch.shape)[...] = batch


class _RefusalError(Exception):
    """Why tensors are sent."""


@contextmanager
def _refused_by(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise _RefusalError(str(error)) from error


def _check_room(size: int) -> None:
    """Triton needs the same room for its own processes: half of it is left to them."""
    found = os.statvfs(_FOLDER)
    if (found.f_bavail - found.f_blocks / 2) * found.f_frsize < size:
        raise OSError(f"{_FOLDER} would be more than half full with {size / 2**20:g} MiB more; make it larger")


def _is_of_the_dead(name: str) -> bool:
    client = _NAME.fullmatch(name)
    return client is not None and not ProcessId(int(client[1]), int(client[2])).alive()
