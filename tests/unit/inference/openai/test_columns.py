"""What Spark's batches become on their way to the servers. The answers are in test_asking.py."""

from __future__ import annotations

import pyarrow as pa

from server_utils.inference.openai.columns import _PIECE_ROWS, _pieces


def test_batches_are_cut_into_small_ones_and_no_row_is_lost_or_moved():
    sizes = [0, 1, _PIECE_ROWS, 3 * _PIECE_ROWS + 1]

    pieces = list(_pieces(pa.array(map(str, range(size))) for size in sizes))

    assert [len(piece) for piece in pieces] == [0, 1, *[_PIECE_ROWS] * 4, 1]
    texts = [text for piece in pieces for text in piece.to_pylist()]
    assert texts == [str(number) for size in sizes for number in range(size)]
