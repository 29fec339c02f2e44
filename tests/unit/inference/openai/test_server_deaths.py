"""Rows that a server dies of, on real processes: each costs three of its lives, and nobody else an answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import urllib.request
from concurrent import futures

import pyarrow as pa
import pytest
from support.fakes import ROOT, kill, wait_for_record

from server_utils.backends.vllm.manager import DIALECT
from server_utils.errors import InferenceError
from server_utils.host.processes import wait_until
from server_utils.inference import request_counters
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.columns import arrow_column
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.request_counters import totals
from server_utils.servers import lifecycle, state_dir
from server_utils.servers.launch import State

PROGRAM = (ROOT / "tests" / "support" / "fake_openai.py").read_bytes()
DIED = "the server died while it answered this row and no other, and twice before"


class Running:
    """A server that dies of some prompts, and its supervisor."""

    def __init__(self, launch, owner):
        self.launch, self.owner = launch, owner
        self.folder = self.locate().folder

    def locate(self):
        return lifecycle.ensure(self.launch, self.owner, timeout_s=30)

    def ask(self, texts, **fields):
        """As one task of many does it."""
        request = CompletionRequest(
            **{
                "launch": self.launch,
                "endpoint": Endpoint.GENERATE,
                "model": "m",
                "timeout_s": 20.0,
                "dialect": DIALECT,
            }
            | fields
        )
        client = OpenAIClient(self.locate, timeout_s=request.timeout_s)
        connections = [Connection(client, ConcurrencyLimit(self.folder, DIALECT), request_counters.of(self.folder))]
        (column,) = answers(request, connections, iter([pa.array(texts, pa.string())]), arrow_column)
        return column.to_pylist()

    def wait_until_it_has(self, rows):
        assert wait_until(lambda: sum(seen["rows"] for seen in self.get("/")["seen"]) >= rows, 30)

    def kill_once_it_has(self, rows):
        server = self.locate()
        self.wait_until_it_has(rows)
        kill(server.process)
        wait_for_record(self.folder, lambda now: now.state is State.READY and now.process != server.process)

    def get(self, path):
        port = state_dir.read(self.folder).ports["http"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return json.loads(answer.read())


@pytest.fixture
def running(make_launch, owner):
    argv = ("{python}", "{folder}/program.py", "{port:http}")
    server = Running(make_launch(argv=argv, files={"program.py": PROGRAM}), owner)
    yield server
    lifecycle.stop(server.folder)


def test_a_row_that_the_server_dies_of_is_an_error_and_all_others_of_all_tasks_are_answered(running):
    """A task that has no such row asks at the same time: its rows are in flight at every death but those of others."""
    with futures.ThreadPoolExecutor(2) as pool:
        innocent = pool.submit(running.ask, ["hold"] * 20)
        running.wait_until_it_has(20)
        guilty = pool.submit(running.ask, ["a"] * 40 + ["die"] + ["b"] * 40, on_error="struct")

        def all_are_answered():
            if state_dir.read(running.folder).restarts > 1:  # until then none of the held rows has its answer
                with contextlib.suppress(OSError, http.client.HTTPException):  # it may die while it answers this
                    running.get("/open")
            return innocent.done() and guilty.done()

        assert wait_until(all_are_answered, 60)
    assert innocent.result() == ["HOLD"] * 20
    assert [each["value"] for each in guilty.result()] == ["A"] * 40 + [None] + ["B"] * 40
    assert guilty.result()[40]["error"] == DIED
    server = running.locate()
    assert (server.restarts, totals(running.folder)["errors"]) == (3, {"died": 1})


def test_a_row_that_the_server_dies_of_ends_the_job_by_its_number_where_one_wants_that(running):
    with pytest.raises(InferenceError, match=f"row 2 of the input: {DIED}"):
        running.ask(["a", "b", "die"])
    assert running.ask(["a"]) == ["A"]


def test_rows_that_are_in_flight_when_a_server_is_killed_twice_are_asked_alone_and_answered(running):
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(running.ask, ["hold a", "hold b", "hold c", "hold d"])
        for _ in range(2):
            running.kill_once_it_has(4)
        assert wait_until(lambda: running.get("/")["seen"], 30)
        assert [seen["rows"] for seen in running.get("/")["seen"]] == [1]
        running.get("/open")

        assert job.result(60) == ["HOLD A", "HOLD B", "HOLD C", "HOLD D"]
    assert running.get("/")["most"] == 1
