"""What Spark's batches become on their way to the servers."""

from __future__ import annotations

import pyarrow as pa

from server_utils.udf import _first_apart


def batches(*sizes):
    """Batches of two columns, whose rows are numbered through."""
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    columns = [pa.array(range(start, start + size)) for start, size in zip(starts, sizes, strict=True)]
    return iter([(column, column) for column in columns])


def test_the_first_rows_are_a_batch_of_their_own_and_all_others_stay_as_they_come():
    found = [tuple(map(len, batch)) for batch in _first_apart(batches(50, 20, 0), 16)]

    assert found == [(16, 16), (34, 34), (20, 20), (0, 0)]


def test_no_row_is_lost_or_moved():
    found = [row for batch in _first_apart(batches(50, 20), 16) for row in batch[1].to_pylist()]

    assert found == list(range(70))


def test_a_first_batch_that_is_small_stays_whole():
    assert [len(batch[0]) for batch in _first_apart(batches(16, 50), 16)] == [16, 50]
    assert list(_first_apart(batches(), 16)) == []
