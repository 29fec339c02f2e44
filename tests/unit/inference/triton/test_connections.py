from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import urllib3

from server_utils.inference.openai import connections
from server_utils.inference.openai.request import Question
from server_utils.inference.triton import connections as triton_connections
from server_utils.inference.triton.connections import Request
from server_utils.inference.triton.model import Model, Tensor
from server_utils.servers.launch import Launch
from server_utils.spark.executors import TaskPlacement

NUMBER = Tensor("x", np.dtype(np.float32), (1,))


def launched(name, number):
    return Launch("app", name, number, "none", (), ("http",), "/")


@pytest.fixture
def link(monkeypatch, owner):
    """link(name of the servers, number of their launch), in a Python worker that is new."""
    monkeypatch.setattr(triton_connections, "current_placement", lambda: TaskPlacement(owner, (), lambda _: []))
    monkeypatch.setattr(triton_connections, "_links", {})
    model = Model("double", (NUMBER,), (NUMBER,), max_batch_size=8)
    return lambda *which: triton_connections.link(Request(launched(*which), model, NUMBER, "raise", 5.0, 2, None))


def windows_of(launch):
    return [lane.window for lane in connections.lanes(Question(launch, "chat", "tiny"))]


def test_links_to_several_servers_are_kept_side_by_side(link):
    first, other = link("first", "1"), link("other", "1")
    assert (link("first", "1"), link("other", "1")) == (first, other)
    assert first is not other


def test_a_link_to_an_earlier_launch_of_the_same_servers_is_given_up(link):
    earlier, other = link("first", "1"), link("other", "1")
    assert link("first", "2") is not earlier
    with pytest.raises(RuntimeError, match="after shutdown"):
        earlier.threads.submit(print)
    assert link("other", "1") is other


def test_what_was_learnt_of_one_server_survives_a_column_of_another(launch, owner, monkeypatch):
    monkeypatch.setattr(connections, "current_placement", lambda: TaskPlacement(owner, (), lambda _: []))
    monkeypatch.setattr(connections, "_lanes", {})
    other = dataclasses.replace(launch, name="other", id="other")
    first, of_other = windows_of(launch), windows_of(other)
    assert windows_of(launch) == first
    assert windows_of(other) == of_other
    assert first != of_other


def test_a_server_that_a_task_starts_knows_of_that_very_task(monkeypatch, launch, owner):
    """One of the task that runs when it is started, not of the one that made the link."""
    monkeypatch.setattr(
        triton_connections,
        "current_placement",
        lambda: TaskPlacement(owner, (), lambda _: [], {"SPARK_SIDECAR_TASK": "this one"}),
    )
    server = triton_connections._server(launch)
    assert json.loads(urllib3.request("GET", server.url("http") + "/environ").data)["SPARK_SIDECAR_TASK"] == "this one"
