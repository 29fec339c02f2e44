"""`asking.answers` as Spark columns of text, typed structs or vectors. Both sides."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from server_utils import utf8
from server_utils.asking import answers
from server_utils.column_names import bound, title
from server_utils.lanes import lanes
from server_utils.questions import Answer, Kind, Question

_DETAILS = "finish_reason string, prompt_tokens int, completion_tokens int"


def text_column(question: Question, column: Any) -> Any:
    """The answers to a column of texts (for a chat: of conversations), as `question.on_error` and `details` say."""
    functions: Any = importlib.import_module("pyspark.sql.functions")  # its stubs differ from version to version
    name = title(_name(question), [column])
    # Bytes, as pandas cannot have a text that is not UTF-8: it is looked at where it is asked.
    chat = question.kind is Kind.CHAT
    asked = utf8.json_bytes(column, functions) if chat else column.cast("string").cast("binary")
    found = _function(question, functions)(asked)
    if question.schema is None:
        return found.alias(name)
    # Spark reads the JSON: it makes any type, on every version; pandas functions before 4.1 do not.
    typed = functions.from_json(found, _typed(question))
    return (typed if _is_struct(question) else typed["value"]).alias(name)


def _name(question: Question) -> str:
    return question.kind.name.lower()


def _is_struct(question: Question) -> bool:
    return question.details or question.on_error == "struct"


def _typed(question: Question) -> Any:
    from pyspark.sql import types

    from server_utils.schemas import spark_type

    assert question.schema is not None  # noqa: S101 - the caller has looked
    fields = [types.StructField("value", spark_type(question.schema))]
    if question.on_error == "struct":
        fields.append(types.StructField("error", types.StringType()))
    if question.details:
        fields += [
            types.StructField("finish_reason", types.StringType()),
            types.StructField("prompt_tokens", types.IntegerType()),
            types.StructField("completion_tokens", types.IntegerType()),
        ]
    return types.StructType(fields)


def _returns(question: Question) -> str:
    """What the function gives to Spark, which for typed answers is JSON."""
    if question.schema is not None:
        return "string"
    value = "array<float>" if question.kind is Kind.EMBED else "string"
    if not _is_struct(question):
        return value
    error = ", error: string" if question.on_error == "struct" else ""
    details = f", {_DETAILS}" if question.details else ""
    return f"struct<value: {value}{error}{details}>"


def _function(question: Question, functions: Any) -> Any:
    import pyspark

    with warnings.catch_warnings():
        # Spark would rather read type hints, but a partial function has none.
        warnings.filterwarnings("ignore", "(?i).*prefer.* type hints", UserWarning)
        if tuple(int(part) for part in pyspark.__version__.split(".")[:2]) >= (4, 1):
            kind = functions.ArrowUDFType.SCALAR_ITER
            return functions.arrow_udf(bound(_name(question), _arrow, question), _returns(question), kind)
        kind = functions.PandasUDFType.SCALAR_ITER
        return functions.pandas_udf(bound(_name(question), _pandas, question), _returns(question), kind)


def _arrow(question: Question, batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    return answers(question, lanes(question), batches, arrow_column)


def _pandas(question: Question, batches: Iterator[Any]) -> Iterator[Any]:
    from server_utils import pandas_columns

    columns = (pa.array(batch, pa.binary(), from_pandas=True) for batch in batches)
    yield from map(pandas_columns.from_arrow, answers(question, lanes(question), columns, arrow_column))


def arrow_column(question: Question, found: Sequence[Answer]) -> pa.Array:
    """The column of a batch's answers, of the type that `_returns` names."""
    if question.schema is not None:
        return pa.array([_json(question, answer) for answer in found], pa.string())
    values = [answer.value for answer in found]
    value = _vectors(values) if question.kind is Kind.EMBED else pa.array(values, pa.string())
    if not _is_struct(question):
        return value
    columns = {"value": value}
    if question.on_error == "struct":
        columns["error"] = pa.array([answer.error for answer in found], pa.string())
    if question.details:
        columns["finish_reason"] = pa.array([answer.finish_reason for answer in found], pa.string())
        columns["prompt_tokens"] = pa.array([answer.tokens_in for answer in found], pa.int32())
        columns["completion_tokens"] = pa.array([answer.tokens_out for answer in found], pa.int32())
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def _json(question: Question, answer: Answer) -> str | None:
    """A typed answer for Spark to read. A field that is not in its type is not looked at."""
    if answer.value is None and not _is_struct(question):
        return None
    return json.dumps(
        {
            "value": answer.value,
            "error": answer.error,
            "finish_reason": answer.finish_reason,
            "prompt_tokens": answer.tokens_in,
            "completion_tokens": answer.tokens_out,
        }
    )


def _vectors(values: Sequence[Any]) -> pa.Array:
    """Lists of float32 from numpy arrays, with no Python list of floats in between."""
    import numpy as np

    there = [value for value in values if value is not None]
    offsets = np.cumsum([0, *(0 if value is None else len(value) for value in values)]).astype(np.int32)
    flat = np.concatenate(there) if there else np.empty(0, np.float32)
    missing = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat, pa.float32()), mask=missing)
