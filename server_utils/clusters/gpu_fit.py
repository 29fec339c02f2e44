"""Which shapes a language model fits on, with which tensor-parallel size; and by how much it does not. Laptop.

Arithmetic on what the model's files say; the head room is a rule of thumb for vLLM, which measures its own at start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from server_utils.clusters.catalogue import Node, nodes
from server_utils.clusters.model_memory import Weights
from server_utils.errors import ConfigurationError

_GIB = 2**30
# Of the 24 GiB on an A10G's label nvidia-smi reports 22.5, the least of the GPUs here (H100: 79.6 of 80).
_REPORTED = 0.9375
# vLLM's own default for gpu_memory_utilization is 0.9 to 0.92.
UTILIZATION = 0.9
# CUDA's context and graphs, the activations of a batch, the logits of as many sequences; with several GPUs NCCL's too.
_HEAD_ROOM_GIB = 2.0
_NCCL_GIB = 0.5


@dataclass(frozen=True)
class Demand:
    """What a server is to hold.

    Attributes:
        context: tokens of a sequence, prompt and answer together: vLLM's max_model_len.
        sequences: how many sequences of that length must fit at once.
        utilization: vLLM's gpu_memory_utilization.

    Raises:
        ConfigurationError: if a number makes no sense.
    """

    context: int
    sequences: int = 1
    utilization: float = UTILIZATION

    def __post_init__(self) -> None:
        if self.context < 1 or self.sequences < 1:
            raise ConfigurationError(
                f"context ({self.context}) and sequences ({self.sequences}) must be at least 1: they are numbers of "
                "tokens and of prompts"
            )
        if not 0 < self.utilization <= 1:
            raise ConfigurationError(f"utilization must be above 0 and at most 1; it is {self.utilization}")


@dataclass(frozen=True)
class Fit:
    """A model on a shape, per GPU and in GiB; sizes are of the tensor-parallel size that fits, else that is closest.

    Attributes:
        dtype: what it computes in there: float16 instead of bfloat16 on GPUs without bfloat16, such as a T4.
        tensor_parallel: over how many GPUs the model is spread: the smallest that fits.
        peers: how the GPUs that it is spread over reach each other, "nvlink" or "pcie"; None where it is not known,
            and on one GPU.
        sequences: how many sequences of the whole context the KV cache holds at once.
        short_gib: what is missing on each GPU; 0 where it fits.
        why: why it does not fit, in words; empty where it does.
    """

    platform: str
    shape: str
    node_type: str
    fits: bool
    tensor_parallel: int
    peers: str | None
    dtype: str
    gpu_gib: float
    weights_gib: float
    kv_cache_gib: float
    head_room_gib: float
    sequences: int
    short_gib: float
    why: str


def check(model: Weights, demand: Demand, *, platform: str | None = None) -> list[Fit]:
    """A model against every shape of one platform or of all, in the catalogue's order.

    Raises:
        ConfigurationError: if the platform does not exist, or the context is longer than the model was made for.
    """
    if model.longest and demand.context > model.longest:
        raise ConfigurationError(f"{model.name} was made for {model.longest} tokens at most, not for {demand.context}")
    return [_best(model, row, demand) for row in nodes(platform)]


def closest(fits: Iterable[Fit]) -> Fit:
    """Of shapes that a model does not fit, the one that lacks the least."""
    return min(fits, key=lambda each: each.short_gib)


def _best(model: Weights, row: Node, demand: Demand) -> Fit:
    tried = [_on(model, row, demand, size) for size in _sizes(model, row.gpus)]
    return next((each for each in tried if each.fits), None) or closest(tried)


def _sizes(model: Weights, gpus: int) -> list[int]:
    """Tensor-parallel sizes that vLLM takes: they divide the heads, and the KV heads or the other way round."""
    kv_heads = model.kv_heads or 1
    powers = [size for size in (1, 2, 4, 8, 16) if size <= gpus and model.heads % size == 0]
    return [size for size in powers if kv_heads % size == 0 or size % kv_heads == 0]


def _on(model: Weights, row: Node, demand: Demand, size: int) -> Fit:
    budget = row.gpu_memory_gib * _REPORTED * demand.utilization
    weights = model.size / size / _GIB
    room = _HEAD_ROOM_GIB + (_NCCL_GIB if size > 1 else 0)
    sequence = _sequence_bytes(model, demand.context) / _shards(model, size) / _GIB
    left = budget - weights - room
    short = max(sequence * demand.sequences - left, 0.0)
    what = "the weights alone need" if left < 0 else "weights and KV cache need"
    return Fit(
        platform=row.platform,
        shape=row.shape,
        node_type=row.node_type,
        fits=short == 0,
        tensor_parallel=size,
        peers=row.peers if size > 1 else None,
        # Both take two bytes a number, so the sizes are the same.
        dtype=model.dtype if row.bfloat16 or model.dtype != "bfloat16" else "float16",
        gpu_gib=round(budget, 2),
        weights_gib=round(weights, 2),
        kv_cache_gib=round(sequence * demand.sequences, 2),
        head_room_gib=room,
        sequences=max(int(left / sequence), 0) if sequence else demand.sequences,
        short_gib=round(short, 2),
        why=f"{what} {short:.1f} GiB more than {_where(model, row, size)}" if short else "",
    )


def _where(model: Weights, row: Node, size: int) -> str:
    if size == row.gpus:
        return "each GPU has" if size > 1 else "the GPU has"
    return f"each of {size} GPUs has; {model.heads} heads cannot be spread over all {row.gpus}"


def _sequence_bytes(model: Weights, context: int) -> int:
    return model.kv_bytes * context + model.window_kv_bytes * min(context, model.window)


def _shards(model: Weights, size: int) -> int:
    """Into how many parts the cache is split; with more GPUs than KV heads, heads are copied."""
    return min(size, model.kv_heads or 1)
