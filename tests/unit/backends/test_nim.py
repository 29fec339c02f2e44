"""NIM: the series of an image, the words of its container, and what is refused before anything starts."""

from __future__ import annotations

import pytest

from server_utils import ConfigurationError, NIMServerManager
from server_utils.backends.nim import manager as nim
from server_utils.inference.openai.dialect import SchemaField
from server_utils.servers.launch import fill

IMAGE = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4"


class Prepared(NIMServerManager):
    """A manager that keeps its engine in place of starting it everywhere."""

    def _start_engine(self, engine, **kept):
        self.engine, self.kept = engine, kept


@pytest.mark.parametrize(
    ("tag", "series", "field"),
    [
        ("1.8.4", 1, SchemaField.NVEXT),
        ("2.0.10-variant", 2, SchemaField.STRUCTURED_OUTPUTS),
        ("v3", 3, SchemaField.STRUCTURED_OUTPUTS),
    ],
)
def test_the_tag_tells_the_series_and_the_series_where_a_schema_goes(tag, series, field):
    servers = NIMServerManager("llama", image=f"registry.example:5000/nim/llama:{tag}")

    assert (servers.series, servers.dialect.schema_field) == (series, field)


@pytest.mark.parametrize("image", ["nim/llama", "nim/llama:latest", "registry.example:5000/nim/llama", "nim/l:4.0"])
def test_an_image_whose_tag_tells_no_series_asks_for_it(image):
    with pytest.raises(ConfigurationError, match=r"series of a NIM must be 1, 2 or 3.*say series=2"):
        NIMServerManager("llama", image=image)
    assert NIMServerManager("llama", image=image, series=2).dialect == nim.DIALECT


def test_secrets_are_named_in_the_command_and_their_values_are_not():
    servers = Prepared("llama", image=IMAGE)

    servers.start_servers(env={"NGC_API_KEY": "a-secret"}, max_model_len=4096, container_options=["--user", "0"])

    words = list(servers.engine.words)
    assert words[words.index("NGC_API_KEY") - 1] == "--env"
    assert "a-secret" not in " ".join(words)
    assert "a-secret" not in repr(servers.engine)
    assert words[-3:] == ["--user", "0", "--"]
    assert servers.engine.env["NIM_MAX_MODEL_LEN"] == "4096"


def test_a_model_is_mounted_read_only_and_a_name_of_a_hub_is_refused(tmp_path):
    servers = Prepared("qwen", tmp_path, image="nvcr.io/nim/nvidia/llm-nim:2.1.6")
    servers.start_servers()

    assert "type=bind,source={model},target=/model,readonly" in servers.engine.words
    assert servers.engine.env["NIM_MODEL_PATH"] == "/model"
    with pytest.raises(ConfigurationError, match=r'say "hf://Qwen/Qwen2.5-7B-Instruct"'):
        NIMServerManager("qwen", "Qwen/Qwen2.5-7B-Instruct", image="nvcr.io/nim/nvidia/llm-nim:2.1.6")


def test_options_of_the_engine_are_refused_for_series_1_and_unknown_container_engines_always():
    with pytest.raises(ConfigurationError, match=r"series 1 takes no options of its engine \(enforce_eager\)"):
        Prepared("llama", image=IMAGE).start_servers(enforce_eager=True)
    with pytest.raises(ConfigurationError, match="container_engine must be docker or podman; it is 'lxc'"):
        Prepared("llama", image=IMAGE).start_servers(container_engine="lxc")


def test_mappings_and_lists_reach_the_engine_of_an_image_as_they_are():
    servers = Prepared("qwen", image="nvcr.io/nim/nvidia/llm-nim:2.1.6")

    servers.start_servers(hf_overrides={"a": 1}, lora_modules=["b", "c"], enforce_eager=True)

    passed_through = fill(servers.engine.env["NIM_PASSTHROUGH_ARGS"], {"model": "/m"})
    assert passed_through == "--hf-overrides '{\"a\": 1}' --lora-modules b --lora-modules c --enforce-eager"


@pytest.mark.parametrize("option", ["--network=host", "-p", "-p8000:8000", "--pid=host", "--rm"])
def test_options_that_open_the_container_or_keep_it_are_refused(option):
    with pytest.raises(ConfigurationError, match=f"container_options cannot hold {option}"):
        Prepared("llama", image=IMAGE).start_servers(container_options=[option, "8000:8000"])


def test_variables_that_are_ours_are_refused():
    with pytest.raises(ConfigurationError, match="env cannot hold NIM_SERVER_PORT"):
        Prepared("llama", image=IMAGE).start_servers(env={"NIM_SERVER_PORT": "9000"})


def test_a_digest_tells_no_series():
    with pytest.raises(ConfigurationError, match="say series=2"):
        NIMServerManager("llama", image="nim/llama@sha256:3d9f")
    assert NIMServerManager("llama", image="nim/llama:1.8.4@sha256:3d9f").series == 1


def test_on_databricks_it_says_what_to_use_instead(monkeypatch):
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")

    with pytest.raises(ConfigurationError, match=r"Databricks has no container engine.*Use VLLMServerManager"):
        Prepared("llama", image=IMAGE).start_servers()
