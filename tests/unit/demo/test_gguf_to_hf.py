"""The converter of the language model: its parts by themselves, and what it made of the real file."""

from __future__ import annotations

import json
import struct
import subprocess

import numpy as np
import pytest

from server_utils.demo import assets
from server_utils.demo.gguf_to_hf import (
    Tensor,
    config,
    in_halves,
    read,
    require_known,
    safetensors,
    special_ids,
    tensor_name,
    tokenizer_config,
    weights,
)
from server_utils.environments import builder
from unit.demo.test_assets import fetched

FIELDS = {
    "general.architecture": "llama",
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.block_count": 3,
    "llama.context_length": 512,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 64,
    "llama.rope.freq_base": 10_000.0,
    "tokenizer.chat_template": "{{ messages }}",
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.padding_token_id": 0,
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": ["<pad>", "<s>", "</s>", "a"],
}


@pytest.fixture(scope="module")
def model():
    return fetched(assets.smollm2_path)


def content(model, name):
    return json.loads((model / name).read_text())


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
        ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"),
        ("blk.29.ffn_norm.weight", "model.layers.29.post_attention_layernorm.weight"),
    ],
)
def test_tensors_get_the_names_of_transformers(name, wanted):
    assert tensor_name(name) == wanted


@pytest.mark.parametrize("name", ["rope_freqs.weight", "blk.0.attn_q_norm.weight", "blk.0.attn_q.bias"])
def test_a_tensor_that_a_llama_does_not_have_is_refused_and_not_dropped(name):
    with pytest.raises(SystemExit, match=f"a tensor '{name}'"):
        tensor_name(name)


def text(words):
    return struct.pack("<Q", len(words)) + words.encode()


def test_a_file_is_read_field_by_field_and_its_tensors_begin_where_it_says():
    fields = [
        text("name") + struct.pack("<I", 8) + text("tiny"),
        text("rate") + struct.pack("<If", 6, 0.5),
        text("flag") + struct.pack("<I?", 7, True),  # noqa: FBT003 - a value of the file
        text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
    ]
    heads = [
        text("first") + struct.pack("<IQQIQ", 2, 3, 2, 0, 0),
        text("second") + struct.pack("<IQIQ", 1, 2, 0, 32),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(heads), len(fields)) + b"".join(fields + heads)
    numbers = np.arange(10, dtype="<f4").tobytes()
    found, tensors = read(head + b"\0" * (-len(head) % 32) + numbers)
    assert found == {"name": "tiny", "rate": 0.5, "flag": True, "words": ["a", "b"]}
    assert [(each.name, each.shape, each.kind) for each in tensors] == [("first", (2, 3), 0), ("second", (2,), 0)]
    assert np.array_equal(np.frombuffer(tensors[1].data, "<f4", 2), [8, 9])


def test_what_is_no_such_file_is_refused():
    with pytest.raises(SystemExit, match="no GGUF file of version 3"):
        read(b"GGUF\x02\0\0\0")


def test_weights_are_what_their_blocks_say():
    scales = np.array([0.5, 2.0], "<f2").tobytes()
    four_bits = scales + bytes([0x10 * high + 15 - high for high in range(16)])  # a scale of 0.5 from 2.0 on
    eight_bits = scales[:2] + np.arange(-16, 16, dtype="i1").tobytes()
    tensors = [
        Tensor("token_embd.weight", (2, 16), 3, memoryview(four_bits)),
        Tensor("output_norm.weight", (32,), 8, memoryview(eight_bits)),
    ]
    found = weights(tensors, FIELDS)
    numbers = np.concatenate([np.arange(15, -1, -1), np.arange(16)])
    assert np.array_equal(found["model.embed_tokens.weight"], (numbers * 0.5 + 2).reshape(2, 16))
    assert np.array_equal(found["model.norm.weight"], np.arange(-16, 16) * 0.5)


def test_a_type_of_weights_that_it_does_not_know_is_refused_by_name():
    with pytest.raises(SystemExit, match=r"'output.weight' has the type 14; known are 0, 3, 8"):
        weights([Tensor("output.weight", (32,), 14, memoryview(b""))], FIELDS)


def test_bfloat16_is_rounded_to_the_nearest_and_ties_to_even():
    # 1 + 1/256 lies in the middle between 1 and the next one, 1 + 3/256 between an odd and an even one.
    file = safetensors({"b": np.array([1 + 1 / 256, 1 + 3 / 256], "f4"), "a": np.array([[-2.0]], "f4")})
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    assert length % 8 == 0
    assert header["a"] == {"dtype": "BF16", "shape": [1, 1], "data_offsets": [0, 2]}
    assert header["b"] == {"dtype": "BF16", "shape": [2], "data_offsets": [2, 6]}
    halves = np.frombuffer(file[8 + length :], "<u2").astype("u4") << 16
    assert halves.view("f4").tolist() == [-2.0, 1.0, 1 + 4 / 256]


def test_heads_are_put_back_into_the_order_that_llama_cpp_changed():
    heads, size, d = 3, 8, 5
    original = np.random.default_rng(0).normal(size=(heads * size, d))
    # What llama.cpp's own converter does to q and k: `LlamaModel.permute`.
    changed = original.reshape(heads, 2, size // 2, d).swapaxes(1, 2).reshape(original.shape)
    assert not np.array_equal(changed, original)
    assert np.array_equal(in_halves(changed, heads), original)


@pytest.mark.parametrize(("field", "value"), [("general.architecture", "gemma3"), ("tokenizer.ggml.pre", "qwen2")])
def test_another_kind_of_file_is_refused_by_name(field, value):
    require_known(FIELDS)
    with pytest.raises(SystemExit, match=f"{field} .*; this one has '{value}'"):
        require_known(FIELDS | {field: value})


def test_the_configuration_is_what_transformers_reads():
    found = config(FIELDS, tied=True)
    assert found["model_type"] == "llama"
    assert (found["hidden_size"], found["head_dim"], found["num_hidden_layers"]) == (32, 8, 3)
    assert (found["num_attention_heads"], found["num_key_value_heads"]) == (4, 2)
    assert (found["vocab_size"], found["eos_token_id"], found["tie_word_embeddings"]) == (4, 2, True)


def test_special_tokens_are_numbers_for_the_model_and_words_for_the_tokenizer():
    assert special_ids(FIELDS) == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    found = tokenizer_config(FIELDS)
    assert (found["bos_token"], found["eos_token"], found["pad_token"]) == ("<s>", "</s>", "<pad>")
    assert found["chat_template"] == "{{ messages }}"


def test_the_real_model_has_all_its_tensors_in_bfloat16(model):
    with (model / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = {name: each for name, each in header.items() if name != "__metadata__"}
    layers = content(model, "config.json")["num_hidden_layers"]
    assert len(tensors) == 9 * layers + 2  # nine weights a layer; the embedding, which is the output's too; a norm
    assert {each["dtype"] for each in tensors.values()} == {"BF16"}
    assert tensors["model.embed_tokens.weight"]["shape"] == [49_152, 576]
    assert tensors["model.layers.29.self_attn.k_proj.weight"]["shape"] == [192, 576]


def test_the_real_tokenizer_gives_back_what_it_was_given_and_knows_the_words_of_its_template(model):
    text = "In 2024 it's <|im_start|>naïve<|im_end|>  — 東京"
    code = (
        "import sys, tokenizers; t = tokenizers.Tokenizer.from_file(sys.argv[1]); e = t.encode(sys.argv[2]);"
        "sys.stdout.write(t.decode(e.ids, skip_special_tokens=False) + '\\n' + ' '.join(e.tokens))"
    )
    command = [builder.find("vllm").python, "-I", "-c", code, model / "tokenizer.json", text]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    decoded, tokens = said.rsplit("\n", 1)
    assert decoded == text
    assert {"2", "0", "4", "<|im_start|>", "<|im_end|>"} <= set(tokens.split(" "))
    assert "<|im_start|>" in content(model, "tokenizer_config.json")["chat_template"]
