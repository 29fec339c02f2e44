"""The converter of the model of speech: its parts by themselves, and what it made of the real file."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest

from server_utils.demo import assets
from server_utils.demo.ct2_to_hf import config, renamed, require_known, variables
from unit.demo.test_assets import fetched

HALF = np.dtype("<f2")


def written(tensors, kind="WhisperSpec", form=4):
    """A file as CTranslate2 writes it."""
    content = struct.pack("<I", 6) + word(kind) + struct.pack("<II", 3, len(tensors))
    for name, values in tensors.items():
        content += word(name) + struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        content += struct.pack("<BI", form, values.nbytes) + values.tobytes()
    return io.BytesIO(content)


def word(text):
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def test_the_arrays_of_a_file_are_read_by_name_and_shape():
    given = {"encoder/conv1/weight": np.arange(6, dtype=HALF).reshape(1, 2, 3), "decoder/x": np.ones(2, HALF)}
    found = dict(variables(written(given)))
    assert found.keys() == given.keys()
    assert all(np.array_equal(found[name], given[name]) for name in given)


@pytest.mark.parametrize(
    ("kind", "form", "said"),
    [("TransformerSpec", 4, "this one is a 'TransformerSpec'"), ("WhisperSpec", 0, "x is of CTranslate2's type 0")],
)
def test_another_kind_of_file_is_refused(kind, form, said):
    with pytest.raises(SystemExit, match=said):
        dict(variables(written({"x": np.ones(2, HALF)}, kind, form)))


@pytest.mark.parametrize(("tokens", "bands"), [(51_865, 80), (51_864, 128)])
def test_a_model_of_many_languages_or_more_bands_is_refused(tokens, bands):
    shapes = {"decoder/embeddings/weight": (tokens, 1), "encoder/conv1/weight": (1, bands, 3)}
    with pytest.raises(SystemExit, match=f"this one has {tokens} tokens, {bands} bands"):
        require_known({name: np.zeros(shape, HALF) for name, shape in shapes.items()})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("encoder/conv2/bias", ["model.encoder.conv2.bias"]),
        ("decoder/embeddings/weight", ["model.decoder.embed_tokens.weight"]),
        ("encoder/layer_norm/gamma", ["model.encoder.layer_norm.weight"]),
        ("decoder/layer_3/attention/layer_norm/beta", ["model.decoder.layers.3.encoder_attn_layer_norm.bias"]),
        ("decoder/layer_0/ffn/linear_1/weight", ["model.decoder.layers.0.fc2.weight"]),
        (
            "decoder/layer_1/attention/linear_1/weight",
            [f"model.decoder.layers.1.encoder_attn.{part}_proj.weight" for part in "kv"],
        ),
        (
            "encoder/layer_2/self_attention/linear_0/bias",
            [f"model.encoder.layers.2.self_attn.{part}_proj.bias" for part in "qv"],
        ),
    ],
)
def test_tensors_get_the_names_of_transformers_and_fused_ones_are_parted(name, wanted):
    assert list(renamed({name: np.zeros(6, HALF)})) == wanted


def test_a_tensor_that_whisper_does_not_have_is_refused_and_settings_are_left_out():
    assert renamed({"decoder/num_heads": np.array(6, "<i2"), "decoder/alignment_heads": np.array([1], "<i2")}) == {}
    with pytest.raises(SystemExit, match="a tensor 'rotary/weight'"):
        renamed({"decoder/rotary/weight": np.zeros(2, HALF)})


def test_the_sizes_of_the_model_are_read_from_its_tensors():
    given = {
        "encoder/conv1/weight": np.zeros((8, 80, 3), HALF),
        "encoder/layer_0/ffn/linear_0/bias": np.zeros(32, HALF),
        "encoder/layer_norm/beta": np.zeros(8, HALF),
        "decoder/layer_0/x": np.zeros(1, HALF),
        "decoder/layer_1/x": np.zeros(1, HALF),
        "encoder/num_heads": np.array(2, "<i2"),
        "decoder/num_heads": np.array(2, "<i2"),
    }
    found = config(given)
    assert (found["d_model"], found["encoder_ffn_dim"], found["encoder_attention_heads"]) == (8, 32, 2)
    assert (found["encoder_layers"], found["decoder_layers"]) == (1, 2)


def test_the_real_model_is_whole_and_writes_no_times():
    folder = fetched(lambda: assets._present(assets._WHISPER))
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert header["model.decoder.embed_tokens.weight"]["shape"] == [51_864, 384]
    assert len([name for name in header if ".layers." in name]) == 4 * (15 + 24)
    assert json.loads((folder / "generation_config.json").read_text())["return_timestamps"] is False
    assert {"preprocessor_config.json", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
