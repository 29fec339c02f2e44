"""The arithmetic of memory, by hand on small models; and the known models against what is known of them."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest

from server_utils.clusters import model_memory
from server_utils.clusters.gpu_fit import Demand, check, closest
from server_utils.errors import ConfigurationError
from unit.clusters.test_model_memory import make_model

GIB = 2**30


def on(model, platform, shape, **demand):
    demand = {"context": 4096} | demand
    return next(each for each in check(model, Demand(**demand), platform=platform) if each.shape == shape)


def test_the_numbers_of_a_fit_are_those_of_the_model(tmp_path):
    """2 layers x 2 KV heads x 64 numbers x key and value x 2 bytes = 1,024 bytes a token."""
    found = on(model_memory.read(make_model(tmp_path)), "databricks-aws", "a10x1", context=1024, sequences=1024)
    assert (found.fits, found.tensor_parallel, found.dtype, found.why) == (True, 1, "bfloat16", "")
    assert found.kv_cache_gib == 1.0
    assert found.gpu_gib == round(24 * 0.9375 * 0.9, 2)
    assert found.sequences == pytest.approx((found.gpu_gib - found.head_room_gib) * 1024, rel=0.01)


def test_a_gpu_without_bfloat16_computes_in_float16_and_needs_no_more_memory(tmp_path):
    model = model_memory.read(make_model(tmp_path))
    on_t4, on_l4 = on(model, "dataproc", "t4x1"), on(model, "dataproc", "l4x1")
    assert (on_t4.dtype, on_l4.dtype) == ("float16", "bfloat16")
    assert on_t4.weights_gib == on_l4.weights_gib


def test_nvidias_example_fits_on_one_a10():
    """Qwen 2.5 7B with max_model_len 6600 on g5.4xlarge, as published with gpu_memory_utilization 0.95."""
    found = on(model_memory.read("Qwen2.5-7B"), "databricks-aws", "a10x1", context=6600, utilization=0.95)
    assert found.fits
    assert found.weights_gib == pytest.approx(7_615_616_512 * 2 / GIB, abs=0.01)
    assert found.kv_cache_gib == pytest.approx(6600 * 28 * 4 * 128 * 2 * 2 / GIB, abs=0.01)
    assert found.sequences > 8


def test_the_smallest_tensor_parallel_size_that_fits_is_taken():
    model = model_memory.read("Qwen2.5-72B")
    assert on(model, "dataproc", "l4x8").tensor_parallel == 8
    assert on(model, "dataproc", "h100x8").tensor_parallel == 4


def test_a_size_that_does_not_divide_the_heads_is_never_taken():
    """28 heads go over 1, 2 or 4 GPUs; on a node of eight the model does not fit, because four have to hold it."""
    facts = model_memory.read("Qwen2.5-7B")
    large = model_memory.Weights(**{**vars(facts), "size": 8 * 15 * GIB})
    found = on(large, "databricks-aws", "a10x8")
    assert (found.fits, found.tensor_parallel) == (False, 4)
    assert "28 heads cannot be spread over all 8" in found.why


def test_what_does_not_fit_says_by_how_much():
    model = model_memory.read("Qwen2.5-14B")
    found = on(model, "dataproc", "l4x1")
    assert not found.fits
    missing = model.size / GIB + 2.0 + found.kv_cache_gib - 24 * 0.9375 * 0.9
    assert found.short_gib == pytest.approx(missing, abs=0.02)
    assert found.why == f"the weights alone need {missing:.1f} GiB more than the GPU has"


def test_a_cache_that_is_too_large_is_told_from_weights_that_are():
    found = on(model_memory.read("Qwen2.5-7B"), "dataproc", "l4x1", context=32_768, sequences=64)
    assert found.why.startswith("weights and KV cache need")


def test_the_closest_shape_lacks_the_least():
    found = check(model_memory.read("Llama-3.1-70B"), Demand(131_072, 200))
    best = closest(found)
    assert all(best.short_gib <= each.short_gib for each in found)


def test_with_more_gpus_than_kv_heads_the_heads_are_copied_and_not_split_further():
    facts = model_memory.read("Qwen2.5-7B")
    heads_of_two = model_memory.Weights(**{**vars(facts), "heads": 32, "kv_heads": 2, "size": 100 * GIB})
    four, eight = (on(heads_of_two, "dataproc", shape) for shape in ("a100x4", "l4x8"))
    assert (four.tensor_parallel, eight.tensor_parallel) == (4, 8)
    assert four.kv_cache_gib == eight.kv_cache_gib == pytest.approx(facts.kv_bytes * 4096 / 2 / GIB, abs=0.01)


@pytest.mark.parametrize("wrong", [{"context": 0}, {"sequences": 0}, {"utilization": 0.0}, {"utilization": 1.1}])
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=str(next(iter(wrong.values())))):
        Demand(**({"context": 1} | wrong))


def test_a_context_that_the_model_was_not_made_for_is_refused():
    with pytest.raises(ConfigurationError, match=r"Qwen2.5-0.5B was made for 32768 tokens at most, not for 40000"):
        check(model_memory.read("Qwen2.5-0.5B"), Demand(40_000))


def read(name):
    return json.loads((files("server_utils") / "data" / name).read_text(encoding="utf-8"))


def test_the_known_models_fit_their_schema_and_are_sorted():
    jsonschema.Draft202012Validator(read("models.schema.json")).validate(read("models.json"))
    for name in ("models.json", "models.schema.json"):
        text = (files("server_utils") / "data" / name).read_text(encoding="utf-8")
        assert text == json.dumps(read(name), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", model_memory.known_models())
def test_the_parameters_of_a_known_model_follow_from_its_config(name):
    """A decoder with gated MLP: embedding and head, and per layer attention, MLP and two norms."""
    facts = model_memory.known_models()[name]
    config = facts["config"]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv = config["num_key_value_heads"] * hidden // heads
    attention = 2 * hidden * hidden + 2 * hidden * kv + (hidden + 2 * kv if config["attention_bias"] else 0)
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embeddings = config["vocab_size"] * hidden * (1 if config["tie_word_embeddings"] else 2)
    assert facts["parameters"] == embeddings + config["num_hidden_layers"] * layer + hidden
