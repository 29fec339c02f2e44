"""What Spark calls a column."""

from __future__ import annotations

import pytest

from server_utils.spark.udf import label


class Column:
    """As Spark's, which needs a session before 4."""

    def __init__(self, words):
        self._words = words

    def __str__(self):
        return f"Column<'{self._words}'>"


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("text", "text"),
        (Column("text"), "text"),
        (Column("upper(text)"), "upper(text)"),
        (Column("CAST(text AS STRING)"), "CAST(text AS STRING)"),
        (Column("upper(text) AS big"), "big"),
        (Column("CASE WHEN (a >= 0) THEN chat(q) END AS `chat(q)`"), "chat(q)"),
    ],
)
def test_a_column_is_called_by_its_name_or_else_by_what_it_is_made_of(column, words):
    assert label(column) == words
