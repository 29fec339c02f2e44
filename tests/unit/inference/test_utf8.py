from __future__ import annotations

import pyarrow as pa
import pytest

from server_utils.inference import utf8


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_all_that_python_cannot_read_is_found_and_nothing_else(kind):
    raw = [
        b"a",
        b"\xff",
        None,
        "é模😀".encode(),
        b"",
        b"\0",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80",
        b"\xe9",
    ]
    texts = pa.array(raw, utf8.binary_type(kind)).view(kind)
    assert utf8.wrong_elements(texts).tolist() == [1, 6, 7, 8, 9]
    assert utf8.wrong_elements(texts.slice(2, 4)).tolist() == []
    assert utf8.wrong_elements(texts.slice(2)).tolist() == [4, 5, 6, 7]
