"""Arrow columns to tensors and back: buffers are viewed, never turned into Python lists of floats. No Spark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.inference import utf8
from server_utils.inference.triton.model import Tensor, arrow_type, spark_element

Array = np.ndarray[Any, Any]
_TEXT_BYTES = 64
_OUTSIDE = "has a number that is too large or too small"
_NONE = np.empty(0, np.int64)


class Rows:
    """A column's rows as a model's input.

    Attributes:
        null: shape (n,); rows without a value.
        widths: shape (n,); elements per row. Rows of one request must agree.
        sizes: shape (n,); bytes per row, for texts of a list a guess.
        errors: what is wrong with a row, by its number in the column.
    """

    def __init__(self, column: pa.Array, tensor: Tensor, *, empty: bool = True) -> None:
        """View a column of lists, binaries, strings or plain numbers. Raises ConfigurationError for other types.

        empty: whether a row may have no elements where the shape allows it.
        """
        self._tensor = tensor
        self.null: Array = column.is_null().to_numpy(zero_copy_only=False)
        flat, self.widths, self.errors = _flat(column, tensor)
        self._values, outside = _elements(flat, tensor)
        self.sizes = self.widths * (tensor.dtype.itemsize if tensor.dtype != np.object_ else _TEXT_BYTES)
        if tensor.dtype == np.object_ and not (pa.types.is_nested(column.type) or pa.types.is_null(column.type)):
            self.sizes = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        self._starts = np.cumsum(self.widths) - self.widths
        problem = utf8.PROBLEM if tensor.dtype == np.object_ else f"{_OUTSIDE}, the model wants {tensor}"
        for row in np.unique(np.searchsorted(np.cumsum(self.widths), outside, side="right")):
            self.errors.setdefault(int(row), problem)
        for row in np.flatnonzero(~self.null & ~self._fitting()):
            self.errors.setdefault(int(row), f"has {self.widths[row]} elements, the model wants {tensor}")
        if not empty:
            for row in np.flatnonzero(~self.null & (self.widths == 0)):
                self.errors.setdefault(int(row), f"is an empty array, which Triton refuses, the model wants {tensor}")

    def take(self, rows: Array) -> Array:
        """The given rows, which agree in width, as one array of shape (len(rows), *shape); a view where they adjoin."""
        width, starts = int(self.widths[rows[0]]), self._starts[rows]
        if starts[-1] - starts[0] == width * (len(rows) - 1):
            flat = self._values[starts[0] : starts[0] + width * len(rows)]
        else:
            flat = self._values[starts[:, None] + np.arange(width)]
        return np.ascontiguousarray(flat.reshape(len(rows), *self._tensor.shape), dtype=self._tensor.dtype)

    def _fitting(self) -> Array:
        sizes, inverse = np.unique(self.widths, return_inverse=True)
        return np.array([self._tensor.fits(int(size)) for size in sizes], dtype=bool)[inverse]


def _flat(column: pa.Array, tensor: Tensor) -> tuple[Any, Array, dict[int, str]]:
    """All elements in one Arrow or numpy array, elements per row, and rows that cannot be sent."""
    kind = column.type
    if pa.types.is_null(kind):  # what pandas makes of a batch of nothing but nulls
        return np.empty(0, tensor.dtype), np.zeros(len(column), dtype=np.int64), {}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _from_lists(column, tensor)
    if _is_binary(kind) and tensor.dtype != np.object_:
        return _from_binary(column, tensor)
    if pa.types.is_nested(kind):
        raise ConfigurationError(
            f"a column of {kind} cannot be sent as {tensor}; use an array, a number, text or binary"
        )
    return column.drop_null(), (~_nulls(column)).astype(np.int64), {}


def _nulls(column: pa.Array) -> Array:
    nulls: Array = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _from_lists(column: pa.Array, tensor: Tensor) -> tuple[pa.Array, Array, dict[int, str]]:
    flat = column.flatten()  # leaves out what null rows may hide
    widths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    errors = {}
    if flat.null_count:
        rows = np.repeat(np.arange(len(column)), widths)[_nulls(flat)]
        errors = {int(row): f"has a null inside, the model wants {tensor}" for row in np.unique(rows)}
        flat = flat.drop_null()
        widths = widths - np.bincount(rows, minlength=len(column))
    return flat, widths, errors


def _from_binary(column: pa.Array, tensor: Tensor) -> tuple[Array, Array, dict[int, str]]:
    """Little-endian elements, as numpy's `tobytes` writes them on all platforms that Spark runs on."""
    lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    size = tensor.dtype.itemsize
    whole = lengths % size == 0
    errors = {int(row): f"has {lengths[row]} bytes, the model wants {tensor}" for row in np.flatnonzero(~whole)}
    sound = column if whole.all() and not column.null_count else column.filter(pa.array(whole & ~_nulls(column)))
    return _bytes(sound).view(tensor.dtype), np.where(whole, lengths // size, 0), errors


def _bytes(column: pa.Array) -> Array:
    """The bytes of all rows, one after the other, viewed where Arrow keeps them."""
    _, offsets, values = column.buffers()
    if values is None or not len(column):
        return np.empty(0, np.uint8)
    number = np.int64 if pa.types.is_large_binary(column.type) else np.int32
    ends = np.frombuffer(offsets, number)[column.offset : column.offset + len(column) + 1]
    return np.frombuffer(values, np.uint8)[ends[0] : ends[-1]]


def _elements(flat: Any, tensor: Tensor) -> tuple[Array, Array]:
    """The elements as numpy sees them, and which of them the model's type cannot hold, by number."""
    if isinstance(flat, np.ndarray):
        return flat, _NONE
    if pa.types.is_null(flat.type):
        return np.zeros(len(flat), tensor.dtype), _NONE
    if not _of_a_kind(flat.type, tensor.dtype):
        hint = "flatten() it" if pa.types.is_nested(flat.type) else "cast it"
        raise ConfigurationError(f"a column of {flat.type} cannot be sent as {tensor}; {hint} in Spark first")
    if tensor.dtype != np.object_:
        return _fitted(flat.to_numpy(zero_copy_only=False), tensor.dtype)
    if _is_binary(flat.type):
        return flat.to_numpy(zero_copy_only=False), _NONE
    return flat.cast(utf8.binary_type(flat.type)).to_numpy(zero_copy_only=False), utf8.wrong_elements(flat)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _of_a_kind(given: pa.DataType, wanted: np.dtype[Any]) -> bool:
    """Text or bytes for bytes, and numbers for numbers: whole ones where the model takes fractions, not vice versa."""
    if wanted == np.object_:
        return bool(pa.types.is_string(given) or pa.types.is_large_string(given)) or _is_binary(given)
    if not (pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_boolean(given)):
        return False
    kind = np.dtype(given.to_pandas_dtype())
    # Spark has no unsigned ones: each is looked at.
    return (kind.kind in "iu" and wanted.kind == "u") or np.can_cast(kind, wanted, "same_kind")


def _fitted(values: Array, wanted: np.dtype[Any]) -> tuple[Array, Array]:
    """Numbers that can be turned into another type, and which of them do not fit into it, by number.

    For a type of fractions, all are rounded to the nearest; infinity and NaN stay what they are.
    """
    if np.can_cast(values.dtype, wanted):
        return values, _NONE
    if wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        return values, np.flatnonzero((values < bounds.min) | (values > bounds.max))
    if values.dtype.kind in "iu" and wanted.itemsize > 2:  # noqa: PLR2004 - all of 64 bits fit into any float but float16
        return values, _NONE
    with np.errstate(over="ignore"):
        rounded = values.astype(wanted)
    infinite = np.flatnonzero(np.isinf(rounded))
    return rounded, infinite[np.isfinite(values[infinite])]


def wrong_answers(answers: Array, tensor: Tensor) -> dict[int, str]:
    """What is wrong with rows of answers, of shape (n, *shape), that a column of `arrow_type` cannot hold."""
    flat, kind = answers.reshape(-1), arrow_type(tensor)
    if pa.types.is_string(kind):
        outside = utf8.wrong_elements(pa.array(flat, pa.binary()).view(kind))
        problem = f'was answered with bytes that are not UTF-8 in {tensor}; as_type="binary" gives them as they are'
    elif pa.types.is_binary(kind):
        return {}
    else:
        outside = _fitted(flat, np.dtype(kind.to_pandas_dtype()))[1]
        problem = f"was answered with a number in {tensor} that Spark's {spark_element(tensor)} cannot hold"
    width = max(1, math.prod(answers.shape[1:]))
    return {int(row): problem for row in np.unique(outside // width)}


def to_arrow(parts: Sequence[tuple[Array, Array]], rows: int, tensor: Tensor) -> pa.Array:
    """A model's answers as a column of so many rows; rows that no part answers are null.

    parts: (row numbers, ascending over all parts; answers of shape (len(numbers), *shape)). A row of one element
        becomes a plain value, any other shape a flat array in row-major order.

    Raises InferenceError for an unsigned number that Spark's bigint cannot hold.
    """
    widths, missing = np.zeros(rows, dtype=np.int64), np.ones(rows, dtype=bool)
    for numbers, answers in parts:
        widths[numbers], missing[numbers] = math.prod(answers.shape[1:]), False
    flat = np.concatenate([answers.reshape(-1) for _, answers in parts]) if parts else np.empty(0, tensor.dtype)
    kind = arrow_type(tensor)
    values = pa.array(flat, kind) if tensor.dtype == np.object_ else _widened(flat, tensor)
    if tensor.plain:
        return values.take(pa.array(np.maximum(np.cumsum(~missing) - 1, 0), mask=missing))
    offsets = np.concatenate([[0], np.cumsum(widths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(missing))


def _widened(flat: Array, tensor: Tensor) -> pa.Array:
    try:
        return pa.array(flat).cast(arrow_type(tensor))
    except pa.ArrowInvalid as error:  # of all types only uint64 has no wider one
        raise InferenceError(f"output {tensor} holds a number that Spark's bigint cannot: {error}") from error
