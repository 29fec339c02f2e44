"""Texts that are not UTF-8: Spark carries such bytes as they are, Python and JSON cannot. Both sides; no Spark.

The caller passes `pyspark.sql.functions`, from which Spark's expressions are made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

PROBLEM = "has a text that is not UTF-8; decode it in Spark first, such as decode(cast(text as binary), 'ISO-8859-1')"
INVALID = b"\xff"  # in no UTF-8
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # Java's replacement of bytes that are not UTF-8


def wrong_elements(texts: pa.Array) -> np.ndarray[Any, Any]:
    """Which elements of a column of texts are not UTF-8, by number."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:  # says the first only
        raw = texts.cast(binary_type(texts.type)).to_pylist()
        return np.flatnonzero([each is not None and read(each) is None for each in raw])
    return np.empty(0, np.int64)


def binary_type(text: pa.DataType) -> pa.DataType:
    """The type of the bytes of a column of texts: a cast to it neither copies nor checks."""
    return pa.large_binary() if pa.types.is_large_string(text) else pa.binary()


def read(raw: bytes) -> str | None:
    """The text, or None when it is not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def is_wrong(column: Any, functions: Any) -> Any:
    """Spark's boolean: whether a column of any type that may hold text, in arrays or fields too, is not UTF-8.

    Before Spark 4 there is no is_valid_utf8. The type is known when Spark plans: for other types this costs nothing.
    """
    text = column.cast("string")  # keeps the bytes, also those inside arrays and structs
    valid = functions.encode(text, "UTF-8") == text.cast("binary")
    return functions.typeof(column).like("%string%") & ~valid


def json_bytes(column: Any, functions: Any) -> Any:
    """Spark's binary: JSON with the column in "m"; `INVALID` where a text in it is not UTF-8.

    Spark's to_json writes a replacement character for what is not UTF-8. So a row whose JSON has more of them than its
    text is not UTF-8. Casts keep the bytes. A column of binary is text.
    """
    text = column.cast("string")
    document = functions.when(functions.typeof(column) == "binary", _json(text, functions))
    document = document.otherwise(_json(column, functions))
    replaced = _replacements(document, functions) > _replacements(text, functions)
    return functions.when(replaced, functions.unhex(functions.lit(INVALID.hex()))).otherwise(document.cast("binary"))


def _json(column: Any, functions: Any) -> Any:
    # With its nulls: a null message is not sent, a missing field may be left out (`chat_messages.conversation`).
    return functions.to_json(functions.struct(column.alias("m")), {"ignoreNullFields": "false"})


def _replacements(text: Any, functions: Any) -> Any:
    """Three times the number of replacement characters: their bytes."""
    without = functions.replace(text, functions.lit(_REPLACEMENT), functions.lit(""))
    return functions.octet_length(text) - functions.octet_length(without)
