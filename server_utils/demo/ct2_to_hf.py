"""A script for the sealed environment `triton`: turns a Whisper model of CTranslate2 into a Hugging Face folder.

    python ct2_to_hf.py MODEL_FOLDER FOLDER

MODEL_FOLDER holds `model.bin`, `config.json` and `tokenizer.json`, as faster-whisper has them. Imports nothing of
`server_utils`: the sealed environment does not hold it. Knows the English models in float16, and refuses any other.
"""
# mypy: disable-error-code="import-not-found"
# What it imports is in the sealed environment only.

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Weight = npt.NDArray[Any]

_TYPES = {1: "<i1", 2: "<i2", 4: "<f2"}  # by CTranslate2's numbers
_ENGLISH = 51_864  # tokens; a model of many languages has one or two more
_BANDS = 80
_NO_TIMES = 50_362
_SPECIAL = {"bos_token_id": 50_256, "decoder_start_token_id": 50_257, "eos_token_id": 50_256, "pad_token_id": 50_256}
_SPECIAL_WORDS = dict.fromkeys(("bos_token", "eos_token", "pad_token"), "<|endoftext|>")
_OUTSIDE = {
    "embeddings/weight": "embed_tokens.weight",
    "position_encodings/encodings": "embed_positions.weight",
    "layer_norm/gamma": "layer_norm.weight",
    "layer_norm/beta": "layer_norm.bias",
}
_NORMS = {"self_attention": "self_attn_layer_norm", "attention": "encoder_attn_layer_norm", "ffn": "final_layer_norm"}
_PARTS = {"gamma": "weight", "beta": "bias"}
# What each matrix of an attention holds, one below the other.
_SELF = {"linear_0": ("q_proj", "k_proj", "v_proj"), "linear_1": ("out_proj",)}
_CROSS = {"linear_0": ("q_proj",), "linear_1": ("k_proj", "v_proj"), "linear_2": ("out_proj",)}
_ATTENTIONS = {"self_attention": ("self_attn", _SELF), "attention": ("encoder_attn", _CROSS)}
_FEED_FORWARD = {"linear_0": "fc1", "linear_1": "fc2"}


def main(source: str, folder: str) -> None:
    """Convert a model into a folder that is there and empty."""
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

    given = Path(source)
    with (given / "model.bin").open("rb") as file:
        tensors = dict(variables(file))
    require_known(tensors)
    suppressed = json.loads((given / "config.json").read_text())["suppress_ids"]
    model(tensors, suppressed).half().save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=_BANDS).save_pretrained(folder)
    words = PreTrainedTokenizerFast(tokenizer_file=str(given / "tokenizer.json"), **_SPECIAL_WORDS)
    words.save_pretrained(folder)


def model(tensors: Mapping[str, Weight], suppressed: list[int]) -> Any:
    """The model of transformers; it refuses weights that are too many, too few or of other shapes."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    made = WhisperForConditionalGeneration(WhisperConfig(**config(tensors)))
    weights = {name: torch.from_numpy(each.astype("float32")) for name, each in renamed(tensors).items()}
    made.load_state_dict(weights | {"proj_out.weight": weights["model.decoder.embed_tokens.weight"]})
    made.generation_config = GenerationConfig(**generation(suppressed))
    return made


def variables(file: BinaryIO) -> Iterator[tuple[str, Weight]]:
    """The named arrays of a file of CTranslate2: a header, then name, shape, type and bytes of each."""
    _, kind, _, count = _number(file, "I"), _word(file), _number(file, "I"), _number(file, "I")
    if kind != "WhisperSpec":
        sys.exit(f"only models of the kind 'WhisperSpec' can be converted; this one is a {kind!r}")
    for _ in range(count):
        name = _word(file)
        shape = [_number(file, "I") for _ in range(_number(file, "B"))]
        form, size = _number(file, "B"), _number(file, "I")
        if form not in _TYPES:
            sys.exit(f"only weights in float16 can be converted; {name} is of CTranslate2's type {form}")
        yield name, np.frombuffer(file.read(size), _TYPES[form]).reshape(shape)


def _number(file: BinaryIO, form: str) -> int:
    """A whole number, little end first; `form` as `struct` has it."""
    (value,) = struct.unpack(f"<{form}", file.read(struct.calcsize(form)))
    return int(value)


def _word(file: BinaryIO) -> str:
    """Letters behind their count; the last one is a zero."""
    return file.read(_number(file, "H"))[:-1].decode()


def require_known(tensors: Mapping[str, Weight]) -> None:
    """Refuse a model whose words or sounds would come out wrong."""
    words, bands = len(tensors["decoder/embeddings/weight"]), tensors["encoder/conv1/weight"].shape[1]
    if (words, bands) != (_ENGLISH, _BANDS):
        sys.exit(f"only English models of {_BANDS} bands can be converted; this one has {words} tokens, {bands} bands")


def renamed(tensors: Mapping[str, Weight]) -> dict[str, Weight]:
    """All weights by the names of transformers; what are settings of CTranslate2 is left out."""
    found: dict[str, Weight] = {}
    for name, values in tensors.items():
        if values.ndim and values.dtype == np.float16:
            side, _, rest = name.partition("/")
            for new, part in _parts(rest, values):
                found[f"model.{side}.{new}"] = part
    return found


def _parts(name: str, values: Weight) -> Iterator[tuple[str, Weight]]:
    """What a tensor of one side is called there; an attention's are several in one."""
    if name in _OUTSIDE or name.startswith("conv"):
        yield _OUTSIDE.get(name, name.replace("/", ".")), values
        return
    layer = re.fullmatch(r"layer_(\d+)/(\w+)/(\w+)/(\w+)", name)
    if layer is None:
        sys.exit(f"the model holds a tensor {name!r}, which Whisper does not have")
    number, block, part, kind = layer.groups()
    before = f"layers.{number}"
    if part == "layer_norm":
        yield f"{before}.{_NORMS[block]}.{_PARTS[kind]}", values
    elif block == "ffn":
        yield f"{before}.{_FEED_FORWARD[part]}.{kind}", values
    else:
        attention, matrices = _ATTENTIONS[block]
        for new, each in zip(matrices[part], np.split(values, len(matrices[part])), strict=True):
            if (new, kind) != ("k_proj", "bias"):  # Whisper has none: CTranslate2 fills it with zeros
                yield f"{before}.{attention}.{new}.{kind}", each


def config(tensors: Mapping[str, Weight]) -> dict[str, Any]:
    """What config.json says of the sizes; tiny, base and small differ in them."""
    width, wide = tensors["encoder/conv1/weight"].shape[0], len(tensors["encoder/layer_0/ffn/linear_0/bias"])
    sizes: dict[str, Any] = {"d_model": width, "vocab_size": _ENGLISH, "num_mel_bins": _BANDS}
    for side in ("encoder", "decoder"):
        layers = {name.split("/")[1] for name in tensors if name.startswith(f"{side}/layer_")} - {"layer_norm"}
        heads = int(tensors[f"{side}/num_heads"])
        sizes |= {f"{side}_layers": len(layers), f"{side}_attention_heads": heads, f"{side}_ffn_dim": wide}
    return sizes | _SPECIAL


def generation(suppressed: list[int]) -> dict[str, Any]:
    """generation_config.json: plain text without times, and without what the training says never to write."""
    return _SPECIAL | {
        "begin_suppress_tokens": [220, 50_256],
        "forced_decoder_ids": [[1, _NO_TIMES]],
        "is_multilingual": False,
        "max_length": 448,
        "no_timestamps_token_id": _NO_TIMES,
        "return_timestamps": False,
        "suppress_tokens": suppressed,
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
