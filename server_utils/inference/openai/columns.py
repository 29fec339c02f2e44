"""`dispatch.answers` as Spark columns of text, typed structs or vectors. Both sides."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from server_utils.inference import utf8
from server_utils.inference.openai import answer_types
from server_utils.inference.openai.connections import lanes
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import Answer, Kind, Question
from server_utils.spark import udf

_PIECE_ROWS = 128  # about as many as a task has in flight to begin with
_DETAILS = "finish_reason string, prompt_tokens int, completion_tokens int"


def text_column(question: Question, column: Any) -> Any:
    """The answers to a column of texts (for a chat: of conversations), as `question.on_error` and `details` say."""
    functions: Any = importlib.import_module("pyspark.sql.functions")  # its stubs differ from version to version
    name = f"{_name(question)}({udf.label(column)})"
    # Bytes, as pandas cannot have a text that is not UTF-8: it is looked at where it is asked.
    chat = question.kind is Kind.CHAT
    found = _function(question)(utf8.json_bytes(column, functions) if chat else column.cast("string").cast("binary"))
    if question.schema is None:
        return udf.once(found).alias(name)
    # Spark reads the JSON: it makes any type, on every version; pandas functions before 4.1 do not.
    typed = answer_types.column(_typed(question), found)
    return udf.once(typed if _is_struct(question) else typed["value"]).alias(name)


def _is_struct(question: Question) -> bool:
    return question.details or question.on_error == "struct"


def _typed(question: Question) -> dict[str, Any]:
    """The type of the whole column, as `DataType.jsonValue` has it."""
    from server_utils.inference.openai.schema_types import spark_type

    kind = question.answer_type
    fields: dict[str, Any] = {"value": spark_type(question.schema or {}).jsonValue() if kind is None else kind}
    if question.on_error == "struct":
        fields["error"] = "string"
    if question.details:
        fields |= {"finish_reason": "string", "prompt_tokens": "integer", "completion_tokens": "integer"}
    parts = [{"name": name, "type": kind, "nullable": True, "metadata": {}} for name, kind in fields.items()]
    return {"type": "struct", "fields": parts}


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


def _name(question: Question) -> str:
    return question.kind.name.lower()


def _function(question: Question) -> Any:
    return udf.column_function(
        udf.named(functools.partial(_arrow, question), _name(question)),
        udf.named(functools.partial(_pandas, question), _name(question)),
        _returns(question),
    )


def _arrow(question: Question, batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    return answers(question, lanes(question), _pieces(batches), arrow_column)


def _pandas(question: Question, batches: Iterator[Any]) -> Iterator[Any]:
    from server_utils.inference import pandas_compat

    columns = (pa.array(batch, pa.binary(), from_pandas=True) for batch in batches)
    yield from map(pandas_compat.from_arrow, answers(question, lanes(question), _pieces(columns), arrow_column))


def _pieces(batches: Iterator[pa.Array]) -> Iterator[pa.Array]:
    """The same rows in small batches, so that Spark has the first answers early: it may want no more (`show`).

    It sees them once they fill its buffer of 64 KB (4.3): after some 900 rows of 200 letters instead of 10,000.
    """
    for batch in batches:
        for start in range(0, max(len(batch), 1), _PIECE_ROWS):
            yield batch[start : start + _PIECE_ROWS]


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
