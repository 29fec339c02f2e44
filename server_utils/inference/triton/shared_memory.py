"""Tensors in memory that a Triton server of this host reads, instead of in the request: Triton's system shared memory.

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
_WORTH_BYTES = 64 << 10  # smaller tensors are sent: a request costs more than their bytes
_ALIGNMENT = 64  # of a tensor, as numpy and engines like it
_RETRY_S = 60.0  # after a refusal
_NAME = re.compile(r"sidecar\d+-(\d+)-(\d+)-[0-9a-f]+")
logger = logging.getLogger(__name__)


class SharedMemoryPool:
    """The memory that one thread shares with one process of a server.

    A region is acquired for a request, and used again for the next one. A region is retired when it is too small, or
    when a request had no answer: the server may still read it. Retired regions are never written to again. They are
    unregistered before the next region is registered.
    """

    def __init__(self, server: Server, connection: http.InferenceServerClient) -> None:
        """connection: to that very process."""
        self._server, self._connection = server, connection
        self._region: Region | None = None  # of the latest request, and of the next one
        self._retired: list[Region] = []  # the server may have them mapped
        self._refused_until = 0.0

    def write(self, inputs: Sequence[http.InferInput], batches: Sequence[Array]) -> None:
        """Give each input its tensor; texts, and small tensors, are sent in the request.

        The request must be answered, or its region retired, before the next is written.

        Raises OSError when no server answers.
        """
        sizes = [0 if batch.dtype == np.object_ else -(-batch.nbytes // _ALIGNMENT) * _ALIGNMENT for batch in batches]
        region, offset = self.acquire(sum(sizes)), 0
        for tensor, batch, size in zip(inputs, batches, sizes, strict=True):
            if region and size:
                region.write(batch, offset)
                tensor.set_shared_memory(region.name, batch.nbytes, offset)
            else:
                tensor.set_data_from_numpy(batch)
            offset += size

    def acquire(self, size: int) -> Region | None:
        """Memory of at least so many bytes that the server has mapped; None where the tensors are to be sent."""
        if size < _WORTH_BYTES:
            return None
        if self._region and self._region.size >= size:
            return self._region
        if time.monotonic() < self._refused_until:
            return None
        try:
            region = self._registered(size)
        except _RefusedError as why:
            logger.warning("tensors are sent to %r, which is slower: %s", self._server.name, why)
            self._refused_until = time.monotonic() + _RETRY_S
            return None
        self.retire()  # it is too small now
        self._region = region
        return region

    def retire(self) -> None:
        """Do not write to the current region again."""
        if self._region:
            self._retired.append(self._region)
            self._region = None

    def _registered(self, size: int) -> Region:
        """New memory that the server has mapped. Raises _RefusedError, and OSError when no server answers."""
        headers = self._headers()
        with _refused_by(InferenceServerException):
            self._unregister_unused(headers)
        leader = self._server.process.pid if self._server.process else 0
        with _refused_by(OSError):
            region = Region(size, leader)
        self._retired.append(region)  # until the answer says that it is mapped: the answer may get lost
        with _refused_by(InferenceServerException):
            region.register(self._connection, headers)
        self._retired.remove(region)
        return region

    def _unregister_unused(self, headers: dict[str, str]) -> None:
        """Unregister what nobody uses: retired regions, and those of clients that were killed."""
        retired, still_read = {region.name for region in self._retired}, set()
        for region in self._connection.get_system_shared_memory_status(headers=headers):
            if region["name"] in retired or _client_has_ended(region["name"]):
                try:
                    self._connection.unregister_system_shared_memory(region["name"], headers=headers)
                except InferenceServerException:  # a request reads it still
                    still_read.add(region["name"])
        self._retired = [region for region in self._retired if region.name in still_read]

    def _headers(self) -> dict[str, str]:
        """With the token that PyTriton 0.7 asks for before it maps memory: it is in the server's folder."""
        with _refused_by(OSError):
            token = (self._server.folder / "token").read_text()
        return {"triton-access-token": token} if token else {}


class Region:
    """Memory in /dev/shm, mapped here and, once registered, by a server.

    The file has no name once it is registered, so the memory ends with the processes that have it mapped.
    """

    def __init__(self, size: int, leader: int) -> None:
        """Memory of at least `size` bytes. leader: the server's, whose supervisor removes what killed clients left.

        Raises OSError when there is no space for it.
        """
        self.size = 1 << (size - 1).bit_length()  # requests grow: not a new one for each of them
        _check_space(self.size)
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
        """Have the server map it. Raises InferenceServerException when it refuses, OSError when there is no answer."""
        try:
            connection.register_system_shared_memory(self.name, f"/{self.name}", self.size, headers=headers)
        finally:
            self._path.unlink(missing_ok=True)

    def write(self, batch: Array, offset: int) -> None:
        """Copy a tensor of numbers there, in row-major order."""
        target = np.frombuffer(self._memory, batch.dtype, batch.size, offset)
        target.reshape(batch.shape)[...] = batch


class _RefusedError(Exception):
    """Why tensors are sent."""


@contextmanager
def _refused_by(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        raise _RefusedError(str(error)) from error


def _check_space(size: int) -> None:
    """Triton needs as much for its own processes: half of the file system is left to them."""
    disk = os.statvfs(_FOLDER)
    if (disk.f_bavail - disk.f_blocks / 2) * disk.f_frsize < size:
        raise OSError(f"{_FOLDER} would be more than half full with {size / 2**20:g} MiB more; make it larger")


def _client_has_ended(name: str) -> bool:
    client = _NAME.fullmatch(name)
    return client is not None and not ProcessId(int(client[1]), int(client[2])).alive()
