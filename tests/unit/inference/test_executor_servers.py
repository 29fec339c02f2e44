"""Servers of an executor that tasks find or start, and the deadline of a request to them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import urllib3

from server_utils.errors import ServerUnavailableError
from server_utils.host.processes import ProcessId
from server_utils.inference import executor_servers
from server_utils.inference.executor_servers import RequestDeadline, ready_server, server_folder
from server_utils.servers.launch import Server
from server_utils.spark.executors import TaskPlacement


def test_a_server_that_a_task_starts_knows_of_that_very_task(monkeypatch, launch, owner):
    """One of the task that runs when it is started, not of the one that made the connection."""
    monkeypatch.setattr(
        executor_servers,
        "current_placement",
        lambda: TaskPlacement(owner, (), lambda _: [], {"SPARK_SIDECAR_TASK": "this one"}),
    )
    server = ready_server(launch)
    assert json.loads(urllib3.request("GET", server.url("http") + "/environ").data)["SPARK_SIDECAR_TASK"] == "this one"


def test_each_replica_has_a_server_and_a_folder_of_its_own(monkeypatch, launch, owner):
    monkeypatch.setattr(executor_servers, "current_placement", lambda: TaskPlacement(owner, (), lambda _: []))
    two = dataclasses.replace(launch, replicas=2)
    folders = [server_folder(two, replica) for replica in range(2)]
    servers = [ready_server(two, replica) for replica in range(2)]
    assert [folder / "server.log" for folder in folders] == [Path(server.log) for server in servers]
    assert servers[0].process != servers[1].process


def server(pid):
    me = ProcessId(1, 1)
    return Server("id", "llm", "host-1", me, me, process=ProcessId(pid, 1), log="/state/server.log")


def test_the_deadline_of_a_request_begins_anew_with_each_process_and_with_no_other():
    deadline = RequestDeadline(60)

    assert [deadline.begin(server(pid)) for pid in (7, 7, 8)] == [True, False, True]
    assert 0 < deadline.left_s <= 60
    deadline.pause(0.0, "it is busy")


def test_an_attempt_after_the_deadline_is_not_made_and_the_error_says_why_and_what_to_do():
    deadline = RequestDeadline(5)
    deadline.begin(server(7))

    with pytest.raises(
        ServerUnavailableError,
        match=r"server 'llm' on host-1 gave no answer within 5 s \(it is busy\); "
        "see its log /state/server.log, or allow more with timeout_s=",
    ):
        deadline.pause(6, "it is busy")
