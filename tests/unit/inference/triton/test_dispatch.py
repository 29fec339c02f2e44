from __future__ import annotations

import threading
from concurrent import futures

import numpy as np
import pyarrow as pa
import pytest

from server_utils.errors import ConfigurationError, InferenceError
from server_utils.inference.request_counters import RequestCounters, totals
from server_utils.inference.triton import connections
from server_utils.inference.triton.connections import AdaptiveBatchSize, Connection, Request, next_limit
from server_utils.inference.triton.dispatch import answers, split_by_bytes, split_by_width
from server_utils.inference.triton.model import Model, Tensor
from server_utils.inference.worker_cache import WorkerCache
from server_utils.servers.launch import Launch

FLOATS = np.dtype(np.float32)


class DoublingClient:
    """Doubles numbers; refuses requests that hold a poisonous one; may be made to wait."""

    def __init__(self, poison=(), gate=None):
        self.poison, self.gate, self.requests = set(poison), gate, []

    def infer(self, inputs):
        rows = inputs[0]
        self.requests.append(rows[:, 0].tolist())
        if self.gate:
            self.gate(rows[0, 0])
        if self.poison & set(rows[:, 0].tolist()):
            raise InferenceError("the model does not like it")
        return [rows * 2]


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """ask(client, batches, **options): the answers of a model from one float to one float."""
    pools = []

    def run(client, columns, *, on_error="raise", window=2, batch_rows=4, max_batch_size=1000, answer=FLOATS):
        spec = Tensor("x", FLOATS, (1,))
        model = Model("double", (spec,), (Tensor("y", answer, (1,)),), max_batch_size)
        launch = Launch("app", "double", "id", "none", (), ("http",), "/")
        request = Request(launch, model, model.outputs[0], on_error, 5.0, window, batch_rows)
        pools.append(futures.ThreadPoolExecutor(window))
        made = Connection(client, pools[-1], request.batch_size(), RequestCounters(tmp_path))
        monkeypatch.setattr(connections, "_connect", lambda _: made)
        monkeypatch.setattr(connections, "_connections", WorkerCache())
        return answers(request, ([pa.array(column, pa.float32())] for column in columns))

    yield run
    for pool in pools:
        pool.shutdown()


def test_answers_come_in_the_order_of_the_rows_whatever_the_order_of_the_answers(ask):
    first_may_answer = threading.Event()

    def gate(first):
        if first == 0:
            assert first_may_answer.wait(10)
        elif first == 8:
            first_may_answer.set()

    columns = ask(DoublingClient(gate=gate), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
    assert [column.to_pylist() for column in columns] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


def test_the_next_batch_is_sent_while_the_first_is_awaited_and_memory_is_bounded(ask):
    read, may_answer = [], threading.Event()

    def rows():
        for number in range(20):
            read.append(number)
            if number == 2:
                may_answer.set()
            yield [float(number)]

    columns = ask(DoublingClient(gate=lambda _: may_answer.wait(10)), rows(), window=3)
    assert next(columns).to_pylist() == [0]
    assert 3 <= len(read) <= 6
    assert [value for column in columns for value in column.to_pylist()] == [2.0 * n for n in range(1, 20)]


def test_nulls_are_answered_with_null_and_never_sent(ask):
    client = DoublingClient()
    assert next(ask(client, [[1, None, 3]])).to_pylist() == [2, None, 6]
    assert client.requests == [[1, 3]]


def test_a_batch_of_nulls_sends_nothing_and_an_empty_batch_is_empty(ask):
    client = DoublingClient()
    assert [column.to_pylist() for column in ask(client, [[None, None], []])] == [[None, None], []]
    assert client.requests == []


def test_requests_hold_at_most_so_many_rows(ask):
    client = DoublingClient()
    list(ask(client, [list(range(10))], batch_rows=4))
    assert sorted(map(len, client.requests)) == [3, 3, 4]


def test_requests_grow_while_answers_are_quick(ask, monkeypatch):
    monkeypatch.setattr(connections, "_QUICK_S", 60.0)
    client = DoublingClient()
    list(ask(client, [[0] * 2000] * 3, batch_rows=None, max_batch_size=4096))
    assert sorted(map(len, client.requests)) == [1000, 1000, 2000, 2000]


def test_requests_of_a_slow_model_do_not_grow(ask, monkeypatch):
    monkeypatch.setattr(connections, "_QUICK_S", 0.0)
    client = DoublingClient()
    list(ask(client, [[0] * 2000] * 2, batch_rows=None, max_batch_size=4096))
    assert sorted(map(len, client.requests)) == [1000] * 4


def test_requests_never_hold_more_than_the_model_takes_or_the_user_said(ask, monkeypatch):
    monkeypatch.setattr(connections, "_QUICK_S", 60.0)
    for options in {"batch_rows": None, "max_batch_size": 1500}, {"batch_rows": 1500, "max_batch_size": 4096}:
        client = DoublingClient()
        list(ask(client, [[0] * 3000] * 4, **options))
        assert max(map(len, client.requests)) == 1500


def test_a_request_much_smaller_than_it_might_have_been_is_no_sign_of_a_quick_model():
    size = AdaptiveBatchSize(1024, 4096)
    size.record(512, 0.0)
    assert size.rows == 1024


def test_requests_shrink_again_when_rows_take_longer_but_not_below_where_they_began():
    size, seen = AdaptiveBatchSize(1024, 3000), []
    for seconds in (0.01, 0.01, 0.5, 5.0, 5.0, 5.0):
        size.record(size.rows, seconds)
        seen.append(size.rows)
    assert seen == [2048, 3000, 3000, 1500, 1024, 1024]


def test_a_refused_request_is_narrowed_to_the_row_to_blame(ask):
    with pytest.raises(InferenceError, match=r"row 12 of .*does not like it"):
        list(ask(DoublingClient(poison=[12]), [range(10), range(10, 20)], batch_rows=10))


def test_with_null_only_the_refused_rows_are_null(ask):
    columns = next(ask(DoublingClient(poison=[2, 7]), [range(8)], on_error="null", batch_rows=8))
    assert columns.to_pylist() == [0, 2, None, 6, 8, 10, 12, None]


def test_with_struct_every_row_says_what_happened(ask):
    columns = next(ask(DoublingClient(poison=[1]), [[0, 1, None]], on_error="struct")).to_pylist()
    assert columns[0] == {"value": 0, "error": None}
    assert columns[1]["value"] is None
    assert "does not like it" in columns[1]["error"]
    assert columns[2] == {"value": None, "error": None}


@pytest.mark.parametrize(
    ("options", "says"),
    [({"on_error": "skip"}, '"raise", "null"'), ({"window": 0}, "window must be"), ({"batch_rows": -1}, "batch_rows")],
)
def test_options_that_cannot_work_are_refused_at_once(ask, options, says):
    with pytest.raises((ConfigurationError, ValueError), match=says):
        ask(DoublingClient(), [[1]], **options)


class LoudClient:
    """Answers with bytes, of a row of 2 with such as are no text."""

    def infer(self, inputs):
        return [np.array([[b"\xff" if row[0] == 2 else b"fine"] for row in inputs[0]], dtype=object)]


def test_an_answer_that_the_column_cannot_hold_is_refused_by_its_row_and_counted_once(ask, tmp_path):
    columns = ask(LoudClient(), [[1, 2, None, 3]], on_error="struct", answer=np.dtype(object))

    rows = next(columns).to_pylist()
    assert [row["value"] for row in rows] == ["fine", None, None, "fine"]
    assert 'as_type="binary"' in rows[1]["error"]
    assert list(columns) == []
    assert totals(tmp_path) == {"rows": 3, "errors": {"refused": 1}}


def test_a_refused_row_fails_the_job_without_the_chain_of_errors_behind_it(ask):
    with pytest.raises(InferenceError) as raised:
        list(ask(DoublingClient(poison=[2]), [[1, 2]]))

    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_answered_rows_are_counted_and_so_are_refused_ones(ask, tmp_path):
    list(ask(DoublingClient(poison=[2]), [[0, 1, 2], [3, None]], on_error="null"))

    assert totals(tmp_path) == {"rows": 4, "errors": {"refused": 1}}


def lists_of(pieces):
    return [piece.tolist() for piece in pieces]


def test_rows_are_split_where_the_width_of_any_input_changes():
    numbers = np.array([0, 1, 3, 4, 5])
    widths = [np.array([2, 2, 9, 2, 2, 3]), np.array([1, 1, 9, 1, 4, 4])]
    assert lists_of(split_by_width(numbers, widths)) == [[0, 1, 3], [4], [5]]


def test_rows_are_split_before_they_hold_too_many_bytes():
    sizes = np.array([4, 4, 4, 50, 1, 1])
    assert lists_of(split_by_bytes(np.arange(6), sizes, 10)) == [[0, 1], [2], [3, 4, 5]]


def test_no_rows_and_one_row_are_one_piece():
    for numbers in np.array([], dtype=int), np.array([1]):
        assert lists_of(split_by_width(numbers, [np.array([3, 3])])) == [numbers.tolist()]
        assert lists_of(split_by_bytes(numbers, np.array([7, 7]), 10)) == [numbers.tolist()]


@pytest.mark.parametrize(
    ("rows", "seconds", "after"),
    [(64, 0.05, 128), (33, 0.05, 128), (32, 0.05, 64), (64, 0.5, 64), (64, 2.0, 32), (1, 2.0, 32)],
)
def test_the_next_batch_size_follows_the_last_answer(rows, seconds, after):
    assert next_limit(64, rows, seconds, least=16, most=1000) == after


def test_the_next_batch_size_stays_within_its_bounds():
    assert next_limit(600, 600, 0.0, least=16, most=1000) == 1000
    assert next_limit(20, 20, 9.0, least=16, most=1000) == 16
