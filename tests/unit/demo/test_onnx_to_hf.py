"""The converter of the model of scanned pages: its parts by themselves, and what it made of the real file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from server_utils.demo import assets
from server_utils.demo.onnx_to_hf import alphabet, fields, weights
from unit.demo.test_assets import fetched


def number(value):
    """A whole number as Protocol Buffers write it."""
    low, rest = value & 0x7F, value >> 7
    return bytes([low]) if not rest else bytes([low | 0x80]) + number(rest)


def text(field, content):
    return number(field << 3 | 2) + number(len(content)) + content


def whole(field, value):
    return number(field << 3) + number(value)


def tensor(name, values, kind=1):
    shape = b"".join(whole(1, size) for size in values.shape)
    return text(5, shape + whole(2, kind) + text(8, name) + text(9, values.tobytes()))


def parsed(content):
    return list(fields(memoryview(content)))


def test_fields_of_each_kind_are_read_by_number():
    content = whole(1, 300) + text(2, b"word") + number(3 << 3 | 5) + b"four" + number(4 << 3 | 1) + b"and eight"[:8]
    assert [(field, value if field == 1 else bytes(value)) for field, value in parsed(content)] == [
        (1, 300),
        (2, b"word"),
        (3, b"four"),
        (4, b"and eigh"),
    ]


def test_another_kind_of_file_is_refused():
    with pytest.raises(SystemExit, match="this is no ONNX file"):
        parsed(b"no such format")


def test_a_class_is_a_character_and_the_first_is_none():
    content = text(14, text(1, b"maker") + text(2, b"somebody")) + text(
        14, text(1, b"character") + text(2, b"a\n\xc3\xa4")
    )
    assert alphabet(parsed(content)) == ["blank", "a", "ä", " "]
    with pytest.raises(SystemExit, match="does not say which characters"):
        alphabet(parsed(text(14, text(1, b"maker") + text(2, b"somebody"))))


def test_weights_are_read_in_their_order_and_settings_are_left_out():
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(4, np.float32)
    graph = tensor(b"z", first) + tensor(b"one", np.ones(1, np.float32)) + tensor(b"shape", np.arange(4), kind=7)
    found = list(weights(parsed(text(7, graph + tensor(b"a", second)))))
    assert [name for name, _ in found] == ["z", "a"]
    assert all(np.array_equal(values, wanted) for (_, values), wanted in zip(found, (first, second), strict=True))


def test_the_real_model_is_whole_and_knows_its_characters():
    folder = fetched(lambda: assets._present(assets._OCR))
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    characters = json.loads((folder / "preprocessor_config.json").read_text())["character_list"]
    assert header["head.head.weight"]["shape"] == [len(characters), 120] == [18_710, 120]
    assert [characters[0], characters[-1]] == ["blank", " "]
    assert {"A", "z", "0", "é"} <= set(characters)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "pp_ocrv6_small_rec"
