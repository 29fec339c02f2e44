"""Arrow columns to tensors and back: buffers are viewed, never turned into Python lists of floats. No Spark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.models import Tensor, arrow_type

Array = np.ndarray[Any, Any]
_TEXT_BYTES = 64


class Rows:
    """A column's rows as a model's input.

    Attributes:
        null: shape (n,); rows without a value.
        widths: shape (n,); elements per row. Rows of one request must agree.
        sizes: shape (n,); bytes per row, for texts of a list a guess.
        errors: what is wrong with a row, by its number in the column.
    """

    def __init__(self, column: pa.Array, tensor: Tensor) -> None:
        """View a column of lists, binaries, strings or plain numbers. Raises ConfigurationError for other types."""
        self._tensor = tensor
        self.null: Array = column.is_null().to_numpy(zero_copy_only=False)
        self._values, self.widths, self.errors = _flat(column, tensor)
        self.sizes = self.widths * (tensor.dtype.itemsize if tensor.dtype != np.object_ else _TEXT_BYTES)
        if tensor.dtype == np.object_ and not pa.types.is_nested(column.type):
            self.sizes = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
        self._starts = np.cumsum(self.widths) - self.widths
        for row in np.flatnonzero(~self.null & ~self._fitting()):
            self.errors.setdefault(int(row), f"has {self.widths[row]} elements, the model wants {tensor}")
        for row in self._outside():
            self.errors.setdefault(int(row), f"has a number that is too large or too small, the model wants {tensor}")

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

    def _outside(self) -> Array:
        """Rows with a whole number that the input's type of whole numbers cannot hold."""
        given, wanted = self._values.dtype, self._tensor.dtype
        if given.kind not in "iu" or wanted.kind not in "iu" or np.can_cast(given, wanted):
            return np.empty(0, np.int64)
        bounds = np.iinfo(wanted)
        found = np.flatnonzero((self._values < bounds.min) | (self._values > bounds.max))
        return np.unique(np.searchsorted(np.cumsum(self.widths), found, side="right"))


def _flat(column: pa.Array, tensor: Tensor) -> tuple[Array, Array, dict[int, str]]:
    """All elements in one array, elements per row, and rows that cannot be sent."""
    kind = column.type
    if pa.types.is_null(kind):  # what pandas makes of a batch of nothing but nulls
        return np.empty(0, tensor.dtype), np.zeros(len(column), dtype=np.int64), {}
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _from_lists(column, tensor)
    if binary and tensor.dtype != np.object_:
        return _from_binary(column, tensor)
    if text or binary or pa.types.is_primitive(kind):
        return _elements(column.drop_null(), tensor), (~_nulls(column)).astype(np.int64), {}
    raise ConfigurationError(f"a column of {kind} cannot be sent as {tensor}; use an array, a number, text or binary")


def _nulls(column: pa.Array) -> Array:
    found: Array = column.is_null().to_numpy(zero_copy_only=False)
    return found


def _from_lists(column: pa.Array, tensor: Tensor) -> tuple[Array, Array, dict[int, str]]:
    flat = column.flatten()  # leaves out what null rows may hide
    widths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    errors = {}
    if flat.null_count:
        rows = np.repeat(np.arange(len(column)), widths)[_nulls(flat)]
        errors = {int(row): f"has a null inside, the model wants {tensor}" for row in np.unique(rows)}
        flat = pc.fill_null(flat, "" if tensor.dtype == np.object_ else 0)
    return _elements(flat, tensor), widths, errors


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


def _elements(flat: pa.Array, tensor: Tensor) -> Array:
    """The elements as numpy sees them; numbers only of the input's kind, or whole ones where it takes fractions."""
    values: Array = flat.to_numpy(zero_copy_only=False)
    if not _of_a_kind(values.dtype, tensor.dtype):
        hint = "flatten() it" if pa.types.is_nested(flat.type) else "cast it"
        raise ConfigurationError(f"a column of {flat.type} cannot be sent as {tensor}; {hint} in Spark first")
    return values


def _of_a_kind(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Texts for texts, and numbers for numbers. Spark has no unsigned ones: each is looked at, see `Rows`."""
    if np.object_ in (given, wanted):
        return given == wanted
    return (given.kind in "iu" and wanted.kind == "u") or np.can_cast(given, wanted, "same_kind")


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
