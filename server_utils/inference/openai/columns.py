"""`dispatch.answers` as Spark columns of text, typed structs or vectors. Both sides."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import pyarrow as pa

from server_utils.inference import utf8
from server_utils.inference.openai import answer_types
from server_utils.inference.openai.connections import connections
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import Answer, CompletionRequest, Endpoint
from server_utils.spark import udf

_PIECE_ROWS = 128  # about as many as a task has in flight to begin with


@dataclass(frozen=True)
class _Field:
    """A field beside the value: its name, its types in Spark and in Arrow, and where an `Answer` has it."""

    name: str
    spark_type: str
    arrow_type: pa.DataType
    attribute: str

    def read(self, answer: Answer) -> Any:
        return attrgetter(self.attribute)(answer)


_ERROR = _Field("error", "string", pa.string(), "error")
_DETAILS = (
    _Field("finish_reason", "string", pa.string(), "finish_reason"),
    _Field("prompt_tokens", "integer", pa.int32(), "tokens_in"),
    _Field("completion_tokens", "integer", pa.int32(), "tokens_out"),
)


def text_column(request: CompletionRequest, column: Any) -> Any:
    """The answers to a column of texts (for a chat: of conversations), as `request.on_error` and `details` say."""
    functions: Any = importlib.import_module("pyspark.sql.functions")  # its stubs differ from version to version
    name = f"{_name(request)}({udf.label(column)})"
    # Bytes, as pandas cannot hold a text that is not UTF-8: texts are checked where they are sent.
    chat = request.endpoint is Endpoint.CHAT
    answered = _function(request)(utf8.json_bytes(column, functions) if chat else column.cast("string").cast("binary"))
    if request.schema is None:
        return udf.once(answered).alias(name)
    # Spark reads the JSON: it makes any type, on every version; pandas functions before 4.1 do not.
    typed = answer_types.column(_typed(request), answered)
    return udf.once(typed if _fields(request) else typed["value"]).alias(name)


def _fields(request: CompletionRequest) -> list[_Field]:
    """The fields beside the value. Without any the column holds plain values, not structs."""
    return [*([_ERROR] if request.on_error == "struct" else ()), *(_DETAILS if request.details else ())]


def _typed(request: CompletionRequest) -> dict[str, Any]:
    """The type of the whole column, as `DataType.jsonValue` has it."""
    from server_utils.inference.openai.schema_types import spark_type

    kind = request.answer_type
    types = {"value": spark_type(request.schema or {}).jsonValue() if kind is None else kind}
    types |= {field.name: field.spark_type for field in _fields(request)}
    parts = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in types.items()]
    return {"type": "struct", "fields": parts}


def _returns(request: CompletionRequest) -> str:
    """The type that the function returns to Spark: JSON for typed answers."""
    if request.schema is not None:
        return "string"
    value = "array<float>" if request.endpoint is Endpoint.EMBED else "string"
    fields = _fields(request)
    parts = [f"value: {value}", *(f"{field.name}: {field.spark_type}" for field in fields)]
    return f"struct<{', '.join(parts)}>" if fields else value


def _name(request: CompletionRequest) -> str:
    return request.endpoint.name.lower()


def _function(request: CompletionRequest) -> Any:
    return udf.column_function(
        udf.named(functools.partial(_arrow, request), _name(request)),
        udf.named(functools.partial(_pandas, request), _name(request)),
        _returns(request),
    )


def _arrow(request: CompletionRequest, batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    return answers(request, connections(request), _pieces(batches), arrow_column)


def _pandas(request: CompletionRequest, batches: Iterator[Any]) -> Iterator[Any]:
    from server_utils.inference import pandas_compat

    columns = (pa.array(batch, pa.binary(), from_pandas=True) for batch in batches)
    yield from map(pandas_compat.from_arrow, _arrow(request, columns))


def _pieces(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """The same rows in small batches, so that Spark gets the first answers early: `show` needs no more.

    Spark reads answers once they fill its buffer of 64 KB (4.3): after some 900 rows of 200 letters, not 10,000.
    """
    for batch in batches:
        for start in range(0, max(len(batch), 1), _PIECE_ROWS):
            yield batch[start : start + _PIECE_ROWS]


def arrow_column(request: CompletionRequest, answered: Sequence[Answer]) -> pa.Array:
    """The column of a batch's answers, of the type that `_returns` names."""
    fields = _fields(request)
    if request.schema is not None:
        return pa.array([_json(answer, fields) for answer in answered], pa.string())
    values = [answer.value for answer in answered]
    value = _vectors(values) if request.endpoint is Endpoint.EMBED else pa.array(values, pa.string())
    if not fields:
        return value
    columns = [value, *(pa.array(map(field.read, answered), field.arrow_type) for field in fields)]
    return pa.StructArray.from_arrays(columns, ["value", *(field.name for field in fields)])


def _json(answer: Answer, fields: Sequence[_Field]) -> str | None:
    """A typed answer as JSON, which Spark reads."""
    if answer.value is None and not fields:
        return None
    return json.dumps({"value": answer.value} | {field.name: field.read(answer) for field in fields})


def _vectors(values: Sequence[Any]) -> pa.Array:
    """Lists of float32 from numpy arrays, with no Python list of floats in between."""
    import numpy as np

    vectors = [value for value in values if value is not None]
    offsets = np.cumsum([0, *(0 if value is None else len(value) for value in values)]).astype(np.int32)
    flat = np.concatenate(vectors) if vectors else np.empty(0, np.float32)
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.float32()), mask=missing)
