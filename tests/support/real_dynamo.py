"""Real Dynamo without Spark: a frontend with mock engines, which start in seconds, or with vLLM on a tiny model."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from server_utils.backends.dynamo.manager import DIALECT, PROGRAM, engine, worker_options
from server_utils.environments import builder
from server_utils.errors import EnvironmentMissingError
from server_utils.host.processes import ProcessId
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.columns import arrow_column
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.request_counters import RequestCounters
from server_utils.servers import lifecycle, state_dir
from support import real_vllm
from support.fakes import command_of
from support.mock_on_taken_port import FOLDER

START_S = 300
# Tokens come as fast as from a small model, so that a request takes seconds if a test wants it to.
CORE, TAKEN_PORT = (Path(__file__).with_name(f"{name}.py") for name in ("mock_with_core", "mock_on_taken_port"))
MOCK = ("--model-path", "{model}", "--model-name", "tiny", "--speedup-ratio", "1")


def model_folder():
    """The tiny model. Skips where there is no environment `dynamo`."""
    try:
        builder.find("dynamo")
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    return real_vllm.model_folder(environment="dynamo")


def mock(roles, *frontend):
    """A server whose workers only pretend to compute."""
    return engine(MOCK, roles=roles, frontend=frontend, module="dynamo.mocker")


def mock_with_cores(roles):
    """The same, and each worker has a process below it that stands for vLLM's EngineCore."""
    made = engine(MOCK, roles=roles, module=CORE.stem)
    return replace(made, modules=(*made.modules, CORE))


def mock_on_taken_port(folder):
    """The same, and the status port of its worker is said in a folder, for a test that takes it."""
    made = engine(MOCK, roles={"agg": 1}, module=TAKEN_PORT.stem)
    return replace(made, modules=(*made.modules, TAKEN_PORT), user_env={FOLDER: str(folder)})


def vllm(options, roles, *frontend, **fields):
    """A server whose workers run vLLM."""
    given = {"max_model_len": real_vllm.CONTEXT, "max_num_seqs": 8} | options
    return engine(worker_options("tiny", given), roles=roles, frontend=frontend, **fields)


class Running:
    """One server of it, owned by a process that a test makes."""

    def __init__(self, owner, model, started, *, replica=0, **fields):
        self.owner, self.replica = owner, replica
        self.launch = started.launch(
            None,
            **{
                "application": "test",
                "name": "tiny",
                "id": uuid.uuid4().hex,
                "environment": "dynamo",
                "files": started.files("tiny", DIALECT, PROGRAM),
                "model": str(model),
                "start_timeout_s": START_S,
                "stop_grace_s": 5,
                "max_restarts": 99,
            }
            | fields,
        )

    def ensure(self):
        return lifecycle.ensure(self.launch, self.owner, timeout_s=START_S, replica=self.replica)

    @property
    def folder(self):
        return self.ensure().folder

    def record(self):
        return state_dir.read(state_dir.folder("test", "tiny", self.owner))

    def ask(self, texts, **fields):
        """The answers to texts, as the column functions get them."""
        import pyarrow as pa

        given = {"launch": self.launch, "endpoint": Endpoint.GENERATE, "model": "tiny", "dialect": DIALECT} | fields
        request = CompletionRequest(**given)
        client = OpenAIClient(self.ensure, timeout_s=request.timeout_s, dialect=DIALECT)
        folder = self.folder
        connections = [Connection(client, ConcurrencyLimit(folder, DIALECT), RequestCounters(folder))]
        columns = answers(request, connections, iter([pa.array(texts, pa.string())]), arrow_column)
        return next(columns).to_pylist()

    def processes(self):
        """The processes of the server, the program first."""
        leader = psutil.Process(self.record().process.pid)
        return [leader, *leader.children(recursive=True)]

    def parts(self, word):
        """Those with a word in their command line."""
        return [ProcessId.of(each.pid) for each in self.processes()[1:] if word in " ".join(command_of(each))]

    def stop(self):
        lifecycle.stop(state_dir.folder("test", "tiny", self.owner))
