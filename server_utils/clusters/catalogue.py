"""The GPU nodes that each platform offers: lookups in `data/gpus.json`. Driver and laptop; decides nothing itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from server_utils.errors import ConfigurationError
from server_utils.validation import unknown


@dataclass(frozen=True)
class Node:
    """One row of the catalogue; `gpu_memory_gib` is that of one GPU, `vcpus` and `ram_gib` are the whole node's."""

    platform: str
    shape: str
    node_type: str
    gpu: str
    gpus: int
    gpu_memory_gib: int
    vcpus: int
    ram_gib: int
    source: str


def platforms() -> list[str]:
    """The platforms that have nodes, in the catalogue's order."""
    return list(dict.fromkeys(each.platform for each in _rows()))


def nodes(platform: str | None = None) -> list[Node]:
    """The nodes of one platform or of all, in the catalogue's order.

    Raises:
        ConfigurationError: if the catalogue has no such platform.
    """
    if platform is None:
        return list(_rows())
    if platform not in platforms():
        raise ConfigurationError(unknown("platform", platform, offered=platforms()))
    return [each for each in _rows() if each.platform == platform]


def node(platform: str, shape: str) -> Node:
    """The recommended node for a shape such as `a10x1`.

    Raises:
        ConfigurationError: if there is no such platform, or it does not offer the shape.
    """
    offered = {each.shape: each for each in nodes(platform)}
    if shape not in offered:
        raise ConfigurationError(unknown(f"shape on {platform}", shape, offered=list(offered)))
    return offered[shape]


@cache
def _rows() -> tuple[Node, ...]:
    # importlib.resources and not a path: the package may be imported from a zip (spark.submit.pyFiles).
    text = (files("server_utils") / "data" / "gpus.json").read_text(encoding="utf-8")
    return tuple(Node(**row) for row in json.loads(text)["nodes"])
