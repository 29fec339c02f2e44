"""What an engine's dialect changes in requests and in what answers mean."""

from __future__ import annotations

import base64
import struct

import pytest

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.inference.openai.dialect import Dialect, SchemaField
from server_utils.inference.openai.request import CompletionRequest, Endpoint, body, path, replies
from server_utils.inference.openai.row_errors import of_error
from server_utils.servers.launch import Launch

LAUNCH = Launch("app", "llm", "id", "any", (), ("http",), "/health")
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}}


def request(endpoint=Endpoint.GENERATE, *, dialect, **fields):
    return CompletionRequest(LAUNCH, endpoint, "m", dialect=dialect, **fields)


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        (SchemaField.STRUCTURED_OUTPUTS, {"structured_outputs": {"json": SCHEMA}}),
        (SchemaField.GUIDED_JSON, {"guided_json": SCHEMA}),
        (
            SchemaField.RESPONSE_FORMAT,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}},
        ),
        (SchemaField.NVEXT, {"nvext": {"guided_json": SCHEMA}}),
    ],
)
def test_a_schema_stands_in_the_field_that_the_engine_reads(field, sent):
    asked = request(dialect=Dialect(schema_field=field), schema=SCHEMA)
    assert body(asked, ["x"]) == {"model": "m", "prompt": ["x"]} | sent


def test_a_schema_that_the_engine_ignores_is_refused():
    with pytest.raises(ConfigurationError, match="ignores JSON schemas, so response_format cannot be kept"):
        request(dialect=Dialect(schema_field=None), schema=SCHEMA)


def test_an_engine_without_lists_gets_one_prompt_as_a_text():
    asked = request(dialect=Dialect(rows_per_request=1, sends_model=False))
    assert asked.rows_per_request == 1
    assert body(asked, ["x"]) == {"prompt": "x"}


def test_conversations_are_sent_together_only_where_the_engine_has_a_path_for_it():
    alone, together = (request(Endpoint.CHAT, dialect=Dialect(chat_batch_path=each)) for each in (None, "/batch"))
    assert (alone.rows_per_request, together.rows_per_request) == (1, 32)
    assert path(together, 2) == "/batch"
    assert path(together, 1) == path(alone, 1) == "/v1/chat/completions"


def test_tokens_of_each_row_are_asked_for_by_the_engines_field_or_row_by_row():
    named, unnamed = Dialect(token_ids_field="return_token_ids"), Dialect()
    assert body(request(dialect=named, details=True), ["x"])["return_token_ids"] is True
    assert request(dialect=named, details=True).rows_per_request == 32
    assert request(dialect=unnamed, details=True).rows_per_request == 1
    assert request(dialect=unnamed).rows_per_request == 32


def test_a_path_for_metrics_without_what_limits_need_is_refused():
    with pytest.raises(ConfigurationError, match="must name running and waiting"):
        Dialect(metrics_path="/metrics", metrics={"running": "x"})


@pytest.mark.parametrize("as_text", [True, False])
def test_vectors_are_read_from_base64_and_from_numbers(as_text):
    asked = request(Endpoint.EMBED, dialect=Dialect(base64_vectors=as_text))
    assert ("encoding_format" in body(asked, ["x"])) is as_text
    vector = base64.b64encode(struct.pack("<2f", 0.5, -1)).decode() if as_text else [0.5, -1]
    (answer,) = replies(asked, {"data": [{"index": 0, "embedding": vector}], "usage": {"prompt_tokens": 3}}, 1)
    assert answer.value.tolist() == [0.5, -1.0]
    assert answer.value.dtype == "float32"


def test_an_error_says_by_the_words_of_the_engine_that_a_row_is_too_long():
    asked = request(dialect=Dialect(too_long=("beyond the window",)))

    kinds = [of_error(asked, InferenceError(words)).kind for words in ("Beyond the window of 8", "too long")]

    assert kinds == ["too_long", "refused"]
