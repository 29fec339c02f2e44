"""A real vLLM with a model that takes pictures: the parts of a message reach it as they are."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest
from support import real_vllm
from support.real_vllm import Running

from server_utils.inference.openai.request import Endpoint

TOKENS_OF_A_PICTURE = 16  # see tiny_vision.py


@pytest.fixture
def running(owner):
    server = Running(owner, real_vllm.model_folder("tiny_vision"), options={"model_impl": "transformers"})
    server.ensure()
    yield server
    server.stop()


def png(red, width=40, height=30):
    """A picture of one colour, as a data URL."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\x00" + bytes([red, 0, 0]) * width) * height
    head = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
    whole = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return f"data:image/png;base64,{base64.b64encode(whole).decode()}"


def conversation(*pictures, text="what is this"):
    """As the column has it in a task: a message of parts."""
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    return json.dumps({"m": [{"role": "user", "content": [{"type": "text", "text": text}, *parts]}]})


def test_a_message_with_a_picture_is_answered_and_a_damaged_one_is_its_own_error(running):
    damaged = "data:image/png;base64," + base64.b64encode(b"no picture").decode()
    rows = [conversation(), conversation(png(0)), conversation(png(255)), conversation(damaged), conversation()]
    asked = {"endpoint": Endpoint.CHAT, "on_error": "struct", "fields": {"max_tokens": 4, "ignore_eos": True}}

    plain, dark, red, bad, last = running.ask(rows, details=True, **asked)
    in_one_request = running.ask(rows, **asked)

    assert [row["error"] is None for row in in_one_request] == [True, True, True, False, True]
    for row in (plain, dark, red, last):
        assert row["error"] is None
        assert row["completion_tokens"] == 4
    assert plain["prompt_tokens"] == last["prompt_tokens"]
    assert plain["prompt_tokens"] + TOKENS_OF_A_PICTURE == dark["prompt_tokens"] == red["prompt_tokens"]
    assert bad["value"] is None
    assert "image" in bad["error"]
