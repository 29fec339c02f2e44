from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from server_utils.inference import executor_servers
from server_utils.inference.openai import connections
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.triton import connections as triton_connections
from server_utils.inference.triton.connections import Connection, Request
from server_utils.inference.triton.model import Model, Tensor
from server_utils.inference.worker_cache import WorkerCache
from server_utils.servers.launch import Launch
from server_utils.spark.executors import TaskPlacement

NUMBER = Tensor("x", np.dtype(np.float32), (1,))


def launched(name, number):
    return Launch("app", name, number, "none", (), ("http",), "/")


@pytest.fixture
def connection(monkeypatch, owner):
    """connection(name of the servers, number of their launch), in a Python worker that is new."""
    monkeypatch.setattr(executor_servers, "current_placement", lambda: TaskPlacement(owner, (), lambda _: []))
    monkeypatch.setattr(triton_connections, "_connections", WorkerCache(Connection.close))
    model = Model("double", (NUMBER,), (NUMBER,), max_batch_size=8)
    return lambda *which: triton_connections.worker_connection(
        Request(launched(*which), model, NUMBER, "raise", 5.0, 2, None)
    )


def limits_of(launch):
    return [each.limit for each in connections.connections(CompletionRequest(launch, Endpoint.CHAT, "tiny"))]


def test_connections_to_several_servers_are_kept_side_by_side(connection):
    first, other = connection("first", "1"), connection("other", "1")
    assert (connection("first", "1"), connection("other", "1")) == (first, other)
    assert first is not other


def test_a_connection_to_an_earlier_launch_of_the_same_servers_is_given_up(connection):
    earlier, other = connection("first", "1"), connection("other", "1")
    assert connection("first", "2") is not earlier
    with pytest.raises(RuntimeError, match="after shutdown"):
        earlier.threads.submit(print)
    assert connection("other", "1") is other


def test_what_was_learnt_of_one_server_survives_a_column_of_another(launch, owner, monkeypatch):
    monkeypatch.setattr(executor_servers, "current_placement", lambda: TaskPlacement(owner, (), lambda _: []))
    monkeypatch.setattr(connections, "_cache", WorkerCache())
    other = dataclasses.replace(launch, name="other", id="other")
    first, of_other = limits_of(launch), limits_of(other)
    assert limits_of(launch) == first
    assert limits_of(other) == of_other
    assert first != of_other
