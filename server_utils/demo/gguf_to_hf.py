"""A script for any Python with NumPy: turns the GGUF file of a Llama model into a Hugging Face folder.

    python gguf_to_hf.py MODEL.gguf FOLDER

Weights are de-quantised to bfloat16 (safetensors); tokenizer and chat template come from the same file. It needs no
engine, since a cluster's driver has none, and imports nothing of `server_utils`. It knows the one kind of file that the
demo needs, and refuses any other: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Fields = Mapping[str, Any]
Weight = npt.NDArray[np.floating[Any]]

_MAGIC = b"GGUF\x03\0\0\0"  # version 3
# The numbers that the format has for types of values.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_BLOCK = 32  # weights that share a scale
_OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# Which heads the rows of a weight belong to, where llama.cpp has put them into another order.
_HEADS = {"attn_q": "llama.attention.head_count", "attn_k": "llama.attention.head_count_kv"}
_CONTROL = 3  # the type of tokens such as <|im_end|>


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file.

    Attributes:
        shape: as NumPy has it, the last dimension contiguous.
        kind: the number that the format has for its type.
        data: its bytes, and what follows them.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    data: memoryview


def main(source: str, folder: str) -> None:
    """Convert a file into a folder that is there and empty."""
    (fields, tensors), to = read(Path(source).read_bytes()), Path(folder)
    require_known(fields)
    converted = weights(tensors, fields)
    (to / "model.safetensors").write_bytes(safetensors(converted))
    for name, content in {
        "config": config(fields, tied="lm_head.weight" not in converted),
        "generation_config": special_ids(fields),
        "tokenizer": tokenizer(fields),
        "tokenizer_config": tokenizer_config(fields),
    }.items():
        (to / f"{name}.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


class _Reader:
    """Reads one value after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, len(_MAGIC)

    def number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(f"<{kind}", self.content, self.at)
        self.at += struct.calcsize(kind)
        return value

    def text(self) -> str:
        length = self.number("Q")
        self.at += length
        return self.content[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            each, count = self.number("I"), self.number("Q")
            return [self.value(each) for _ in range(count)]
        return self.number(_NUMBERS[kind])


def read(content: bytes) -> tuple[Fields, list[Tensor]]:
    """The fields and the tensors of a file."""
    if not content.startswith(_MAGIC):
        sys.exit("this is no GGUF file of version 3")
    reader = _Reader(content)
    tensors, fields = reader.number("Q"), reader.number("Q")
    values = {reader.text(): reader.value(reader.number("I")) for _ in range(fields)}
    heads = [(reader.text(), _dimensions(reader), reader.number("I"), reader.number("Q")) for _ in range(tensors)]
    alignment = values.get("general.alignment", 32)
    data = memoryview(content)[-(-reader.at // alignment) * alignment :]
    return values, [Tensor(name, shape, kind, data[start:]) for name, shape, kind, start in heads]


def _dimensions(reader: _Reader) -> tuple[int, ...]:
    """The format has the contiguous dimension first."""
    count = reader.number("I")
    return tuple(reader.number("Q") for _ in range(count))[::-1]


def require_known(fields: Fields) -> None:
    """Refuse a file whose model or tokenizer would come out wrong."""
    for name, expected in {"general.architecture": "llama", "tokenizer.ggml.pre": "smollm"}.items():
        if fields.get(name) != expected:
            sys.exit(f"only files with {name} {expected!r} can be converted; this one has {fields.get(name)!r}")


def tensor_name(name: str) -> str:
    """What transformers calls a tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`."""
    stem = name.removesuffix(".weight")
    in_layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    module = _IN_LAYER.get(in_layer[2]) if in_layer else _OUTSIDE.get(stem)
    if module is None:
        sys.exit(f"the file holds a tensor {name!r}, which a Llama model does not have")
    return f"model.layers.{in_layer[1]}.{module}.weight" if in_layer else f"{module}.weight"


def weights(tensors: list[Tensor], fields: Fields) -> dict[str, Weight]:
    """All tensors by the names of transformers."""
    named = {}
    for tensor in tensors:
        if tensor.kind not in _DEQUANTIZE:
            sys.exit(
                f"the tensor {tensor.name!r} has the type {tensor.kind}; known are {', '.join(map(str, _DEQUANTIZE))}"
            )
        weight = _DEQUANTIZE[tensor.kind](tensor.data, prod(tensor.shape)).reshape(tensor.shape)
        if heads := _HEADS.get(tensor.name.split(".")[-2]):
            weight = in_halves(weight, fields[heads])
        named[tensor_name(tensor.name)] = weight
    return named


def _f32(data: memoryview, count: int) -> Weight:
    return np.frombuffer(data, "<f4", count)


def _q4_1(data: memoryview, count: int) -> Weight:
    """Blocks of a scale, a least value, and 32 numbers of four bits: the first half of them in the lower bits."""
    blocks = np.frombuffer(data, [("scale", "<f2"), ("least", "<f2"), ("bits", "u1", _BLOCK // 2)], count // _BLOCK)
    numbers = np.concatenate([blocks["bits"] & 15, blocks["bits"] >> 4], axis=1)
    weight: Weight = numbers * blocks["scale"].astype("f4")[:, None] + blocks["least"].astype("f4")[:, None]
    return weight


def _q8_0(data: memoryview, count: int) -> Weight:
    """Blocks of a scale and 32 numbers of eight bits."""
    blocks = np.frombuffer(data, [("scale", "<f2"), ("numbers", "i1", _BLOCK)], count // _BLOCK)
    weight: Weight = blocks["numbers"] * blocks["scale"].astype("f4")[:, None]
    return weight


_DEQUANTIZE: dict[int, Callable[[memoryview, int], Weight]] = {0: _f32, 3: _q4_1, 8: _q8_0}


def safetensors(tensors: Mapping[str, Weight]) -> bytes:
    """A file of tensors in bfloat16: https://huggingface.co/docs/safetensors."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, weight in sorted(tensors.items()):
        start, end = end, end + 2 * weight.size
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *_in_bfloat16(tensors)])


def _in_bfloat16(tensors: Mapping[str, Weight]) -> Iterator[bytes]:
    """The upper halves of float32, rounded to the nearest, ties to even."""
    for _, weight in sorted(tensors.items()):
        bits = np.ascontiguousarray(weight, "<f4").view("<u4")
        yield ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def in_halves(weight: Weight, heads: int) -> Weight:
    """The rows of each head in the order of transformers.

    Rotary embedding turns pairs of numbers: llama.cpp lays both of a pair side by side, transformers all the first
    ones before all the second ones. weight: shape (heads * size, d).
    """
    pairs = weight.reshape(heads, -1, 2, *weight.shape[1:])
    return pairs.swapaxes(1, 2).reshape(weight.shape)


def config(fields: Fields, *, tied: bool) -> dict[str, Any]:
    """config.json. tied: whether the input embedding is the output's, too."""
    llama = {name.removeprefix("llama."): value for name, value in fields.items() if name.startswith("llama.")}
    heads, size = llama["attention.head_count"], llama["embedding_length"]
    return special_ids(fields) | {
        "architectures": ["LlamaForCausalLM"],
        "head_dim": size // heads,
        "hidden_act": "silu",
        "hidden_size": size,
        "intermediate_size": llama["feed_forward_length"],
        "max_position_embeddings": llama["context_length"],
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": llama["block_count"],
        "num_key_value_heads": llama["attention.head_count_kv"],
        "rms_norm_eps": llama["attention.layer_norm_rms_epsilon"],
        "rope_theta": llama["rope.freq_base"],
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def special_ids(fields: Fields) -> dict[str, int]:
    """The numbers of the tokens that begin, end and fill a text."""
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{short}_token_id": fields[f"tokenizer.ggml.{name}_token_id"] for short, name in names.items()}


def tokenizer_config(fields: Fields) -> dict[str, Any]:
    """tokenizer_config.json, the chat template included."""
    tokens = fields["tokenizer.ggml.tokens"]
    return {name.removesuffix("_id"): tokens[number] for name, number in special_ids(fields).items()} | {
        "chat_template": fields["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def tokenizer(fields: Fields) -> dict[str, Any]:
    """tokenizer.json: byte-pair encoding as SmolLM has it, every digit by itself, then as in GPT-2."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    same = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    control = [number for number, kind in enumerate(types) if kind == _CONTROL]
    return dict.fromkeys(("truncation", "padding", "normalizer", "post_processor")) | {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": tokens[number], **same} for number in control],
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, byte_level | {"add_prefix_space": False}]},
        "decoder": byte_level | {"add_prefix_space": True},
        "model": dict.fromkeys(("continuing_subword_prefix", "dropout", "end_of_word_suffix", "unk_token"))
        | {
            "type": "BPE",
            "byte_fallback": False,
            "fuse_unk": False,
            "ignore_merges": False,
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
            "vocab": {token: number for number, token in enumerate(tokens)},
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
