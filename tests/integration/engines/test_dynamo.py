"""A real Dynamo server without Spark: a frontend with mock engines for its life, and one with vLLM for its answers."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support import real_dynamo
from support.fakes import kill, processes_of
from support.real_dynamo import Running

from server_utils.backends.dynamo.manager import DIALECT, PROGRAM
from server_utils.environments import builder
from server_utils.host.processes import ProcessId, wait_until
from server_utils.servers.launch import State

BATCHED = 64  # tokens of a step: eight short rows fit
LONG = {"max_tokens": 40, "ignore_eos": True}  # a mock engine takes a second for it


@pytest.fixture(scope="module")
def model():
    return real_dynamo.model_folder()


@pytest.fixture
def start(owner, model):
    """Starts a server that ends with the test: start(engine, hang_timeout_s=8)."""
    started = []

    def make(engine, **fields):
        started.append(Running(fields.pop("owner", owner), model, engine, **fields))
        started[-1].ensure()
        return started[-1]

    yield make
    for server in started:
        server.stop()


def listening(server):
    return [each for part in server.processes() for each in part.net_connections("tcp") if each.status == "LISTEN"]


def hit(server, part, number):
    """A signal to a part of the server, in the middle of requests that are all answered in the end."""
    before = server.record()
    parts = [ProcessId.of(each.pid) for each in server.processes()]
    own = {"program": before.process, "supervisor": before.supervisor}
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(server.ask, [f"tell me of {number}" for number in range(64)], fields=LONG)
        (own[part] if part in own else server.parts(part)[0]).signal(number)
        rows = job.result(timeout=120)
    assert len(rows) == 64
    assert None not in rows
    assert wait_until(lambda: server.record().process not in (None, before.process), 60), server.record()
    after = server.ensure()
    assert after.state is State.READY
    assert wait_until(lambda: not any(each.alive() for each in parts), 30), parts
    return after


def test_a_server_is_reached_on_loopback_only_and_survives_the_death_of_each_process(start, state_root):
    """One server for many questions."""
    running = start(real_dynamo.mock_with_cores({"agg": 2}), hang_timeout_s=4)
    offered = running.record().models["tiny"]
    assert set(offered["fields"]) == {"/v1/completions", "/v1/chat/completions"}  # and no embeddings
    assert len(running.parts("mock_with_core")) == 2
    assert len(listening(running)) >= 3
    assert {each.laddr.ip for each in listening(running)} == {"127.0.0.1"}

    texts = ["a", None, "b" * 50, "c"] * 20
    rows = running.ask(texts, fields={"max_tokens": 3}, on_error="struct", details=True)
    assert [each["error"] for each in rows] == [None] * 80
    assert {each["completion_tokens"] for text, each in zip(texts, rows, strict=True) if text} == {3}
    assert all(each["value"] is None for text, each in zip(texts, rows, strict=True) if text is None)

    for part, number in [
        ("dynamo.frontend", signal.SIGKILL),
        ("mock_with_core", signal.SIGKILL),  # the frontend says 503, then 404, and that it is healthy
        ("EngineCore", signal.SIGKILL),  # the worker itself lives on for seconds
        ("program", signal.SIGKILL),
        ("dynamo.frontend", signal.SIGSTOP),
        ("mock_with_core", signal.SIGSTOP),  # everything else stays green
        ("EngineCore", signal.SIGSTOP),
        ("program", signal.SIGSTOP),
        ("supervisor", signal.SIGKILL),
    ]:
        hit(running, part, number)
    assert {each.laddr.ip for each in listening(running)} == {"127.0.0.1"}
    kill(running.owner)
    assert wait_until(lambda: not processes_of(state_root), 20)


def test_a_worker_that_dies_alone_is_replaced_while_its_requests_go_on_at_another(start):
    running = start(real_dynamo.mock({"agg": 2}, "--migration-limit", "2"))
    before, (first, second) = running.record(), running.parts("dynamo.mocker")
    with futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(running.ask, ["tell me"] * 64, fields=LONG)
        kill(first)
        assert None not in job.result(timeout=120)
    assert wait_until(lambda: len(running.parts("dynamo.mocker")) == 2, 30)
    after = running.record()
    assert (after.process, after.restarts) == (before.process, before.restarts)
    assert second.alive()

    # Two at once are no accident: a row may have killed both.
    assert wait_until(lambda: "all workers take requests again" in log(running), 30)
    for each in running.parts("dynamo.mocker"):
        each.signal(signal.SIGKILL)
    assert wait_until(lambda: running.record().restarts == before.restarts + 1, 30)
    assert None not in running.ask(["tell me"], fields=LONG)


def log(running):
    return (running.folder / "server.log").read_text(errors="replace")


class Green(BaseHTTPRequestHandler):
    """Says that all is well, whatever is asked."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()


def test_a_stranger_on_a_workers_status_port_is_noticed_and_another_port_is_taken(start, tmp_path):
    """The worker runs on without its status, and the stranger's would pass for it."""
    with futures.ThreadPoolExecutor(1) as pool:
        begun = pool.submit(start, real_dynamo.mock_on_taken_port(tmp_path), hang_timeout_s=8)
        assert wait_until((tmp_path / "wanted").exists, 60)
        taken = int((tmp_path / "wanted").read_text())
        with ThreadingHTTPServer(("127.0.0.1", taken), Green) as stranger:
            threading.Thread(target=stranger.serve_forever, daemon=True).start()
            (tmp_path / "taken").touch()
            try:
                running = begun.result(timeout=real_dynamo.START_S)
            finally:
                stranger.shutdown()
    assert f"port {taken}, chosen for the status of worker 0 (agg), belongs to another process" in log(running)
    assert None not in running.ask(["tell me"] * 4, fields=LONG)
    assert running.record().restarts == 0


def test_two_servers_on_one_host_know_their_own_workers_only(start, make_owner):
    one, other = (start(real_dynamo.mock({"agg": 1}), owner=make_owner()) for _ in range(2))
    assert one.record().ports != other.record().ports
    one.stop()
    assert None not in other.ask(["a"] * 8, fields=LONG)


def test_workers_for_prompts_and_for_answers_share_the_rows(start):
    running = start(real_dynamo.mock({"prefill": 1, "decode": 1}))
    assert len(running.parts("--disaggregation-mode prefill")) == 1
    assert len(running.parts("--disaggregation-mode decode")) == 1
    assert None not in running.ask(["tell me of the sea"] * 16, fields=LONG)


ROLES = """
import pathlib, sys
import deployment, worker
worker.replace_pictures()
from dynamo.vllm.args import parse_args
options = ["--model", sys.argv[1], "--served-model-name", "tiny"]
plan = deployment.Plan("dynamo.vllm", {"prefill": 1, "decode": 1}, [], options, events=True, gpus=["0", "1", "2", "3"])
for number, role in enumerate(plan.roles):
    read = parse_args([*options, *deployment.role_options(plan, role, number, pathlib.Path("/tmp/d"))])
    engine, mode = read.engine_args, read.disaggregation_mode.value
    print(mode, read.use_kv_events, engine.kv_transfer_config.kv_connector, engine.tensor_parallel_size)
"""


def test_the_engines_own_parser_takes_the_options_of_each_role(model, tmp_path):
    """What runs on GPUs only: the mock engines above know no hand-over of caches."""
    for name, content in real_dynamo.mock({"agg": 1}).files("tiny", DIALECT, PROGRAM).items():
        (tmp_path / name).write_bytes(content)
    command = [builder.find("dynamo").python, "-c", ROLES, model]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["prefill True NixlConnector 2", "decode True NixlConnector 2"]


@pytest.mark.slow
@pytest.mark.timeout(1200)  # the engine starts four times
def test_vllm_behind_a_frontend_answers_and_says_why_a_row_has_no_answer(start):
    """One server for all questions. The last one ends it three times."""
    given = {"max_num_batched_tokens": BATCHED}
    running = start(real_dynamo.vllm(given, {"agg": 1}, "--router-mode", "kv", events=True), hang_timeout_s=12)
    assert running.record().models["tiny"]["max_model_len"] == 512
    assert {each.laddr.ip for each in listening(running)} == {"127.0.0.1"}

    texts = ["word " * 512 if number == 7 else f"number {number}" for number in range(40)]
    rows = running.ask(texts, fields={"max_tokens": 4}, on_error="struct")
    assert [number for number, each in enumerate(rows) if each["error"]] == [7]
    assert "context_length" in rows[7]["error"]

    choice = running.ask(["is it good?"] * 4, fields={"guided_choice": ["good", "bad"], "max_tokens": 8})
    assert set(choice) <= {"good", "bad"}
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    typed = running.ask(
        ["is it good?"] * 4, schema=schema, fields={"max_tokens": 60, "temperature": 0}, on_error="struct"
    )
    # Random numbers may pad with blanks until the end: an answer is right, or says that it was cut.
    read = map(json.loads, typed)
    assert all((each["value"] and each["value"]["mood"]) or "was cut off" in each["error"] for each in read)

    # `seed` ends this engine on a CPU at a prompt of several steps: that row is found, the others are answered.
    before = running.record()
    texts = ["word " * 80 if number == 3 else f"number {number}" for number in range(8)]
    rows = running.ask(texts, fields={"max_tokens": 4, "seed": 1}, on_error="struct")
    assert [number for number, each in enumerate(rows) if each["error"]] == [3]
    assert all(each["value"] for number, each in enumerate(rows) if number != 3)
    assert running.record().restarts >= before.restarts + 2
