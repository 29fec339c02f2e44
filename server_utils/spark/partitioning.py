"""How rows are distributed over tasks before servers answer them. Driver; knows no servers."""

from __future__ import annotations

from typing import Any

from server_utils.spark import session

_TASKS_PER_SLOT = 2  # so that other slots make up for a slow task


def evenly(frame: Any) -> Any:
    """The rows in equal shares for all slots, also if they are few.

    Spark partitions by bytes: it would put a megabyte of prompts into one task, and one server would answer them all.
    """
    return frame.repartition(_tasks(frame))


def by_prefix(frame: Any, column: str, *, partitions: int | None = None) -> Any:
    """The rows sorted by a text, and cut into tasks of about as many rows each.

    Rows that share a long prefix, such as questions about one document, then reach the same server one after the
    other, and its prefix cache holds the prefix. It costs a shuffle, before which Spark reads the frame once more for a
    sample. Where all rows share one prefix there is nothing to gain: every server has it in its cache.

    Args:
        frame: with the text in `column`; null sorts first.
        column: the sort key: the prompt itself, or a text that is equal for rows that belong together. The name of a
            column, or what Spark's `col()` reads, such as a field of a struct.
        partitions: tasks; by default two per slot.

    Raises ConfigurationError where there is no such column.
    """
    by = session.column_of(frame, column)
    return frame.repartitionByRange(partitions or _tasks(frame), by).sortWithinPartitions(by)


def _tasks(frame: Any) -> int:
    return _TASKS_PER_SLOT * session.slots(frame.sparkSession)
