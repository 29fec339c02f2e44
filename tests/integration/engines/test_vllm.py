"""A real vLLM server without Spark: what it offers, who may reach it, and what happens to its processes."""

from __future__ import annotations

import json
import shutil
import signal
from concurrent import futures

import psutil
import pytest
import urllib3
from support import real_vllm
from support.fakes import contents, processes_of
from support.real_vllm import CONTEXT, Running

from server_utils.errors import ServerStartError
from server_utils.host.processes import ProcessId, wait_until
from server_utils.servers import state_dir
from server_utils.servers.launch import State

LONG = {"max_tokens": 200, "ignore_eos": True}  # answers that take a second and more
KEY = "a-key-of-this-test"
# Text of a user's that has words in braces.
TEMPLATE = "{# {port:http} #}{model} {folder} {% for m in messages %}{{ m['content'] }}{% endfor %} {{ '{gpus}' }}"


@pytest.fixture(scope="module")
def model():
    return real_vllm.model_folder()


@pytest.fixture
def running(owner, model):
    options = {"chat_template": TEMPLATE}
    server = Running(owner, model, key=KEY, hang_timeout_s=12, stall_s=8, max_restarts=9, options=options)
    server.ensure()
    yield server
    server.stop()


def post(server, path, body, key=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    return urllib3.request("POST", server.url("http") + path, body=json.dumps(body), headers=headers)


def hit(server, part, number):
    """A signal to a part of the server, in the middle of requests that are all answered in the end."""
    before = server.record()
    texts = [f"tell me of {number}" for number in range(80)]
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(server.ask, texts, fields=LONG)
        server.wait_until_busy()
        record, parts = server.record(), [ProcessId.of(part.pid) for part in server.processes()]
        own = {"program": record.process, "supervisor": record.supervisor}
        (own[part] if part in own else server.part(part)).signal(number)
        found = job.result(timeout=300)
    assert all(found)
    assert len(found) == len(texts)
    after = server.record()
    assert (after.state, after.restarts) == (State.READY, before.restarts + 1)
    assert after.reason
    assert wait_until(lambda: not any(part.alive() for part in parts), 30), parts


@pytest.mark.timeout(1800)  # seven starts of vLLM
def test_a_server_offers_listens_survives_and_stops_as_promised(running, state_root):
    """One server for many questions: it takes half a minute to start."""
    server = running.record()
    offered = server.models["tiny"]
    assert offered["max_model_len"] == CONTEXT
    assert offered["device"] == ("gpu" if shutil.which("nvidia-smi") else "cpu")
    assert {"max_tokens", "structured_outputs"} <= set(offered["fields"]["/v1/completions"])
    assert "/v1/embeddings" not in offered["fields"]

    # Reached on loopback, and with its key, which no command line and no file shows.
    listening = [each for p in running.processes() for each in p.net_connections("tcp") if each.status == "LISTEN"]
    assert {each.laddr.ip for each in listening} == {"127.0.0.1"}
    assert post(server, "/v1/completions", {"model": "tiny", "prompt": "x"}).status == 401
    assert post(server, "/v1/completions", {"model": "tiny", "prompt": "x"}, KEY).status == 200
    assert not [p for p in psutil.process_iter(["cmdline"]) if KEY in " ".join(p.info["cmdline"] or [])]

    check_that_text_of_users_reaches_the_engine_as_it_is(server)

    # One row in fifty is too long for the model: it alone has no answer, and says why.
    texts = ["word " * CONTEXT if number % 50 == 7 else f"number {number}" for number in range(200)]
    found = running.ask(texts, fields={"max_tokens": 4}, on_error="struct")
    assert [number for number, each in enumerate(found) if each["error"]] == [7, 57, 107, 157]
    assert "maximum context length is 512 tokens" in found[7]["error"]
    assert all(each["value"] is not None for number, each in enumerate(found) if number % 50 != 7)

    assert wait_until(lambda: state_dir.read_metrics(running.folder).get("tokens_out", 0) >= 196 * 4, 30)

    assert not files_with_the_key(state_root)

    for part, number in [
        ("EngineCore", signal.SIGKILL),  # the API server outlives it for seconds
        ("api_server", signal.SIGKILL),  # the engine outlives it for ever
        ("program", signal.SIGKILL),
        ("EngineCore", signal.SIGSTOP),  # health stays green
        ("api_server", signal.SIGSTOP),
        ("supervisor", signal.SIGKILL),  # whoever waits for answers starts another one, and brings the key
    ]:
        hit(running, part, number)
        assert not files_with_the_key(state_root)
    assert post(running.record(), "/v1/completions", {"model": "tiny", "prompt": "x"}).status == 401
    check_that_a_stop_in_the_middle_of_requests_leaves_no_process_and_nobody_waits_for_them(running, state_root)


def files_with_the_key(state_root):
    files = contents(state_root)
    assert {"launch.json", "record.json", "server.log", "metrics.json"} <= {path.name for path in files}
    return [path for path, content in files.items() if KEY.encode() in content]


def check_that_a_stop_in_the_middle_of_requests_leaves_no_process_and_nobody_waits_for_them(running, state_root):
    many = ["x"] * 2000  # minutes of work: it is still in the middle whenever this process has its turn
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(running.ask, many, fields=LONG, timeout_s=5)
        running.wait_until_busy()
        running.stop()

        assert not processes_of(state_root)
        with pytest.raises(Exception, match="was stopped"):
            job.result(timeout=60)
    assert not list(state_dir.scratch(running.folder).glob("*"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("architecture", "NoSuchModelForCausalLM"),
        ("weights", "safetensors"),
        ("memory", "memory"),
    ],
)
def test_a_start_that_fails_says_why(owner, model, tmp_path, damage, words):
    broken, options = tmp_path / "model", {}
    shutil.copytree(model, broken)
    if damage == "architecture":
        config = json.loads((broken / "config.json").read_text())
        (broken / "config.json").write_text(json.dumps(config | {"architectures": ["NoSuchModelForCausalLM"]}))
    elif damage == "weights":
        (broken / "model.safetensors").write_bytes(b"\x10" * 1000)
    else:
        options = {"kv_cache_memory_bytes": 1 << 50}

    with pytest.raises(ServerStartError) as caught:
        Running(owner, broken, options=options).ensure()

    assert "exited with status 1" in str(caught.value)
    assert words in str(caught.value)


def check_that_text_of_users_reaches_the_engine_as_it_is(server):
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "say {scratch}"}]}
    tokens = json.loads(post(server, "/tokenize", chat, KEY).data)["tokens"]
    said = json.loads(post(server, "/detokenize", {"model": "tiny", "tokens": tokens}, KEY).data)["prompt"]
    assert said == "{model} {folder} say {scratch} {gpus}"
