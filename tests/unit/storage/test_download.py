"""How the bytes that a store hands on become verified parts of a file."""

from __future__ import annotations

import hashlib

import pytest

from server_utils.storage.download import Splitter, Verifier
from server_utils.storage.manifest import Part
from server_utils.storage.stores.base import DamagedError

CONTENT = b"0123456789abcdefghij"


def parts_of(*sizes, start=0):
    """Consecutive parts of CONTENT."""
    parts = []
    for size in sizes:
        parts.append(Part(start, size, hashlib.sha256(CONTENT[start : start + size]).hexdigest()))
        start += size
    return parts


def pieces_of(parts, *chunks):
    splitter = Splitter(parts)
    return [(part.start, offset, piece) for chunk in chunks for part, offset, piece in splitter.split(chunk)]


def test_a_chunk_is_cut_where_parts_end():
    assert pieces_of(parts_of(4, 4, 2), b"0123456789") == [(0, 0, b"0123"), (4, 4, b"4567"), (8, 8, b"89")]


def test_a_part_may_come_in_many_chunks_and_a_chunk_may_end_with_it():
    assert pieces_of(parts_of(4, 4), b"01", b"23", b"4", b"567") == [
        (0, 0, b"01"),
        (0, 2, b"23"),
        (4, 4, b"4"),
        (4, 5, b"567"),
    ]


def test_parts_in_the_middle_of_a_file_keep_their_place_in_it():
    assert pieces_of(parts_of(3, 3, start=10), b"abcdef") == [(10, 10, b"abc"), (13, 13, b"def")]


def test_more_bytes_than_the_parts_have_are_damage():
    splitter = Splitter(parts_of(4, 4))
    list(splitter.split(b"01234567"))
    with pytest.raises(DamagedError, match="more than 8 bytes arrived"):
        list(splitter.split(b"8"))


def test_the_bytes_that_came_are_counted():
    splitter = Splitter(parts_of(4, 4))
    list(splitter.split(b"01234"))
    assert (splitter.taken, splitter.size) == (5, 8)


def verify(parts, content, *, thorough):
    verifier = Verifier(thorough=thorough)
    for part, offset, piece in Splitter(parts).split(content):
        verifier.update(part, offset, piece)


@pytest.mark.parametrize("thorough", [True, False])
def test_whole_parts_pass_and_the_first_damaged_one_is_named(thorough):
    verify(parts_of(4, 4, 4), b"0123456789ab", thorough=thorough)
    with pytest.raises(DamagedError, match="the bytes from 4 on do not hash"):
        verify(parts_of(4, 4, 4), b"0123X56789aX", thorough=thorough)
