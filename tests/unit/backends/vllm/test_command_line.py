"""vLLM's command line from keyword arguments: by a table of the engine's, and by the real engine where it is there."""

from __future__ import annotations

import sys
import warnings

import pytest

from server_utils.backends import engine_options
from server_utils.backends.engine_options import Option
from server_utils.backends.vllm.command_line import arguments
from server_utils.backends.vllm.manager import check, engine
from server_utils.environments import builder
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.inference.openai.request import Endpoint


def known_of(**names):
    """Options by their shape: a value, a flag (with its negation), or many values."""
    options = {}
    for name, shape in names.items():
        option = f"--{name.replace('_', '-')}"
        every = (option, f"--no-{option[2:]}") if shape == "switch" else (option,)
        choices = tuple(shape) if isinstance(shape, list) else ()
        described = Option(every, shape in ("switch", "flag"), shape == "many", choices)
        options |= dict.fromkeys(every, described)
    return options


KNOWN = known_of(
    max_model_len="value",
    enable_prefix_caching="switch",
    enforce_eager="flag",
    served_model_name="many",
    allowed_origins="many",
    middleware="value",
    hf_overrides="value",
    runner=["auto", "generate", "pooling"],
    convert="value",
    structured_outputs_config="value",
    pooler_config="value",
)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_model_len": 6600}, ["--max-model-len", "6600"]),
        ({"max-model-len": 6600}, ["--max-model-len", "6600"]),
        ({"enable_prefix_caching": True}, ["--enable-prefix-caching"]),
        ({"enable_prefix_caching": False}, ["--no-enable-prefix-caching"]),
        ({"enforce_eager": True}, ["--enforce-eager"]),
        ({"hf_overrides": {"a": {"b": [1, None]}}}, ["--hf-overrides", '{"a": {"b": [1, null]}}']),
        ({"allowed_origins": ["a", "b"]}, ["--allowed-origins", "a", "b"]),
        ({"middleware": ["a", "b"]}, ["--middleware", "a", "--middleware", "b"]),
        ({"max_model_len": None}, []),
        ({}, []),
    ],
)
def test_values_become_the_words_that_the_engine_reads(options, words):
    assert arguments(options, KNOWN) == words


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "generate"}, ["--runner", "generate"]),
        ({"task": "embed"}, ["--runner", "pooling", "--convert", "embed"]),
        ({"guided_decoding_backend": "xgrammar"}, ["--structured-outputs-config", '{"backend": "xgrammar"}']),
        ({"rope_scaling": {"factor": 2}}, ["--hf-overrides", '{"rope_scaling": {"factor": 2}}']),
        ({"override_pooler_config": {"a": 1}}, ["--pooler-config", '{"a": 1}']),
        ({"disable_log_requests": True}, []),
        ({"swap_space": 4}, []),
    ],
)
def test_options_of_older_releases_are_translated_with_a_warning(options, words):
    with pytest.warns(UserWarning, match=next(iter(options))):
        assert arguments(options, KNOWN) == words


def test_an_old_name_that_this_engine_still_knows_is_left_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert arguments({"task": "generate"}, known_of(task="value")) == ["--task", "generate"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_modle_len": 1}, "no option 'max_modle_len'; did you mean max_model_len"),
        ({"xyz": 1}, "no option 'xyz'; `vllm serve --help`"),
        ({"host": "0.0.0.0"}, "host cannot be chosen: servers listen on loopback only"),  # noqa: S104 - refused
        ({"served-model-name": "x"}, "served_model_name cannot be chosen"),
        ({"api_key": "secret"}, "say require_key=True"),
        ({"enforce_eager": False}, "enforce_eager=False cannot be said"),
        ({"max_model_len": True}, "max_model_len takes a value, not True"),
        ({"runner": "generates"}, "runner must be one of auto, generate, pooling; it is 'generates'"),
        ({"task": "sing"}, "task must be one of"),
    ],
)
def test_what_the_engine_would_refuse_is_refused_before_any_job(options, words):
    with pytest.raises(ConfigurationError) as caught:
        arguments(options, KNOWN)
    assert words in str(caught.value)


def test_a_field_that_ends_the_engine_on_a_cpu_is_refused_there_only():
    check(Endpoint.GENERATE, {"seed": 1}, {"/v1/completions": ["seed"]}, device="gpu")
    with pytest.raises(ConfigurationError, match=r"seed ends the engine of vLLM 0\.32 on a CPU"):
        check(Endpoint.GENERATE, {"seed": 1}, {"/v1/completions": ["seed"]}, device="cpu")


def test_no_secret_is_in_a_refusal():
    with pytest.raises(ConfigurationError) as caught:
        arguments({"api_key": "hunter2"}, KNOWN)
    assert "hunter2" not in str(caught.value)


@pytest.fixture(scope="module")
def real():
    try:
        builder.find("vllm")
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    return engine_options.engine_options("vllm", engine="vLLM")


def test_the_real_engines_parser_answers_with_hundreds_of_options(real):
    assert len(real) > 300
    assert arguments({"max_model_len": 512, "enable_prefix_caching": False, "dtype": "auto"}, real) == [
        "--max-model-len", "512", "--no-enable-prefix-caching", "--dtype", "auto",
    ]  # fmt: skip


def test_every_translation_leads_to_an_option_that_the_real_engine_has(real):
    old = {"task": "embed", "guided_decoding_backend": "auto", "rope_scaling": {}, "override_pooler_config": {}}
    with pytest.warns(UserWarning, match="any more"):
        assert arguments(old, real)


def test_without_an_engine_on_this_machine_options_go_through_unchecked(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))

    assert engine_options.engine_options("vllm", engine="vLLM") is None
    assert arguments({"anything": 1, "off": False}, None) == ["--anything", "1", "--no-off"]


OPTIONS = '[{"names": ["--max-model-len"], "flag": false, "many": false, "choices": []}]'
STAND_IN = """#!/bin/sh
case "$2" in
  */list_options.py) echo x >> {asked}; echo '{options}' ;;
  *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """One whose vLLM counts how often it is asked."""
    python = tmp_path / "home" / "envs" / "vllm" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(STAND_IN.format(options=OPTIONS, asked=tmp_path / "asked", python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_options_of_an_engine_are_asked_for_once_and_kept(home, tmp_path):
    for _ in range(2):
        engine_options._described.cache_clear()  # as another process
        assert set(engine_options.engine_options("vllm", engine="vLLM")) == {"--max-model-len"}

    assert (tmp_path / "asked").read_text() == "x\n"
    assert [file.suffix for file in (home / "cache").iterdir()] == [".json"]


def test_options_are_checked_in_a_home_that_cannot_be_written_too_and_asked_for_once(home, tmp_path):
    (home / "cache").write_text("no folder")

    for _ in range(2):
        known = engine_options.engine_options("vllm", engine="vLLM")
        with pytest.raises(ConfigurationError, match="did you mean max_model_len"):
            arguments({"max_model_length": 1}, known)

    assert (tmp_path / "asked").read_text() == "x\n"


@pytest.mark.parametrize("content", ["", "[{", "{}", "[1]", '[{"names": 1}]'])
def test_a_file_of_options_that_was_cut_short_is_made_anew(home, content):
    engine_options.engine_options("vllm", engine="vLLM")
    (kept,) = (home / "cache").iterdir()
    kept.write_text(content)
    engine_options._described.cache_clear()

    assert set(engine_options.engine_options("vllm", engine="vLLM")) == {"--max-model-len"}
    assert kept.read_text().startswith("[{")


def test_the_first_server_of_a_host_has_the_port_that_a_published_notebook_asks():
    launched = engine(()).launch(None, application="a", name="m", id="i", environment="vllm", model="m")
    assert launched.preferred_ports == {"http": 7000}
