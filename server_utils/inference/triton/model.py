"""What a Triton model takes and gives, and how its types map to Arrow's and Spark's. Driver and executors; no Spark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from server_utils.errors import ConfigurationError

# Triton's data types: docs.nvidia.com, Triton user guide, model configuration, "Datatypes". BYTES is text or bytes.
_DTYPES = {
    "TYPE_BOOL": np.bool_, "TYPE_UINT8": np.uint8, "TYPE_UINT16": np.uint16, "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64, "TYPE_INT8": np.int8, "TYPE_INT16": np.int16, "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64, "TYPE_FP16": np.float16, "TYPE_FP32": np.float32, "TYPE_FP64": np.float64,
    "TYPE_STRING": np.object_,
}  # fmt: skip
# Spark has no unsigned numbers and no half floats: they take the next wider type.
_ARROW = {
    "bool": pa.bool_(), "int8": pa.int8(), "int16": pa.int16(), "int32": pa.int32(), "int64": pa.int64(),
    "uint8": pa.int16(), "uint16": pa.int32(), "uint32": pa.int64(), "uint64": pa.int64(),
    "float16": pa.float32(), "float32": pa.float32(), "float64": pa.float64(),
}  # fmt: skip
_SPARK = {
    "bool": "boolean", "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint",
    "float": "float", "double": "double", "string": "string", "binary": "binary",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model.

    Attributes:
        dtype: object for BYTES.
        shape: of one row; -1 where any size will do.
        binary: of BYTES, whether their column is binary instead of text.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    binary: bool = False

    def __str__(self) -> str:
        return f"{self.name!r} of shape {self.shape} and type {self.kind}"

    @property
    def kind(self) -> str:
        """The data type's name for people."""
        return "bytes" if self.dtype == np.object_ else self.dtype.name

    @property
    def width(self) -> int | None:
        """Elements of one row; None when the shape leaves it open."""
        return None if -1 in self.shape else math.prod(self.shape)

    @property
    def plain(self) -> bool:
        """Whether a row is one value, not an array."""
        return self.width == 1

    def fits(self, width: int) -> bool:
        """Whether a row of so many elements can have the shape."""
        if self.width is not None:
            return width == self.width
        fixed = math.prod(size for size in self.shape if size != -1)
        return width % fixed == 0 if fixed else width == 0

    def has(self, shape: Sequence[int]) -> bool:
        """Whether a row of this shape is one of this tensor's; one with axes more or less counts by its elements."""
        if len(shape) != len(self.shape):
            return self.fits(math.prod(shape))
        return all(wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True))

    def as_type(self, kind: str | None) -> Tensor:
        """With a column of text or of binary, as the user chose; None is text. Raises ConfigurationError."""
        if kind is None:
            return self
        if kind not in ("string", "binary"):
            raise ConfigurationError(f'as_type must be "string" or "binary"; it is {kind!r}')
        if self.kind != "bytes":
            raise ConfigurationError(
                f"as_type is for outputs of bytes; output {self} is a column of {spark_type(self)}"
            )
        return replace(self, binary=kind == "binary")

    def check_rows(self) -> None:
        """Refuse an input whose shape cannot be told from a flat row. Raises ConfigurationError."""
        if 0 in self.shape:
            raise ConfigurationError(f"input {self} has no elements; bind the model without it")
        if self.shape.count(-1) > 1:
            raise ConfigurationError(
                f"input {self} has {self.shape.count(-1)} free dimensions, and nothing in a flat row says how large "
                "each is; bind the model with one -1 at most, such as shape (-1,) and an input for the sizes, and "
                "reshape the row in the model"
            )


@dataclass(frozen=True)
class Model:
    """What a model takes and gives. max_batch_size: rows of one request; 0 for a model without batching."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    max_batch_size: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Model:
        """Read Triton's own configuration of a model, as /v2/models/NAME/config answers it."""
        inputs, outputs = (tuple(_tensor(spec) for spec in config[side]) for side in ("input", "output"))
        return cls(config["name"], inputs, outputs, int(config["max_batch_size"]))

    def takes_empty(self, tensor: Tensor) -> bool:
        """Whether rows of no elements can be sent: PyTriton 0.7 cannot lay down texts of none, or batches."""
        return self.max_batch_size == 0 and tensor.kind != "bytes"

    def output(self, name: str | None) -> Tensor:
        """The named output, or the only one. Raises ConfigurationError naming what there is."""
        by_name = {each.name: each for each in self.outputs}
        return by_name[_one(list(by_name), name, f"output of model {self.name!r}", "output")]


def choose(models: Mapping[str, Any], name: str | None) -> Model:
    """The named model of those in a server's readiness file, or the only one."""
    configs = {config["name"]: config for config in models.values()}
    return Model.of(configs[_one(list(configs), name, "model of these servers", "model")])


def _one(names: Sequence[str], name: str | None, what: str, argument: str) -> str:
    if name is None and len(names) == 1:
        return names[0]
    if name is None or name not in names:
        wrong = "is needed, as there are several" if name is None else f"{name!r} is no {what}"
        raise ConfigurationError(f"{argument}= {wrong}; there are {', '.join(map(repr, names)) or 'none'}")
    return name


def _tensor(spec: Mapping[str, Any]) -> Tensor:
    if spec["data_type"] not in _DTYPES:
        raise ConfigurationError(
            f"{spec['name']!r} has the type {spec['data_type']}, which numpy has not; bind the model with another, "
            "such as float32"
        )
    return Tensor(spec["name"], np.dtype(_DTYPES[spec["data_type"]]), tuple(int(size) for size in spec["dims"]))


def arrow_type(tensor: Tensor) -> pa.DataType:
    """The type of one element in a column of answers."""
    if tensor.kind == "bytes":
        return pa.binary() if tensor.binary else pa.string()
    return _ARROW[tensor.kind]


def spark_type(tensor: Tensor) -> str:
    """The column type of a tensor, as Spark's DDL names it."""
    return spark_element(tensor) if tensor.plain else f"array<{spark_element(tensor)}>"


def spark_element(tensor: Tensor) -> str:
    """The type of one element, likewise."""
    return _SPARK[str(arrow_type(tensor))]
