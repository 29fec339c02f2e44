"""What is filled in where a server starts, and what is not."""

from __future__ import annotations

import json
import string

import pytest

from server_utils.backends.vllm.command_line import command_line
from server_utils.backends.vllm.manager import engine
from server_utils.servers.launch import fill, literal

VALUES = {"python": "/bin/python", "model": "/models/{port:http}", "folder": "/f", "scratch": "/t", "port:http": 4711}
JINJA = "{% for m in messages %}{{ m['content'] }} {model} {{model}} {{{model}}}{% endfor %}{# {folder} #}"
TEXTS = [
    *(f"{{{word}}}" for word in (*VALUES, "gpus", "brace", "port:", "")),
    *("{{model}}", "{{{model}}}", "{brace}model}", "{brace}{brace}", "{", "}", "}{", "a}b{c", "", JINJA, "{{brace}}"),
    json.dumps({"a": {"b": "{model}"}}),
    string.printable,
]


def test_our_own_words_are_filled_in_wherever_they_stand():
    assert fill("{folder}/x:{port:http}{port:http}", VALUES) == "/f/x:47114711"


def test_a_value_that_holds_one_of_our_words_is_not_filled_in_again():
    assert fill("{model}", VALUES) == "/models/{port:http}"


def test_a_word_that_is_not_ours_stays_as_it_is():
    assert fill("{prompt} {{ x }} {port:other}", VALUES) == "{prompt} {{ x }} {port:other}"


@pytest.mark.parametrize("text", TEXTS)
def test_text_of_users_arrives_as_it_was_given(text):
    assert fill(literal(text), VALUES | {"gpus": 2}) == text
    assert fill(f"{{folder}}/{literal(text)}/{{model}}", VALUES) == f"/f/{text}//models/{{port:http}}"


@pytest.mark.parametrize("text", TEXTS)
def test_no_option_name_or_variable_of_vllm_is_taken_for_one_of_our_words(text, monkeypatch, tmp_path):
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path))  # no engine here: any option goes
    options = {"chat_template": text, "hf_overrides": {text: [text]}, "allowed_origins": [text], "seed": 1}

    started = engine(command_line(text, options), env={"VLLM_X": text})
    launch = started.launch(
        None, model="m", application="a", name=text, id="1", environment="vllm", files={}, start_timeout_s=1
    )

    words = [fill(part, VALUES | {"gpus": 1}) for part in launch.argv]
    assert words[words.index("--served-model-name") + 1] == text
    assert words[words.index("--chat-template") + 1] == text
    assert words[words.index("--allowed-origins") + 1] == text
    assert json.loads(words[words.index("--hf-overrides") + 1]) == {text: [text]}
    assert words[words.index("--model") + 1] == VALUES["model"]
    assert words[words.index("--port") + 1] == "4711"
    assert fill(launch.env["VLLM_X"], VALUES) == text
