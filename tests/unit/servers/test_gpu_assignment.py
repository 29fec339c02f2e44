"""Which GPUs a server sees, and what its engine is told of them. nvidia-smi is a stand-in; the server is real."""

from __future__ import annotations

import dataclasses
import os

import pytest
from support.fakes import ask

from server_utils.errors import ConfigurationError
from server_utils.servers import gpu_assignment, lifecycle


@pytest.fixture
def host_with(monkeypatch, tmp_path):
    """Makes this a host with so many GPUs."""

    def make(count):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nseq 0 {count - 1}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    return make


def visible(launch, assigned=(), **fields):
    """What each server of the launch sees, by replica."""
    launch = dataclasses.replace(launch, **fields)
    environments = [gpu_assignment.environment(assigned, launch, replica) for replica in range(launch.replicas)]
    return [each.get("CUDA_VISIBLE_DEVICES") for each in environments]


def test_one_server_sees_what_spark_gave_its_executor(launch):
    assert visible(launch, ("4", "5")) == ["4,5"]
    assert visible(launch, ()) == [None]


def test_servers_of_one_executor_share_its_gpus_equally(launch):
    assert visible(launch, ("0", "1", "2", "3"), replicas=2) == ["0,1", "2,3"]
    assert visible(launch, ("6", "7"), replicas=2) == ["6", "7"]


def test_where_spark_knows_no_gpus_several_servers_share_those_of_the_host(launch, host_with):
    host_with(4)

    assert visible(launch, replicas=2) == ["0,1", "2,3"]


def test_without_any_gpu_servers_have_nothing_to_share(launch, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    assert visible(launch, replicas=3) == [None, None, None]


def test_a_task_that_was_given_a_share_of_one_gpu_starts_the_server_with_all_of_its_executors(launch, host_with):
    """A task of a job knows its own GPU only; where the executor has all of the host's, the server gets them all."""
    host_with(2)

    assert visible(launch, ("1",), gpus=2) == ["0,1"]


def test_a_task_on_a_host_of_several_executors_does_not_take_what_is_not_its_own(launch, host_with):
    host_with(8)

    assert visible(launch, ("1",), gpus=2) == ["1"]


@pytest.mark.parametrize("replicas", [2, 4])
def test_gpus_that_cannot_be_shared_equally_are_an_error(launch, replicas):
    with pytest.raises(ConfigurationError, match=f"{replicas} servers per executor cannot share 3 GPUs equally"):
        visible(launch, ("0", "1", "2"), replicas=replicas)


def test_a_server_is_told_how_many_gpus_it_sees(launch, owner):
    launch = dataclasses.replace(launch, env={"TENSOR_PARALLEL": "{gpus}"}, replicas=2)
    try:
        for replica, devices in enumerate(["0,1,2,3", "4,5,6,7"]):
            environ = gpu_assignment.environment([str(number) for number in range(8)], launch, replica)
            server = lifecycle.ensure(launch, owner, timeout_s=30, replica=replica, environ=environ)
            seen = ask(server, "/environ")
            assert (seen["CUDA_VISIBLE_DEVICES"], seen["TENSOR_PARALLEL"]) == (devices, "4")
            assert server.key.endswith("#1") == bool(replica)
    finally:
        for replica in range(2):
            lifecycle.stop(lifecycle.state_dir.folder(launch.application, launch.name, owner, replica))
