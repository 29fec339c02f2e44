"""The one factory of column functions: Python functions as functions of Spark columns, run once per row. Driver.

Spark calls the Python function on executors: with Arrow on Spark 4.1 and later, with pandas before. No data is
converted here.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Stream = Callable[[Iterator[Any]], Iterator[Any]]  # batches in, as many rows of answers out
PrepareColumns = Callable[[Sequence[Any], Any], Sequence[Any]]
_LEAST_ARROW = (4, 1)


def column_function(
    arrow: Stream, pandas: Stream, returns: str, *, for_pandas: PrepareColumns | None = None
) -> Callable[..., Any]:
    """A function of columns that gives a column of type `returns`. It calls `arrow`, or `pandas` on older Sparks.

    for_pandas: (columns, `pyspark.sql.functions`) -> the columns that `pandas` gets instead.
    """
    functions, version = _functions(), _version()
    with warnings.catch_warnings():
        # Spark would rather read type hints, but a partial function has none.
        warnings.filterwarnings("ignore", "(?i).*prefer.* type hints", UserWarning)
        if version >= _LEAST_ARROW:
            arrow_udf: Callable[..., Any] = functions.arrow_udf(arrow, returns, functions.ArrowUDFType.SCALAR_ITER)
            return arrow_udf
        pandas_udf = functions.pandas_udf(pandas, returns, functions.PandasUDFType.SCALAR_ITER)
    return lambda *columns: pandas_udf(*(for_pandas(columns, functions) if for_pandas else columns))


def named(function: functools.partial[Any], name: str) -> functools.partial[Any]:
    """The same function, under the name that Spark shows in plans."""
    function.__name__ = name  # type: ignore[attr-defined]
    return function


def once(answer: Any) -> Any:
    """The same column, which Spark evaluates where the user put it and nowhere else.

    Spark copies the expression of a column into the filters and joins that use it, and evaluates it there again. Rows
    are then selected by other answers than those they come with. Spark copies no expression that holds the number of a
    partition. `asNondeterministic()` has that effect too, but over Spark Connect `select(y["value"], y["error"])` then
    evaluates twice (Spark 4.3): there Spark merges equal functions only if they are deterministic.
    """
    functions = _functions()
    return functions.when(functions.spark_partition_id() >= 0, answer)


def label(column: Any) -> str:
    """What Spark calls a column, given by its name or as it is."""
    text = str(column).removeprefix("Column<'").removesuffix("'>")
    alias = text.rpartition(" AS ")[2]
    return alias.strip("`") if alias.count("(") == alias.count(")") else text


def _functions() -> Any:
    return importlib.import_module("pyspark.sql.functions")  # its stubs differ from version to version


def _version() -> tuple[int, ...]:
    import pyspark

    return tuple(int(part) for part in pyspark.__version__.split(".")[:2])
