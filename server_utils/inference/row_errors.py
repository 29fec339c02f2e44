"""The row error policy that all column functions share: `on_error` says what a row without an answer becomes.

"raise" ends the job with an error that names the row. "null" gives null. "struct" gives a struct of the value and the
error. The argument is checked on the driver; errors are raised in tasks.
"""

from __future__ import annotations

from typing import Literal, get_args

from server_utils.errors import ConfigurationError, InferenceError

OnError = Literal["raise", "null", "struct"]


def check_on_error(on_error: str) -> None:
    """Raises ConfigurationError for anything but the three policies."""
    if on_error not in get_args(OnError):
        raise ConfigurationError(f'on_error must be "raise", "null" or "struct"; it is {on_error!r}')


def column_type(value: str, on_error: OnError) -> str:
    """Spark's type of a column of answers. value: the type of an answer."""
    return f"struct<value: {value}, error: string>" if on_error == "struct" else value


def row_error(row: int, problem: str) -> InferenceError:
    """The error that ends a job whose policy is "raise".

    row: the number of the row in its partition. problem: what follows the row's name, such as " was refused: …".
    """
    return InferenceError(
        f'row {row} of {_partition()}{problem}. With on_error="null" or "struct" the other rows go on'
    )


def _partition() -> str:
    from pyspark import TaskContext

    context = TaskContext.get()
    return f"partition {context.partitionId()}" if context else "the input"
