"""A script for the sealed environment `vllm`: turns the GGUF file of a Llama model into a Hugging Face folder.

    python gguf_to_hf.py MODEL.gguf FOLDER

Weights are de-quantised to bfloat16 (safetensors); tokenizer and chat template come from the same file. Imports nothing
of `server_utils`: the sealed environment does not hold it. Knows the one kind of file that the demo needs, and refuses
any other: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
# mypy: disable-error-code="import-not-found"
# What it imports is in the sealed environment only.

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Fields = Mapping[str, Any]
Weight = npt.NDArray[np.floating[Any]]

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


def main(source: str, folder: str) -> None:
    """Convert a file into a folder that is there and empty."""
    from gguf import GGUFReader
    from safetensors.torch import save_file

    reader, to = GGUFReader(source), Path(folder)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    require_known(fields)
    tensors = weights(reader.tensors, fields)
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    tokenizer(fields).save(str(to / "tokenizer.json"))
    for name, content in {
        "config": config(fields, tied="lm_head.weight" not in tensors),
        "generation_config": special_ids(fields),
        "tokenizer_config": tokenizer_config(fields),
    }.items():
        (to / f"{name}.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def require_known(fields: Fields) -> None:
    """Refuse a file whose model or tokenizer would come out wrong."""
    for name, known in {"general.architecture": "llama", "tokenizer.ggml.pre": "smollm"}.items():
        if fields.get(name) != known:
            sys.exit(f"only files with {name} {known!r} can be converted; this one has {fields.get(name)!r}")


def tensor_name(name: str) -> str:
    """What transformers calls a tensor: `blk.3.attn_q.weight` is `model.layers.3.self_attn.q_proj.weight`."""
    stem = name.removesuffix(".weight")
    in_layer = re.fullmatch(r"blk\.(\d+)\.(\w+)", stem)
    found = _IN_LAYER.get(in_layer[2]) if in_layer else _OUTSIDE.get(stem)
    if found is None:
        sys.exit(f"the file holds a tensor {name!r}, which a Llama model does not have")
    return f"model.layers.{in_layer[1]}.{found}.weight" if in_layer else f"{found}.weight"


def weights(tensors: Any, fields: Fields) -> dict[str, Any]:
    """All tensors by the names of transformers, as bfloat16."""
    import torch
    from gguf import dequantize

    found = {}
    for tensor in tensors:
        weight = dequantize(tensor.data, tensor.tensor_type)
        if heads := _HEADS.get(tensor.name.split(".")[-2]):
            weight = in_halves(weight, fields[heads])
        found[tensor_name(tensor.name)] = torch.from_numpy(np.ascontiguousarray(weight)).to(torch.bfloat16)
    return found


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


def tokenizer(fields: Fields) -> Any:
    """Byte-pair encoding as SmolLM has it: every digit by itself, then as in GPT-2."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return made


if __name__ == "__main__":
    main(*sys.argv[1:])
