"""Rows in, answers out, against a server of real HTTP that is as ill-behaved as the prompts ask."""

from __future__ import annotations

import json
import socket
import threading
import urllib.request
from concurrent import futures

import pyarrow as pa
import pytest
from support.fake_openai import Server

from server_utils.backends.vllm.manager import DIALECT
from server_utils.errors import ConfigurationError, InferenceError, ServerUnavailableError
from server_utils.host.processes import ProcessId
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.columns import arrow_column
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.request_counters import RequestCounters, totals
from server_utils.inference.utf8 import PROBLEM
from server_utils.servers.launch import Launch
from server_utils.servers.launch import Server as Record

ME = ProcessId.of(1)
LAUNCH = Launch("app", "llm", "id", "vllm", (), ("http",), "/health")


@pytest.fixture
def server():
    server = Server(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.opened.set()
    server.shutdown()
    server.server_close()


class Place:
    """Where a client is told that its server is; a test may move it."""

    def __init__(self, port, folder):
        self.port, self.folder, self.asked = port, folder, 0

    def __call__(self):
        self.asked += 1
        return Record("id", "llm", "here", ME, ME, process=ME, ports={"http": self.port}, log=str(self.folder / "log"))


@pytest.fixture
def place(server, tmp_path):
    return Place(server.server_address[1], tmp_path)


def request(**fields):
    return CompletionRequest(
        **{"launch": LAUNCH, "endpoint": Endpoint.GENERATE, "model": "m", "timeout_s": 20.0, "dialect": DIALECT}
        | fields
    )


def ask(place, batches, *, connections=None, **fields):
    """The answers to batches of texts, as Python values."""
    asked = request(**fields)
    client = OpenAIClient(place, timeout_s=asked.timeout_s, key=asked.key)
    connections = connections or [
        Connection(client, ConcurrencyLimit(place.folder, DIALECT).at_most(asked.window), RequestCounters(place.folder))
    ]
    columns = (pa.array(batch, pa.string()) for batch in batches)
    return [column.to_pylist() for column in answers(asked, connections, columns, arrow_column)]


def rows_of(server):
    return [seen["rows"] for seen in server.seen]


def test_answers_come_in_order_whatever_the_batches_and_nulls_are_not_asked(place, server):
    batches = [["a", None, "b"], [], [None], ["c"] * 100]

    assert ask(place, batches) == [["A", None, "B"], [], [None], ["C"] * 100]
    assert sum(rows_of(server)) == 102
    assert max(rows_of(server)) > 1


def test_no_row_at_all_is_no_request(place, server):
    assert ask(place, []) == []
    assert ask(place, [[None, None]]) == [[None, None]]
    assert not server.seen


def test_a_slow_row_holds_back_no_other_but_in_the_order_of_answers(place, server):
    """Three batches later the held row is still out, and all others have their answers on the server."""
    batches = [["hold", *"abcdefg"], *(["x"] * 50 for _ in range(3))]
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(ask, place, batches, window=32)
        assert wait_for(lambda: sum(rows_of(server)) >= 100)
        assert not job.done()
        urllib.request.urlopen(f"http://127.0.0.1:{place.port}/open").close()

        assert job.result(30) == [["HOLD", *"ABCDEFG"], *(["X"] * 50 for _ in range(3))]


def wait_for(condition):
    from server_utils.host.processes import wait_until

    return wait_until(condition, 30)


def test_reading_ahead_of_a_held_row_is_bounded(place, server):
    read = []

    def batches():
        for number in range(40):
            read.append(number)
            yield ["hold" if not number else "x"] * 1 + ["y"] * 49

    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(ask, place, batches(), window=8)
        assert wait_for(lambda: len(read) > 1)
        seen = -1
        while seen != len(read):  # until it reads no further
            seen = len(read)
            wait_quietly()
        assert 1 < len(read) < 20
        server.opened.set()
        assert len(job.result(60)) == 40


def wait_quietly():
    """Longer than the asker's own pauses."""
    threading.Event().wait(1.5)


def test_no_more_rows_are_in_flight_than_the_window_allows(place, server):
    ask(place, [["x"] * 300], window=10)

    assert server.most_in_flight <= 10


def test_a_refused_row_is_found_among_the_good_ones_which_keep_their_answers(place):
    texts = ["a"] * 40 + ["refuse me"] + ["b"] * 40

    (rows,) = ask(place, [texts], on_error="struct")

    assert [each["value"] for each in rows] == ["A"] * 40 + [None] + ["B"] * 40
    assert rows[40]["error"] == "HTTP 400: this content is not served"
    assert {each["error"] for each in rows[:40] + rows[41:]} == {None}


def test_errors_are_counted_by_kind(place):
    ask(place, [["a", "refuse", "long one", "b", "long two"]], on_error="null")

    assert totals(place.folder) == {"rows": 5, "errors": {"refused": 1, "too_long": 2}}


def test_a_refused_row_fails_the_job_by_its_number_unless_one_says_otherwise(place):
    with pytest.raises(InferenceError, match=r"row 7 of the input: HTTP 400: .*maximum context length.*on_error="):
        ask(place, [["a"] * 5, ["b", "b", "a long one", "c"]])


def test_a_busy_server_is_asked_again(place, server):
    assert ask(place, [["busy"]]) == [["BUSY"]]
    assert rows_of(server) == [1, 1]


def test_an_answer_that_breaks_off_is_asked_for_again(place):
    assert ask(place, [["broken"]]) == [["BROKEN"]]


def test_a_server_that_always_fails_on_a_row_costs_that_row_only(place):
    (rows,) = ask(place, [["a", "fail", "b"]], on_error="struct")

    assert [each["value"] for each in rows] == ["A", None, "B"]
    assert rows[1]["error"] == "the server failed 3 times on it: HTTP 500: the engine tripped"


def test_a_row_that_takes_too_long_is_its_own_error_and_others_of_its_request_have_the_time_for_themselves(place):
    (rows,) = ask(place, [["a", "hold", "b"]], on_error="struct", timeout_s=3.0)

    assert [each["value"] for each in rows] == ["A", None, "B"]
    assert rows[1]["error"] == "no answer within 3 s; allow more with timeout_s="


def test_a_server_that_is_gone_is_asked_for_where_it_is_now(place, tmp_path):
    """The record names a port that nobody listens on, and then the one of the restarted server."""
    right = place.port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.port = taken.getsockname()[1]

    class Moving(Place):
        def __call__(self):
            self.port = place.port if not self.asked else right
            return super().__call__()

    moving = Moving(0, tmp_path)
    assert ask(moving, [["a"]]) == [["A"]]
    assert moving.asked == 2


def test_a_server_that_stays_away_ends_the_job_at_its_deadline(place):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place.port = taken.getsockname()[1]

    with pytest.raises(ServerUnavailableError, match=r"server 'llm' on here gave no answer within 0\.5 s"):
        ask(place, [["a"]], timeout_s=0.5, on_error="null")


@pytest.fixture
def two_servers(place, server, tmp_path):
    """Two servers of an executor, and what makes connections to them."""
    other = Server(0)
    threading.Thread(target=other.serve_forever, daemon=True).start()

    def connections():
        clients = (OpenAIClient(each, timeout_s=20) for each in (place, Place(other.server_address[1], tmp_path)))
        limits = (ConcurrencyLimit(tmp_path, DIALECT).at_most(16) for _ in range(2))
        return [Connection(*each, RequestCounters(tmp_path)) for each in zip(clients, limits, strict=True)]

    yield [server, other], connections
    other.shutdown()
    other.server_close()


def test_rows_are_dealt_out_over_all_servers_of_the_executor(place, two_servers):
    servers, connections = two_servers
    assert ask(place, [["x"] * 200], connections=connections()) == [["X"] * 200]
    asked = [sum(rows_of(each)) for each in servers]
    assert sum(asked) == 200
    assert min(asked) > 50


def test_tasks_with_few_rows_do_not_all_ask_the_same_server_of_the_executor(place, two_servers):
    servers, connections = two_servers
    for _ in range(64):
        assert ask(place, [["x"]], connections=connections()) == [["X"]]
    asked = [sum(rows_of(each)) for each in servers]
    assert sum(asked) == 64
    assert min(asked) > 0  # by chance all on one: once in 2**63


def test_conversations_go_to_the_batch_endpoint_where_there_are_several(place, server):
    documents = [json.dumps({"m": text}) for text in ("hi", "there")]
    documents += [json.dumps({"m": [{"role": "system", "content": "x"}, {"role": "user", "content": "you"}]}), "{}"]

    assert ask(place, [documents, documents[:1]], endpoint=Endpoint.CHAT) == [["HI", "THERE", "YOU", None], ["HI"]]
    assert {seen["path"] for seen in server.seen} == {"/v1/chat/completions", "/v1/chat/completions/batch"}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo/+=", "detail": "low"}}
PARTS = [{"role": "user", "content": [{"type": "text", "text": "what is this"}, PICTURE]}]


@pytest.mark.parametrize("many", [True, False])
def test_the_parts_of_a_message_pictures_among_them_are_sent_as_they_are(place, server, many):
    documents = [json.dumps({"m": messages}) for messages in (PARTS, [{"role": "system", "content": "x"}, *PARTS])]

    assert ask(place, [documents], endpoint=Endpoint.CHAT, dialect=DIALECT if many else Dialect()) == [
        ["WHAT IS THIS ", "WHAT IS THIS "]
    ]

    sent = [seen["body"]["messages"] for seen in server.seen]
    expected = [PARTS, [{"role": "system", "content": "x"}, *PARTS]]
    assert sorted(sent[0] if many else sent, key=len) == expected


def test_a_text_that_looks_like_messages_is_a_text_all_the_same(place, server):
    ask(place, [[json.dumps({"m": json.dumps(PARTS)})]], endpoint=Endpoint.CHAT)

    assert server.seen[0]["body"]["messages"] == [{"role": "user", "content": json.dumps(PARTS)}]


USER = {"role": "user", "content": "hi"}
CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


@pytest.mark.parametrize(
    "nothing",
    [
        {"role": "user", "content": None},
        {"role": "assistant", "content": None, "tool_calls": None},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": None}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, None]},
        {"role": "user", "content": [{"type": "image_url", "text": "a", "image_url": None}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": None, "detail": None}}]},
        {"role": "user", "content": [{"type": "text"}]},
    ],
)
def test_a_conversation_with_a_null_for_what_is_said_asks_nothing_like_a_null_text(place, server, nothing):
    documents = [json.dumps({"m": messages}) for messages in ([nothing], [nothing, USER], [USER, nothing], [USER])]

    assert ask(place, [documents], endpoint=Endpoint.CHAT) == [[None, None, None, "HI"]]
    assert rows_of(server) == [1]


def test_an_assistant_that_calls_a_tool_has_no_content_and_is_sent_so(place, server):
    """Spark's structs have all fields of all messages: those that are null are left out."""
    calls = {"role": "assistant", "content": None, "tool_calls": [*CALLS, {"id": "2", "function": None}], "name": None}
    messages = [USER, calls, {"role": "tool", "content": "", "tool_calls": None}, USER]

    assert ask(place, [[json.dumps({"m": messages})]], endpoint=Endpoint.CHAT) == [["HI"]]
    sent = server.seen[0]["body"]["messages"]
    assert sent == [
        USER,
        {"role": "assistant", "tool_calls": [*CALLS, {"id": "2"}]},
        {"role": "tool", "content": ""},
        USER,
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        7,
        [{"content": "no role"}],
        ["text"],
        [USER, None],
        [{"role": None, "content": "hi"}],
        [{"role": "", "content": "hi"}],
        [{"role": "user"}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": {"type": "text", "text": "hi"}}],
        {"role": "user", "content": "hi"},
    ],
)
def test_messages_that_are_none_are_the_rows_own_error(place, server, messages):
    (rows,) = ask(place, [[json.dumps({"m": messages})]], endpoint=Endpoint.CHAT, on_error="struct")

    assert "messages must be a text, or an array of structs with role and content" in rows[0]["error"]
    assert not server.seen


@pytest.mark.parametrize("kind", Endpoint)
def test_a_text_that_is_not_utf8_is_the_error_of_its_row_and_is_not_sent(place, server, kind):
    texts = [b"fine", b"caf\xe9", None, b"", b"\0"]
    if kind is Endpoint.CHAT:
        texts = [b'{"m": "fine"}', b"\xff", None, b'{"m": ""}', b'{"m": "\\u0000"}']
    asked = request(endpoint=kind, on_error="struct")
    connections = [
        Connection(
            OpenAIClient(place, timeout_s=20.0),
            ConcurrencyLimit(place.folder, DIALECT).at_most(None),
            RequestCounters(place.folder),
        )
    ]

    (column,) = answers(asked, connections, iter([pa.array(texts, pa.binary())]), arrow_column)

    rows = column.to_pylist()
    assert [row["error"] for row in rows] == [None, PROBLEM, None, None, None]
    assert [row["value"] is None for row in rows] == [False, True, True, False, False]
    assert sum(rows_of(server)) == 3


def test_vectors_come_as_float32_and_a_refused_text_has_none(place):
    (rows,) = ask(place, [["abc", None, "refuse", "de"]], endpoint=Endpoint.EMBED, on_error="null")

    assert rows == [[3.0, 1.0], None, None, [2.0, 1.0]]


def test_details_of_a_row_are_its_own(place):
    (rows,) = ask(place, [["abcd"]], details=True)

    assert rows == [{"value": "ABCD", "finish_reason": "stop", "prompt_tokens": 4, "completion_tokens": 1}]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_answers_are_checked_against_the_schema_on_arrival(place):
    texts = ['say {"n": 1}', 'say {"n": "one"}', 'cut {"n": ', "say nothing", None]

    (rows,) = ask(place, [texts], schema=SCHEMA, on_error="struct")

    read = [json.loads(each) for each in rows]
    assert [each["value"] for each in read] == [{"n": 1}, None, None, None, None]
    assert "does not keep to the schema: $.n: 'one' is not of type 'integer'" in read[1]["error"]
    assert "was cut off; allow more with max_tokens=" in read[2]["error"]
    assert "does not keep to the schema" in read[3]["error"]
    assert read[4]["error"] is None
    assert totals(place.folder)["errors"] == {"invalid": 2, "truncated": 1}


@pytest.mark.parametrize("on_error", ["null", "struct"])
def test_whole_numbers_written_as_floats_are_whole_and_too_large_ones_errors(place, on_error):
    texts = [f'say {{"n": {number}}}' for number in ("3.0", "1e2", "12345678901234567890", "3.5", "NaN", "true")]

    (rows,) = ask(place, [texts], schema=SCHEMA, on_error=on_error)

    read = [None if each is None else json.loads(each)["value"] for each in rows]
    assert read == [{"n": 3}, {"n": 100}, None, None, None, None]
    assert totals(place.folder)["errors"] == {"invalid": 4}


def test_the_type_that_was_given_counts_where_the_schema_says_less(place):
    kind = {"type": "struct", "fields": [{"name": "n", "type": "byte", "nullable": True, "metadata": {}}]}

    (rows,) = ask(place, [['say {"n": 127}', 'say {"n": 128}']], schema=SCHEMA, answer_type=kind, on_error="struct")

    assert json.loads(rows[0])["value"] == {"n": 127}
    assert "$.n: 128 is more than tinyint holds" in json.loads(rows[1])["error"]


def test_a_text_that_no_column_can_hold_is_its_rows_error(place):
    (rows,) = ask(place, [["half one", "say whole \U0001f600"]], on_error="struct")

    assert [each["value"] for each in rows] == [None, "whole \U0001f600"]
    assert "is not Unicode" in rows[0]["error"]


@pytest.mark.parametrize("fields", [{"stop": {"a"}}, {"temperature": object()}])
@pytest.mark.parametrize("on_error", ["null", "struct"])
def test_a_fault_of_our_own_ends_the_job_and_is_no_rows_error(place, server, fields, on_error):
    """Such fields are refused before; whatever else cannot be sent must not look like bad answers."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        ask(place, [["a", "b"]], fields=fields, on_error=on_error)
    assert not server.seen
    assert not totals(place.folder).get("errors")


@pytest.mark.parametrize("blamed", ["top_k", "body.top_k", "body.top_k.0.int"])
def test_a_field_that_the_server_refuses_ends_the_job_and_is_no_rows_error(place, blamed):
    fields = {"top_k": -7, "blamed": blamed}

    with pytest.raises(ConfigurationError, match=r"the server refuses top_k=-7: HTTP 400: .* must be otherwise"):
        ask(place, [["a", "b"]], fields=fields, on_error="null")
    assert not totals(place.folder).get("errors")


@pytest.mark.parametrize(("blamed", "text"), [("prompt", "a"), ("top_k", "too long for so many tokens")])
def test_a_refusal_that_blames_the_row_is_the_rows_error(place, blamed, text):
    assert ask(place, [[text] * 2], fields={"top_k": 7, "blamed": blamed}, on_error="null") == [[None, None]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"timeout_s": "5"}, "timeout_s must be a number, more than 0 and finite; it is '5'"),
        ({"timeout_s": float("inf")}, "timeout_s must be a number"),
        ({"timeout_s": float("nan")}, "timeout_s must be a number"),
        ({"timeout_s": True}, "timeout_s must be a number"),
        ({"window": 0}, "window must be a number"),
        ({"window": 2.5}, "window must be a whole number of rows; it is 2.5"),
        ({"on_error": ["raise"]}, "on_error must be"),
    ],
)
def test_what_is_no_number_of_seconds_or_rows_is_refused_at_once(fields, words):
    with pytest.raises(ConfigurationError, match=words):
        request(**fields)


def test_an_answer_with_half_a_character_is_an_error_of_its_row(place):
    schema = {"type": "object", "properties": {"s": {"type": "string"}}}

    (rows,) = ask(place, [['say {"s": "\\ud800"}', 'say {"s": "\\ud83d\\ude00"}']], schema=schema, on_error="struct")

    broken, fine = map(json.loads, rows)
    assert broken["value"] is None
    assert "holds half of a character" in broken["error"]
    assert fine["value"] == {"s": "\U0001f600"}


def test_the_schema_is_sent_where_the_engine_enforces_it(place, server):
    ask(place, [['say {"n": 1}']], schema=SCHEMA, fields={"max_tokens": 5})

    assert server.seen[0]["body"]["structured_outputs"] == {"json": SCHEMA}
    assert server.seen[0]["body"]["max_tokens"] == 5


def test_a_key_is_sent_and_stays_out_of_the_questions_text(place, server):
    ask(place, [["a"]], key="secret")

    assert server.seen[0]["key"] == "Bearer secret"
    assert "secret" not in repr(request(key="secret"))
