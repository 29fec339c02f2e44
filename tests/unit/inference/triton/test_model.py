from __future__ import annotations

import numpy as np
import pytest

from server_utils.errors import ConfigurationError
from server_utils.inference.triton.model import Model, Tensor, choose, spark_type


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


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((-1, -1, 3), "2 free dimensions"),
        ((-1, 2, -1), "one -1 at most"),
        ((0,), "no elements"),
        ((-1, 0), "no elements"),
    ],
)
def test_an_input_whose_shape_a_flat_row_cannot_tell_is_refused(shape, says):
    with pytest.raises(ConfigurationError, match=says):
        Tensor("x", np.dtype(np.float32), shape).check_rows()


def test_answers_have_the_shape_of_their_output_where_it_is_fixed():
    spec = Tensor("y", np.dtype(np.float32), (-1, 3))
    assert [spec.has(shape) for shape in [(2, 3), (0, 3), (3, 2), (6,), (7,)]] == [True, True, False, True, False]


def test_a_type_that_numpy_has_not_is_refused_only_where_that_model_is_asked():
    models = {"m": config(), "brain": config("brain", kind="TYPE_BF16")}
    assert choose(models, "m").name == "m"
    with pytest.raises(ConfigurationError, match="'x' has the type TYPE_BF16, which numpy has not"):
        choose(models, "brain")


def test_bytes_are_a_column_of_text_or_as_one_says_of_binary():
    model = Model.of(config(kind="TYPE_STRING", dims=(1,), outputs=("y", "z")))
    assert spark_type(model.output("y")) == spark_type(model.output("y").as_type("string")) == "string"
    assert spark_type(model.output("y").as_type("binary")) == "binary"
    with pytest.raises(ConfigurationError, match=r"as_type is for outputs of bytes; .* is a column of array<float>"):
        Model.of(config()).output("y").as_type("binary")
