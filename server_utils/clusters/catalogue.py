"""The GPU nodes that each platform offers: lookups in `data/gpus.json`. Driver and laptop; decides nothing itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.validation import did_you_mean

# The shape of a node that the user describes, instead of choosing one of the catalogue.
OWN = "own"
_SMALL = "-small"
# What the numbers of such a node are at least, and what they count.
_GPU_COUNTS = (1, 2, 4, 8, 16)
_LEAST = {
    "gpus": (1, "the GPUs of one node"),
    "vcpus": (2, "the vCPUs of the whole node"),
    "ram_gib": (14, "the memory of the whole node in GiB"),
    "gpu_memory_gib": (8, "the memory of one GPU in GiB"),
}


@dataclass(frozen=True)
class Node:
    """One row of the catalogue, or a node of the user's own.

    Attributes:
        gpu: the GPU's model; empty for a node of the user's own.
        gpu_memory_gib: memory of one GPU; `vcpus` and `ram_gib` are the whole node's.
        quota: what one node takes of the cloud account's quota, by the cloud's own name.
        accelerator: the GPU type to attach, where the machine type has no GPUs of its own (Google Cloud).
        local_disks: number and size in GB of local disks, as in `1x600`; None where unknown.
        local_ssds: how many local SSDs Dataproc may attach, besides none; empty where the machine brings its own, None
            where it is not known.
        spot_only: whether the cloud sells it as spot, by reservation or by flex-start only.
        documented: whether the platform's documents name it.
        vgpu: whether its GPU is a slice that a hypervisor hands out.
        peers: how its GPUs reach each other, "nvlink" or "pcie"; None where it is not known, and for one GPU.
    """

    platform: str
    shape: str
    node_type: str
    gpu: str
    gpus: int
    gpu_memory_gib: int
    vcpus: int
    ram_gib: int
    source: str
    quota: str = ""
    accelerator: str | None = None
    local_disks: str | None = None
    local_ssds: tuple[int, ...] | None = None
    spot_only: bool = False
    documented: bool = True
    vgpu: bool = False
    peers: str | None = None

    @property
    def recommended(self) -> bool:
        """Whether it is the platform's node for its GPUs; the others, with a mark, have more or less beside them."""
        return "-" not in self.shape.rpartition("x")[2]

    @property
    def small(self) -> bool:
        """Whether it is a cheap node for a first try, with fewer vCPUs and less memory than its GPU wants."""
        return self.shape.endswith(_SMALL)

    @property
    def bfloat16(self) -> bool:
        """Whether its GPU computes in bfloat16. Of a node of the user's own it is not known, and assumed."""
        return bool(_gpu(self.gpu).get("bfloat16", True))

    @property
    def oldest_driver(self) -> int:
        """The first branch of NVIDIA's driver that knows its GPU; 0 where it is not known."""
        return int(_gpu(self.gpu).get("driver", 0))


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
    _check_platform(platform)
    return [each for each in _rows() if each.platform == platform]


def node(platform: str, shape: str) -> Node:
    """The recommended node for a shape such as `a10x1`.

    Raises:
        ConfigurationError: if there is no such platform, or it does not offer the shape.
    """
    offered = {each.shape: each for each in nodes(platform)}
    if shape not in offered:
        raise ConfigurationError(f"no shape on {platform} is called {shape!r}{did_you_mean(shape, list(offered))}")
    return offered[shape]


def own_node(
    platform: str,
    node_type: str,
    *,
    gpus: int,
    vcpus: int,
    ram_gib: int,
    gpu_memory_gib: int,
    accelerator: str | None = None,
) -> Node:
    """A node of the user's own choice: its numbers are checked for sense, and looked up nowhere.

    Raises:
        ConfigurationError: if there is no such platform, or a number makes no sense.
    """
    _check_platform(platform)
    if not node_type.strip():
        raise ConfigurationError("the node type is empty; give the name that the platform's API takes, as g5.xlarge")
    _check_own(gpus=gpus, vcpus=vcpus, ram_gib=ram_gib, gpu_memory_gib=gpu_memory_gib)
    if accelerator and platform != "dataproc":
        raise ConfigurationError(f"an accelerator is attached on dataproc only, not on {platform}; leave it out")
    return Node(
        platform=platform,
        shape=OWN,
        node_type=node_type,
        gpu="",
        gpus=gpus,
        gpu_memory_gib=gpu_memory_gib,
        vcpus=vcpus,
        ram_gib=ram_gib,
        source="given by the user",
        accelerator=accelerator,
    )


def _check_own(**numbers: int) -> None:
    for name, (least, what) in _LEAST.items():
        if numbers[name] < least:
            raise ConfigurationError(f"{name} is {numbers[name]}; give {what}, at least {least}")
    if numbers["gpus"] not in _GPU_COUNTS:
        raise ConfigurationError(f"gpus is {numbers['gpus']}; nodes have {', '.join(map(str, _GPU_COUNTS))} GPUs")


def _check_platform(name: str) -> None:
    if name not in platforms():
        raise ConfigurationError(f"no platform is called {name!r}{did_you_mean(name, platforms())}")


def _gpu(model: str) -> dict[str, Any]:
    facts: dict[str, Any] = _content()["gpus"].get(model, {})
    return facts


@cache
def _rows() -> tuple[Node, ...]:
    rows = _content()["nodes"]
    return tuple(Node(**row | {"local_ssds": _numbers(row.get("local_ssds"))}) for row in rows)


def _numbers(listed: list[int] | None) -> tuple[int, ...] | None:
    return None if listed is None else tuple(listed)


@cache
def _content() -> dict[str, Any]:
    # importlib.resources and not a path: the package may be imported from a zip (spark.submit.pyFiles).
    text = (files("server_utils") / "data" / "gpus.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content
