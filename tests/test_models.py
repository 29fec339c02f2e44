from __future__ import annotations

import pytest

from server_utils.errors import ConfigurationError
from server_utils.models import Model, choose, spark_type


def config(name="m", *, dims=(3,), kind="TYPE_FP32", outputs=("y",), batch=8):
    return {
        "name": name,
        "max_batch_size": batch,
        "input": [{"name": "x", "data_type": kind, "dims": list(dims)}],
        "output": [{"name": output, "data_type": kind, "dims": list(dims)} for output in outputs],
    }


def test_a_model_is_read_from_tritons_own_configuration():
    model = Model.of(config(dims=(-1, 4)))
    assert (model.name, model.max_batch_size, model.inputs[0].shape) == ("m", 8, (-1, 4))
    assert str(model.inputs[0]) == "'x' of shape (-1, 4) and type float32"


def test_the_only_model_and_the_only_output_need_no_name():
    model = choose({"m": config()}, None)
    assert model.output(None).name == "y"


@pytest.mark.parametrize("name", [None, "c"])
def test_of_several_models_one_must_be_named_and_the_error_lists_them(name):
    with pytest.raises(ConfigurationError, match="'a', 'b'"):
        choose({"a": config("a"), "b": config("b")}, name)


def test_an_unknown_output_is_refused_with_the_ones_there_are():
    with pytest.raises(ConfigurationError, match="'y', 'z'"):
        Model.of(config(outputs=("y", "z"))).output("w")


@pytest.mark.parametrize(
    ("kind", "dims", "column"),
    [
        ("TYPE_FP32", (10,), "array<float>"),
        ("TYPE_FP32", (1,), "float"),
        ("TYPE_FP16", (2,), "array<float>"),
        ("TYPE_UINT8", (2,), "array<smallint>"),
        ("TYPE_UINT32", (1,), "bigint"),
        ("TYPE_STRING", (1,), "string"),
        ("TYPE_BOOL", (-1,), "array<boolean>"),
        ("TYPE_FP64", (2, 3), "array<double>"),
    ],
)
def test_every_type_of_triton_has_a_column_type(kind, dims, column):
    assert spark_type(Model.of(config(kind=kind, dims=dims)).output(None)) == column


def test_a_shape_with_one_open_size_takes_whole_multiples_only():
    tensor = Model.of(config(dims=(-1, 4))).inputs[0]
    assert tensor.fits(8)
    assert not tensor.fits(9)
    assert tensor.width is None
