"""Who kills processes when memory runs out: named in the reason of a server that was killed."""

from __future__ import annotations

import signal

import pytest
from support.fakes import folder_of, wait_for_record

from server_utils.host import platform
from server_utils.servers.launch import State
from server_utils.servers.lifecycle import ensure


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "the kernel does this when memory runs out"),
        (
            {"CONTAINER_ID": "container_e01_1_0001_01_000002"},
            "the kernel and YARN's memory watch (`yarn logs`) do this when memory runs out",
        ),
        (
            {"CONTAINER_ID": "container_e01_1_0001_01_000002", "DATAPROC_VERSION": "2.3"},
            "the kernel, Dataproc's memory protection (google.dataproc.oom-killer in Cloud Logging) and YARN's memory",
        ),
    ],
)
def test_yarn_and_dataproc_are_named_where_they_are(monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert platform.what_kills().startswith(said)


def test_a_server_that_is_killed_in_a_container_of_yarn_says_so(launch, owner, monkeypatch):
    monkeypatch.setenv("CONTAINER_ID", "container_e01_1_0001_01_000002")
    server = ensure(launch, owner, timeout_s=30)

    server.process.signal(signal.SIGKILL)

    again = wait_for_record(folder_of(server), lambda now: now.restarts == 1 and now.state is State.READY)
    assert again.reason.startswith("was killed by SIGKILL (the kernel and YARN's memory watch (`yarn logs`) do this")
