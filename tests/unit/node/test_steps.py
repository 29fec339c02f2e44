"""Steps of a node that need no init script: what is refused before anything is installed, and where executors run."""

from __future__ import annotations

import os

import pytest

from server_utils.node import __main__ as program
from server_utils.node import steps
from server_utils.node.node import Node, StepError


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A machine whose nvidia-smi says this: driver("0, NVIDIA L4, 23034, 580.95.05, 8.9")."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def stand_in(said, status=0):
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n")
        tool.chmod(0o755)

    return stand_in


def node(tmp_path, framework="vllm-latest", **fields):
    return Node(framework, tmp_path, tmp_path, "", **fields)


def test_a_driver_that_is_too_old_is_refused_before_gigabytes_are_installed(driver, tmp_path):
    driver("0, NVIDIA A10G, 23028, 535.161.07, 8.6")
    with pytest.raises(StepError) as caught:
        steps.gpu(node(tmp_path))
    assert str(caught.value) == (
        "vllm-latest is built for CUDA 13, which needs driver 580.65.06 or newer; this node has 535.161.07. Take a "
        "runtime or image with a newer driver, or a framework for an older CUDA (tf, torch, transformers, "
        "triton, vllm)"
    )
    steps.gpu(node(tmp_path, "vllm"))  # CUDA 12


def test_a_driver_that_is_new_enough_is_fine(driver, tmp_path):
    driver("0, NVIDIA L4, 23034, 580.95.05, 8.9")
    steps.gpu(node(tmp_path))


def test_a_node_without_executors_is_not_asked_for_a_gpu(driver, tmp_path):
    driver("No devices were found", status=6)
    steps.gpu(node(tmp_path, serves=False))


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (1, "Secure Boot is on, and refuses drivers that are not signed: make the cluster without Secure Boot"),
        (0, "take a node type with a GPU"),
        (None, "take a node type with a GPU"),
    ],
)
def test_a_driver_without_an_answer_comes_with_what_to_do(driver, tmp_path, monkeypatch, last, said):
    driver("NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver", status=9)
    monkeypatch.setattr(steps, "_FIRMWARE", tmp_path)
    if last is not None:
        (tmp_path / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").write_bytes(bytes([6, 0, 0, 0, last]))
    with pytest.raises(StepError, match=f"no GPU answers: nvidia-smi ended 9 .*; {said}$"):
        steps.gpu(node(tmp_path))


@pytest.mark.parametrize(
    ("options", "serves"),
    [
        (["--role", "Worker", "--workers", "2"], True),
        (["--role", "Master", "--workers", "2"], False),
        (["--role", "Master", "--workers", "0"], True),
        (["--driver", "FALSE", "--workers", "2"], True),
        (["--driver", "TRUE", "--workers", "2"], False),
        (["--driver", "TRUE", "--workers", "0"], True),
        (["--driver", "TRUE", "--workers", ""], True),  # nobody says whether there are workers
        (["--driver", "TRUE", "--workers", "2", "--into-spark", "yes"], True),
    ],
)
def test_a_master_or_driver_serves_where_it_does_the_workers_work(options, serves):
    assert program._parse(["vllm", "--bundle", "/b", *options]).serves is serves
