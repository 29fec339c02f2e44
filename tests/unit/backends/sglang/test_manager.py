"""SGLang's command line: by the options of the locked release as a file, and by its own parser where that is there.

The file is what `python server_utils/backends/list_options.py sglang` prints in the sealed environment.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path

import pytest

from server_utils import ConfigurationError, SGLangServerManager
from server_utils.backends.engine_options import Option
from server_utils.backends.sglang.manager import OURS, command_line
from server_utils.environments import builder
from server_utils.environments.lock_files import engine_lock, pins
from server_utils.errors import EnvironmentMissingError, InferenceError
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.openai.row_errors import of_error
from server_utils.servers.launch import Launch

RECORDED = next(Path(__file__).parent.glob("options-*.json"))
VERSION = re.search(r"options-(.*)", RECORDED.stem)[1]
OPTIONS = [Option(**each) for each in json.loads(RECORDED.read_text())]
KNOWN = {name: option for option in OPTIONS for name in option.names}
GIVEN = {"max_model_len": 6600, "dtype": "bfloat16", "mem_fraction_static": 0.8, "trust_remote_code": True}
PARSE = """
import argparse, json, sys
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
print(json.dumps(vars(parser.parse_args(sys.argv[1:])), default=str))
"""


class Prepared(SGLangServerManager):
    """A manager that keeps its engine in place of starting it everywhere."""

    def _start_engine(self, engine, **kept):
        self._engine, self.kept = engine, kept


def filled(words):
    """The arguments of a server, as an executor fills them in."""
    values = {"{model}": "/models/qwen", "{port:http}": "31000", "{gpus}": "2"}
    assert list(words[:3]) == ["{python}", "-m", "sglang.launch_server"]
    return [values.get(word, word) for word in words[3:]]


def recorded_parser():
    """One that takes what the recorded one takes, and keeps each value under the option's longest name."""
    parser = argparse.ArgumentParser(add_help=False)
    for option in OPTIONS:
        shape = {"action": "store_true"} if option.flag else {"nargs": "+"} if option.many else {}
        choices = {"choices": option.choices} if option.choices else {}
        parser.add_argument(*option.names, dest=max(option.names, key=len), **shape, **choices)
    return parser


def own_parser(arguments):
    """What the engine's own parser makes of them. Skips where it is not there."""
    try:
        python = builder.find("sglang").python
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    asked = subprocess.run([python, "-I", "-c", PARSE, *arguments], capture_output=True, text=True, check=True)
    return json.loads(asked.stdout.splitlines()[-1])


def test_the_recorded_options_are_those_of_the_locked_release():
    assert pins(engine_lock("sglang", cpu=True))["sglang"] == {VERSION}
    assert len(OPTIONS) > 500


def test_the_command_line_is_one_that_the_engine_reads():
    parsed = vars(recorded_parser().parse_args(filled(command_line("qwen", GIVEN, KNOWN))))

    expected = {
        "--model-path": "/models/qwen",
        "--host": "127.0.0.1",
        "--port": "31000",
        "--served-model-name": "qwen",
        "--enable-metrics": True,
        "--context-length": "6600",
        "--dtype": "bfloat16",
        "--mem-fraction-static": "0.8",
        "--trust-remote-code": True,
        "--tensor-parallel-size": "2",
    }
    assert {name: value for name, value in parsed.items() if value not in (None, False)} == expected


def test_its_own_parser_reads_the_command_line_alike():
    parsed = own_parser(filled(command_line("qwen", GIVEN, KNOWN)))

    wanted = {"model_path": "/models/qwen", "host": "127.0.0.1", "port": 31000, "tp_size": 2, "context_length": 6600}
    assert {name: parsed[name] for name in wanted} == wanted
    assert (parsed["mem_fraction_static"], parsed["served_model_name"], parsed["enable_metrics"]) == (0.8, "qwen", True)


def test_a_server_spreads_its_model_over_its_gpus_unless_told_otherwise():
    assert command_line("m", {}, KNOWN)[-2:] == ("--tensor-parallel-size", "{gpus}")
    for name in ("tp_size", "tensor_parallel_size", "tp-size", "tp"):
        assert "{gpus}" not in command_line("m", {name: 1}, KNOWN)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"contxt_length": 1}, "SGLang has no option 'contxt_length'; did you mean context_length"),
        ({"xyz": 1}, "no option 'xyz'; `python -m sglang.launch_server --help` lists what it takes"),
        ({"dtype": "int3"}, "dtype must be one of auto, half, float16"),
        ({"enable_torch_compile": False}, "enable_torch_compile=False cannot be said"),
        ({"gpu_memory_utilization": 0.9}, "say mem_fraction_static"),
        ({"require_key": True}, "writes it into its log"),
        ({"host": "0.0.0.0"}, "servers listen on loopback only"),  # noqa: S104 - refused
        ({"data-parallel-size": 2}, "say replicas"),
        ({"dp": 2}, "say replicas"),
        ({"pp": 2}, "say tensor_parallel_size"),
        ({"ssl_keyfile_password": "x"}, "plain HTTP"),
        ({"max_model_len": 1, "context_length": 2}, "say one of them"),
    ],
)
def test_what_the_engine_would_refuse_or_open_is_refused_before_any_job(options, words):
    with pytest.raises(ConfigurationError) as caught:
        command_line("m", options, KNOWN)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["hos", "api", "data_parallel", "dist_init"])
def test_the_beginning_of_an_option_of_ours_is_refused_where_no_engine_can_be_asked(name):
    with pytest.raises(ConfigurationError, match=f"{name} cannot be chosen"):
        command_line("m", {name: "x"}, None)
    assert "--dtype" in command_line("m", {"dtype": "x"}, None)


def test_a_name_with_a_colon_is_refused_as_the_engine_does_not_start_with_it():
    with pytest.raises(ConfigurationError, match=r"no model name with a colon; it is 'qwen2\.5:7b'"):
        command_line("qwen2.5:7b", {}, KNOWN)


def test_a_stall_that_the_engines_metrics_cannot_show_is_refused():
    with pytest.raises(ConfigurationError, match="stall_timeout_s must be 60 or more"):
        Prepared("m", "/models/m").start_servers(stall_timeout_s=20)


def test_what_is_ours_is_an_option_of_the_engine_or_a_name_that_others_have():
    assert {name for name in OURS if f"--{name.replace('_', '-')}" not in KNOWN} == {
        "gpu_memory_utilization",
        "require_key",
    }


def test_a_secret_of_the_user_is_in_no_command_line_and_no_representation():
    servers = Prepared("m", "/models/m")
    servers.start_servers(env={"HF_TOKEN": "a-secret"})

    assert "a-secret" not in f"{servers._engine.words} {servers._engine!r}"
    assert servers._engine.launch(None, application="a", name="m", id="i", environment="sglang", model="/m").env[
        "HF_TOKEN"
    ] == ("a-secret")


@pytest.mark.parametrize(("embeds", "endpoint"), [(True, Endpoint.CHAT), (False, Endpoint.EMBED)])
def test_an_endpoint_that_servers_were_not_started_for_is_refused_before_a_job(embeds, endpoint):
    servers = Prepared("m", "/models/m")
    servers.start_servers(is_embedding=embeds or None)

    with pytest.raises(ConfigurationError, match=f"do not offer {endpoint.value}; start them with"):
        servers._check(endpoint, {}, {"fields": None})


def test_a_prompt_that_is_too_long_is_known_by_the_words_of_the_engine():
    launch = Launch("app", "m", "id", "sglang", (), ("http",), "/health")
    request = CompletionRequest(launch, Endpoint.GENERATE, "m", dialect=SGLangServerManager.dialect)
    error = InferenceError("HTTP 400: The input (900 tokens) is longer than the model's context length (512 tokens).")

    assert of_error(request, error).kind == "too_long"
