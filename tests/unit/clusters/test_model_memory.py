"""What a model's files say, from safetensors files written here by the format's own rule."""

from __future__ import annotations

import json
import struct

import pytest

from server_utils.clusters import model_memory
from server_utils.errors import ConfigurationError

CONFIG = {
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def write_tensors(file, **tensors):
    """name -> (type, bytes): an 8-byte length, a JSON header, the data."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def make_model(folder, *, tensors=None, **config):
    (folder / "config.json").write_text(json.dumps(CONFIG | config))
    write_tensors(folder / "model.safetensors", **(tensors or {"a": ("BF16", 1000), "b": ("BF16", 24)}))
    return str(folder)


def test_the_size_is_that_of_the_tensors_not_of_the_file(tmp_path):
    assert model_memory.read(make_model(tmp_path)).size == 1024


def test_the_files_of_an_index_are_added_up(tmp_path):
    make_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    write_tensors(tmp_path / "model-2.safetensors", c=("BF16", 500))
    write_tensors(tmp_path / "not-in-the-index.safetensors", d=("BF16", 7000))
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert model_memory.read(str(tmp_path)).size == 1524


def test_a_file_of_the_index_that_is_missing_is_named(tmp_path):
    make_model(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(ConfigurationError, match=r"names gone.safetensors, which is not there; copy the model again"):
        model_memory.read(str(tmp_path))


@pytest.mark.parametrize("cut", [4, 30, -1])
def test_a_file_that_was_not_copied_to_its_end_is_refused(tmp_path, cut):
    make_model(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(ConfigurationError, match=r"model.safetensors is damaged or not whole .*; copy the model again"):
        model_memory.read(str(tmp_path))


def test_full_precision_is_loaded_as_half(tmp_path):
    found = model_memory.read(
        make_model(tmp_path, tensors={"a": ("F32", 4000), "b": ("I64", 8)}, torch_dtype="float32")
    )
    assert (found.size, found.dtype) == (2008, "float16")


def test_the_scales_of_a_quantized_model_keep_their_precision(tmp_path):
    found = model_memory.read(make_model(tmp_path, tensors={"packed": ("I32", 4000), "scale": ("F32", 400)}))
    assert found.size == 4400


def test_the_cache_is_that_of_the_kv_heads(tmp_path):
    found = model_memory.read(make_model(tmp_path))
    assert (found.heads, found.kv_heads, found.kv_bytes, found.window_kv_bytes) == (4, 2, 2 * 2 * 2 * 64 * 2, 0)


def test_a_head_may_have_a_size_of_its_own(tmp_path):
    assert model_memory.read(make_model(tmp_path, head_dim=128)).kv_bytes == 2 * 2 * 2 * 128 * 2


def test_layers_with_a_window_keep_no_more_than_the_window(tmp_path):
    kinds = ["sliding_attention", "full_attention"]
    found = model_memory.read(make_model(tmp_path, layer_types=kinds, sliding_window=512))
    assert (found.kv_bytes, found.window_kv_bytes, found.window) == (512, 512, 512)


def test_a_window_that_is_switched_off_is_none(tmp_path):
    found = model_memory.read(make_model(tmp_path, sliding_window=512, use_sliding_window=False))
    assert (found.kv_bytes, found.window_kv_bytes) == (1024, 0)


def test_layers_without_attention_keep_nothing(tmp_path):
    assert model_memory.read(make_model(tmp_path, layer_types=["linear_attention", "full_attention"])).kv_bytes == 512


def test_a_compressed_cache_is_counted_as_such(tmp_path):
    found = model_memory.read(make_model(tmp_path, kv_lora_rank=512, qk_rope_head_dim=64))
    assert (found.kv_heads, found.kv_bytes) == (None, 2 * 576 * 2)


def test_a_model_that_sees_pictures_has_its_numbers_in_text_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16", "text_config": CONFIG}))
    write_tensors(tmp_path / "model.safetensors", a=("BF16", 10))
    assert model_memory.read(str(tmp_path)).kv_bytes == 1024


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "config.json is not JSON"),
        ("{}", "has no 'num_hidden_layers': this is no language model"),
        (json.dumps(CONFIG | {"torch_dtype": "int4"}), "has the dtype int4; known are float32, float16, bfloat16"),
    ],
)
def test_a_config_that_does_not_say_what_is_needed_is_refused(tmp_path, content, said):
    make_model(tmp_path)
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        model_memory.read(str(tmp_path))


def test_a_folder_without_a_config_is_no_model(tmp_path):
    with pytest.raises(ConfigurationError, match=r"holds no model: there is no config.json in it"):
        model_memory.read(str(tmp_path))


def test_weights_of_another_format_are_refused(tmp_path):
    make_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigurationError, match=r"has no \*.safetensors"):
        model_memory.read(str(tmp_path))


def test_an_unknown_name_lists_what_is_known_and_says_what_a_folder_needs():
    with pytest.raises(
        ConfigurationError, match=r"'qwen2.5-7b'; did you mean Qwen2.5-7B.*Llama-3.1-8B.*config.json and the weights"
    ):
        model_memory.read("qwen2.5-7b")
