"""What the tests of storage share: where models can be, and models."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from integration.storage.faulty_proxy import FaultyProxy
from server_utils.storage.stores import factory
from server_utils.storage.urls import parse


@dataclass
class Place:
    """Somewhere models can be. root: URL of a fresh folder. environ: how clients find the server, through the proxy."""

    name: str
    root: str
    proxy: FaultyProxy | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def keys(self, url: str) -> list[str]:
        """Everything that is stored below a URL."""
        return sorted(key for key, _ in factory.store(parse(url)).names())


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
