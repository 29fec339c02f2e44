"""What a language model's own files say about its memory: `config.json` and the headers of its weights. Laptop.

Reads no weights: of a safetensors file only the header, which is a few hundred kilobytes.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from server_utils.errors import ConfigurationError
from server_utils.validation import did_you_mean

_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
# The types of a safetensors header (github.com/huggingface/safetensors, Format) that weights come in.
_FULL_PRECISION = "F32"


@dataclass(frozen=True)
class Weights:
    """The memory of a model.

    Attributes:
        size: bytes of all weights once loaded.
        dtype: what it computes in, and what its KV cache holds.
        heads: attention heads; a tensor-parallel size must divide them.
        kv_heads: heads of the KV cache; None for a compressed cache (MLA), which is not split.
        kv_bytes: bytes of KV cache per token of a sequence on all layers that keep every token, all heads.
        window_kv_bytes: the same of the layers that keep only the last `window` tokens.
        window: tokens that those layers keep.
        longest: the longest context it was made for; None where the config does not say.
    """

    name: str
    size: int
    dtype: str
    heads: int
    kv_heads: int | None
    kv_bytes: int
    window_kv_bytes: int
    window: int
    longest: int | None


def read(model: str) -> Weights:
    """The memory of a model: a folder with `config.json` and safetensors files, or a name of `data/models.json`.

    Raises:
        ConfigurationError: if there is neither, or a file does not say what is needed.
    """
    folder = Path(model)
    if folder.is_dir():
        return _described(model, _config(folder), _size(folder))
    if model not in known_models():
        problem = f"no model is called {model!r}{did_you_mean(model, list(known_models()))}"
        raise ConfigurationError(f"{problem}; or give a folder with config.json and the weights: {model} is none")
    facts = known_models()[model]
    return _described(model, facts["config"], facts["parameters"] * _BYTES[facts["config"]["torch_dtype"]])


@cache
def known_models() -> dict[str, Any]:
    """Models whose numbers are in the package, by name."""
    text = (files("server_utils") / "data" / "models.json").read_text(encoding="utf-8")
    models: dict[str, Any] = json.loads(text)["models"]
    return models


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{folder} holds no model: there is no config.json in it") from None
    except ValueError as err:
        raise ConfigurationError(f"{file} is not JSON ({err}); copy the model again") from err
    return config


def _size(folder: Path) -> int:
    """Bytes of the weights as vLLM holds them: it loads float32 as a half precision."""
    tensors: dict[str, tuple[str, int]] = {}
    for file in _weight_files(folder):
        tensors |= _header(file)
    halved = sum(size // 2 if dtype == _FULL_PRECISION else size for dtype, size in tensors.values())
    mostly_full = sum(size for dtype, size in tensors.values() if dtype == _FULL_PRECISION) * 2
    whole = sum(size for _, size in tensors.values())
    # A few float32 scales of a quantized model stay what they are.
    return halved if mostly_full > whole else whole


def _weight_files(folder: Path) -> list[Path]:
    """The files that the index names, or all; a download that stopped half-way is refused here."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise ConfigurationError(f"{index} names {missing[0]}, which is not there; copy the model again")
        return [folder / name for name in names]
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ConfigurationError(f"{folder} has no *.safetensors; give a model whose weights are in that format")
    return weights


def _header(file: Path) -> dict[str, tuple[str, int]]:
    """Tensor -> (type, bytes), by the header's own offsets."""
    try:
        with file.open("rb") as stream:
            length = struct.unpack("<Q", stream.read(8))[0]
            header = json.loads(stream.read(min(length, file.stat().st_size)))
        end = max((each["data_offsets"][1] for name, each in header.items() if name != "__metadata__"), default=0)
        if file.stat().st_size != 8 + length + end:
            raise ValueError(f"{file.stat().st_size} bytes instead of {8 + length + end}")  # noqa: TRY301 - one end for all damage
    except (ValueError, KeyError, struct.error) as err:
        raise ConfigurationError(f"{file} is damaged or not whole ({err}); copy the model again") from err
    return {
        name: (each["dtype"], each["data_offsets"][1] - each["data_offsets"][0])
        for name, each in header.items()
        if name != "__metadata__"
    }


def _described(name: str, config: dict[str, Any], size: int) -> Weights:
    # Models that see pictures keep the numbers of the language model apart.
    text: dict[str, Any] = {**config, **config.get("text_config", {})}
    try:
        layers, heads = int(text["num_hidden_layers"]), int(text["num_attention_heads"])
        head = int(text.get("head_dim") or text["hidden_size"] // heads)
    except KeyError as err:
        raise ConfigurationError(
            f"the config.json of {name} has no {err}: this is no language model that vLLM would hold a cache for"
        ) from err
    dtype = str(text.get("torch_dtype") or text.get("dtype") or "float32")
    if dtype not in _BYTES:
        raise ConfigurationError(f"the config.json of {name} has the dtype {dtype}; known are {', '.join(_BYTES)}")
    # Without half precision of its own vLLM chooses one.
    dtype = "float16" if dtype == "float32" else dtype
    kv_heads = int(text.get("num_key_value_heads") or heads)
    compressed = text.get("kv_lora_rank")
    per_layer = int(compressed) + int(text["qk_rope_head_dim"]) if compressed else 2 * kv_heads * head
    every, windowed = _layers(text, layers)
    return Weights(
        name=name,
        size=size,
        dtype=dtype,
        heads=heads,
        kv_heads=None if compressed else kv_heads,
        kv_bytes=every * per_layer * _BYTES[dtype],
        window_kv_bytes=windowed * per_layer * _BYTES[dtype],
        window=int(text.get("sliding_window") or 0),
        longest=text.get("max_position_embeddings"),
    )


def _layers(text: dict[str, Any], layers: int) -> tuple[int, int]:
    """How many layers keep every token, and how many only a window; others (linear attention) keep none."""
    kinds = text.get("layer_types")
    if kinds:
        return kinds.count("full_attention"), kinds.count("sliding_attention")
    # Qwen's configs name a window and switch it off.
    if text.get("sliding_window") and text.get("use_sliding_window", True):
        return 0, layers
    return layers, 0
