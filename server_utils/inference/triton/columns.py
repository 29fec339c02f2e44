"""`dispatch.answers` as a function of Spark columns, and as the function for `predict_batch_udf`. Both sides."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from server_utils.errors import InferenceError
from server_utils.inference import utf8
from server_utils.inference.triton.connections import Request
from server_utils.inference.triton.dispatch import answers
from server_utils.inference.triton.model import Tensor
from server_utils.inference.triton.tensors import Array
from server_utils.spark import udf


def column_function(request: Request, name: str = "tensors") -> Any:
    """The function of Spark columns for a request. name: of the column of answers, followed by the columns' names."""
    function = udf.column_function(
        udf.named(functools.partial(_arrow, request), name),
        udf.named(functools.partial(_pandas, request), name),
        request.spark_type,
        for_pandas=_for_pandas,
    )
    return lambda *columns: udf.once(function(*columns)).alias(f"{name}({', '.join(map(udf.label, columns))})")


def _for_pandas(columns: Sequence[Any], functions: Any) -> list[Any]:
    """The columns, and as many with their values' states: pandas has NaN for null, and raises for no UTF-8."""
    from server_utils.inference.pandas_compat import INVALID, NULL

    states = []
    for column in columns:
        state = functions.when(functions.isnull(column), NULL).when(utf8.is_wrong(column, functions), INVALID)
        states.append(state.otherwise(0))
    return [functions.when(state != INVALID, each) for each, state in zip(columns, states, strict=True)] + states


def _arrow(request: Request, batches: Iterator[Any]) -> Iterator[pa.Array]:
    return answers(request, (batch if isinstance(batch, tuple) else (batch,) for batch in batches))


def _pandas(request: Request, batches: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    """As `_arrow`, for columns followed by as many with the states of their values, see `pandas_compat.to_arrow`.

    A null inside an array of numbers arrives as NaN, and cannot be told from one.
    """
    from server_utils.inference import pandas_compat

    inputs = request.model.inputs
    columns = (tuple(map(pandas_compat.to_arrow, batch, batch[len(inputs) :], inputs)) for batch in batches)
    yield from map(pandas_compat.from_arrow, answers(request, columns))


def predict_function(request: Request) -> Callable[..., Any]:
    """What `predict_batch_udf` calls once per worker: a function of one array per input, shape (n, ...).

    It answers in the shape (n,) or (n, width), and raises InferenceError for a row that is refused, and for one without
    a vector.
    """

    def predict(*inputs: Array) -> Array:
        columns = [_as_column(batch, tensor) for batch, tensor in zip(inputs, request.model.inputs, strict=True)]
        return _as_array(next(answers(request, iter([columns]))))

    # Spark passes as many arrays as there are names here.
    names = [f"input_{number}" for number in range(len(request.model.inputs))]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    predict.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in names])  # type: ignore[attr-defined]
    return predict


def _as_array(answer: pa.Array) -> Array:
    """A column of answers for `predict_batch_udf`, which takes no null vectors, and none of different widths."""
    if not pa.types.is_list(answer.type):
        plain: Array = answer.to_numpy(zero_copy_only=False)
        return plain
    if answer.null_count:
        row = np.flatnonzero(answer.is_null().to_numpy(zero_copy_only=False))[0]
        raise InferenceError(
            f"row {row} of a batch of predict_batch_udf is null, and it wants a vector for every row; leave such rows "
            "out (where column is not null), or use tensors() or embed(), which give null for null"
        )
    widths = pc.unique(pc.list_value_length(answer)).to_pylist()
    if len(widths) > 1:
        raise InferenceError(
            f"the answers of a batch of predict_batch_udf are vectors of {min(widths)} to {max(widths)} elements, and "
            "it wants them of one width; use tensors(), which gives each row its own"
        )
    values: Array = answer.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(answer), *widths)


def _as_column(batch: Array, tensor: Tensor) -> pa.Array:
    """A batch of `predict_batch_udf` as a column, one row per entry of the first axis."""
    flat = np.ascontiguousarray(batch).reshape(len(batch), -1)
    values = pa.array(flat.reshape(-1), from_pandas=tensor.kind == "bytes")
    if tensor.kind == "bytes" and flat.shape[1] == 1:
        return values
    return pa.FixedSizeListArray.from_arrays(values, flat.shape[1]).cast(pa.list_(values.type))
