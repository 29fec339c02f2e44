"""Convert columns between Arrow and the pandas of Spark before 4.1, without loss. Executors; no Spark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from server_utils.errors import ConfigurationError
from server_utils.inference import utf8
from server_utils.inference.triton.model import Tensor
from server_utils.inference.triton.tensors import Array

_EXACT = 2**53  # from here on floats of 64 bits skip whole numbers


NULL, INVALID = 1, 2  # states of a value


def to_arrow(values: pd.Series, states: pd.Series, tensor: Tensor) -> pa.Array:
    """A column as it was in Spark.

    states: of each value. NULL: pandas itself does not tell null from NaN. INVALID: a text that is not UTF-8, which
        pandas cannot hold, so it got null. Anything else: the value is right.
    """
    plain, state = values.to_numpy(), states.to_numpy()
    mask, invalid = state == NULL, state == INVALID
    if plain.ndim > 1:
        raise ConfigurationError(
            f"a column of structs cannot be sent as {tensor}; use an array, a number, text or binary"
        )
    if invalid.any():
        return _with_invalid(pa.array(plain, mask=mask | invalid), invalid)
    if mask.any() and plain.dtype.kind == "f" and tensor.dtype.kind in "iu":
        plain = _whole(np.where(mask, 0, plain))
    return pa.array(plain, mask=mask)


def _with_invalid(values: pa.Array, invalid: Array) -> pa.Array:
    """Texts, or arrays of texts, with `utf8.INVALID` where Spark had a text that is not UTF-8."""
    kind = values.type
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        lists = pa.array(_bytes(values.to_pylist(), invalid, [utf8.INVALID]), pa.list_(pa.binary()))
        return pa.ListArray.from_arrays(lists.offsets, lists.flatten().view(pa.string()), mask=lists.is_null())
    if pa.types.is_string(kind) or pa.types.is_null(kind):
        return pa.array(_bytes(values.to_pylist(), invalid, utf8.INVALID), pa.binary()).view(pa.string())
    return values  # refused for its type


def _bytes(values: list[Any], invalid: Array, instead: Any) -> list[Any]:
    return [instead if wrong else _encoded(each) for each, wrong in zip(values, invalid, strict=True)]


def _encoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_encoded(each) for each in value]
    return None if value is None else value.encode()


def _whole(values: Array) -> Array:
    """Whole numbers again, as in Spark. pandas made them floats, as its whole numbers have no null."""
    if not np.array_equal(values, np.trunc(values)):
        return values  # they were no whole numbers: refused like any other such column
    if np.abs(values).max() >= _EXACT:
        raise ConfigurationError(
            "a column of whole numbers with nulls passes through floating point before Spark 4.1, and some of these "
            "are 2**53 or more and have lost digits; fill the nulls in Spark first"
        )
    return values.astype(np.int64)


def from_arrow(column: pa.Array) -> pd.Series | pd.DataFrame:
    """The column as pandas, a data frame for a struct; Spark turns it into the same Arrow column again."""
    if not pa.types.is_struct(column.type):
        return _Series(pd.arrays.ArrowExtensionArray(column))
    fields = zip(column.type, column.flatten(), strict=True)
    return _Frame({field.name: pd.arrays.ArrowExtensionArray(part) for field, part in fields})


class _Series(pd.Series):  # type: ignore[misc] # pandas has no types here
    """A series of Arrow. Spark 3.5 and 4.0 call `apply` to make lists of arrays: slowly, and with null for NaN."""

    def apply(self, *_args: Any, **_options: Any) -> _Series:
        """Change nothing: Spark then reads the Arrow array inside."""
        return self


class _Frame(pd.DataFrame):  # type: ignore[misc]
    @property
    def _constructor_sliced(self) -> type[_Series]:
        """The class of the columns that Spark takes out of it."""
        return _Series
