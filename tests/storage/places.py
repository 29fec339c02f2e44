"""What the tests of storage share: where models can be, models, and processes that serve."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from server_utils.process import wait_until
from server_utils.storage import opening
from server_utils.storage.urls import parse
from storage.faulty_proxy import FaultyProxy

_UP_S = 60


@dataclass
class Place:
    """Somewhere models can be. root: URL of a fresh folder. environ: how clients find the server, through the proxy."""

    name: str
    root: str
    proxy: FaultyProxy | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def keys(self, url: str) -> list[str]:
        """Everything that is stored below a URL."""
        return sorted(key for key, _ in opening.store(parse(url)).names())


def make_model(folder, *, big=0, files=None):
    for name, content in (files or {"config.json": b"{}", "sub/tokens é #1.txt": b"a b c", "empty": b""}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    if big:
        (folder / "model.safetensors").write_bytes(os.urandom(1 << 20) * (big >> 20))
    return folder


def contents(folder):
    """Name -> bytes of all files below."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def served(command, port, path, *, environ=None):
    """A server process that answers on a path, ended at the end."""
    folder = tempfile.mkdtemp(prefix="srv-", dir="/tmp")
    with Path(folder, "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=os.environ | {"HOME": folder} | (environ or {})
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port, path), _UP_S, pause_s=0.05)
        assert _answers(port, path), Path(folder, "log").read_text(errors="replace")[-2000:]
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def free_port():
    """A port that nobody listens on; asked for shortly before its use."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
