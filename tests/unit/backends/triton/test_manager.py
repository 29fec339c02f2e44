"""The managers before they have a session: which environments they take."""

from __future__ import annotations

import pytest

from server_utils import TritonServerManager, VLLMServerManager
from server_utils.errors import ConfigurationError


@pytest.mark.parametrize("name", ["triton", "torch", "tf"])
def test_every_environment_with_triton_may_be_named(name):
    assert TritonServerManager("model", environment=name).environment == name
    assert TritonServerManager("model").environment == "triton"


@pytest.mark.parametrize("name", ["vllm", "tensorflow", ""])
def test_another_environment_is_refused_with_those_that_there_are(name):
    with pytest.raises(
        ConfigurationError, match=f"no environment with Triton is called '{name}'; choose one of triton, "
    ):
        TritonServerManager("model", environment=name)


def test_a_model_that_is_there_is_handed_on_by_its_absolute_path_and_any_other_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "models" / "minilm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for given, handed_on in (
        ("models/minilm", str(tmp_path / "models" / "minilm")),
        ("sentence-transformers/minilm", "sentence-transformers/minilm"),
        ("s3://bucket/minilm", "s3://bucket/minilm"),
        ("/no/such/folder", "/no/such/folder"),
        (None, None),
    ):
        assert TritonServerManager("model", given).model_path == handed_on


@pytest.mark.parametrize("name", ["vllm", "vllm-latest"])
def test_every_environment_with_vllm_may_be_named(name):
    assert VLLMServerManager("model", environment=name).environment == name
    assert VLLMServerManager("model").environment == "vllm"


def test_an_environment_without_vllm_is_refused_with_those_that_have_it():
    with pytest.raises(ConfigurationError, match="with vLLM is called 'torch'; choose one of vllm, vllm-latest"):
        VLLMServerManager("model", environment="torch")
