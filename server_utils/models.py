"""What a Triton model takes and gives, and how its types map to Arrow's and Spark's. Driver and executors; no Spark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

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
    "float16": pa.float32(), "float32": pa.float32(), "float64": pa.float64(), "bytes": pa.string(),
}  # fmt: skip
_SPARK = {
    "bool": "boolean", "int8": "tinyint", "int16": "smallint", "int32": "int", "int64": "bigint",
    "float": "float", "double": "double", "string": "string",
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One input or output of a model. shape: of one row; -1 where any size will do. dtype: object for BYTES."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

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
        return width % math.prod(size for size in self.shape if size != -1) == 0


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

    def output(self, name: str | None) -> Tensor:
        """The named output, or the only one. Raises ConfigurationError naming what there is."""
        return _one(self.outputs, name, f"output of model {self.name!r}", "output")


_Named = TypeVar("_Named", Model, Tensor)


def choose(models: Mapping[str, Any], name: str | None) -> Model:
    """The named model of those a server announced, or the only one."""
    return _one([Model.of(config) for config in models.values()], name, "model of these servers", "model")


def _one(found: Sequence[_Named], name: str | None, what: str, argument: str) -> _Named:
    by_name = {each.name: each for each in found}
    if name is None and len(by_name) == 1:
        return next(iter(by_name.values()))
    if name not in by_name:
        wrong = "is needed, as there are several" if name is None else f"{name!r} is no {what}"
        raise ConfigurationError(f"{argument}= {wrong}; there are {', '.join(map(repr, by_name)) or 'none'}")
    return by_name[name]


def _tensor(spec: Mapping[str, Any]) -> Tensor:
    return Tensor(spec["name"], np.dtype(_DTYPES[spec["data_type"]]), tuple(int(size) for size in spec["dims"]))


def arrow_type(tensor: Tensor) -> pa.DataType:
    """The type of one element."""
    return _ARROW[tensor.kind]


def spark_type(tensor: Tensor) -> str:
    """The column type of a tensor, as Spark's DDL names it."""
    element = _SPARK[str(arrow_type(tensor))]
    return element if tensor.plain else f"array<{element}>"
