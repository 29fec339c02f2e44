"""A model hub as a source: copied once, by huggingface-hub against a stand-in for the hub."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support.fake_hub import TOKEN, fake_hub, settings
from support.fakes import ROOT

from integration.storage.places import contents
from server_utils import ConfigurationError, local_model

FILES = {"config.json": b"{}", "onnx/model é.onnx": b"weights"}


@pytest.fixture(scope="module")
def hub():
    repositories = ("org/name", "org/gated", "datasets/org/name")
    with fake_hub(dict.fromkeys(repositories, FILES)) as address:
        yield address


def push(hub, source, url, **environ):
    """In a process of its own: the library reads its settings when it is imported."""
    code = "from integration.storage import loopback; from server_utils.cli.main import app; app()"
    return subprocess.run(
        [sys.executable, "-c", code, "models", "push", source, str(url)], capture_output=True, text=True, check=False,
        env=os.environ | settings(hub, f"{url}-home") | environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )  # fmt: skip


@pytest.mark.parametrize("source", ["hf://org/name", "hf://org/name@v1"])
def test_a_model_of_the_hub_is_copied_once(hub, tmp_path, source):
    done = push(hub, source, tmp_path / "m")
    assert done.returncode == 0, done.stderr
    assert contents(local_model(tmp_path / "m")) == FILES


@pytest.mark.parametrize(("files", "copied"), [("", {*FILES}), ("/onnx/*.onnx", {"onnx/model é.onnx"})])
def test_of_a_data_set_the_files_that_are_wanted_are_copied(hub, tmp_path, files, copied):
    done = push(hub, f"hf://datasets/org/name@v1{files}", tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert {*contents(local_model(tmp_path / "d"))} == copied


def test_files_that_a_data_set_lacks_are_one_error_that_names_them(hub, tmp_path):
    done = push(hub, "hf://datasets/org/name@v1/train/*.parquet", tmp_path / "d")
    assert done.returncode == 1
    assert "hf://datasets/org/name@v1/train/*.parquet has no such files: check the path" in done.stderr
    assert not (tmp_path / "d").exists()


def test_a_token_is_taken_from_the_environment_and_never_told(hub, tmp_path):
    done = push(hub, "hf://org/gated", tmp_path / "m", HF_TOKEN=TOKEN, SPARK_SIDECAR_DEBUG="1")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr


@pytest.mark.parametrize("source", ["hf://org/gated", "hf://org/nothing", "hf://datasets/org/nothing"])
def test_a_model_that_may_not_be_read_is_one_error_that_says_what_to_do(hub, tmp_path, source):
    done = push(hub, source, tmp_path / "m")
    assert done.returncode == 1
    assert "that may be read: check the name" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "m").exists()


def test_nodes_do_not_load_from_a_hub(tmp_path):
    with pytest.raises(ConfigurationError, match=r"is a source to copy from, once.*model_url\('name'\)"):
        local_model("hf://org/name")
