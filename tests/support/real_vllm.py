"""Real vLLM on a model of random numbers: where it comes from, and how a test without Spark has a server of it."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from pathlib import Path

import psutil
import pytest

from server_utils.backends.vllm.command_line import command_line
from server_utils.backends.vllm.manager import DIALECT, PROGRAM, engine
from server_utils.environments import builder
from server_utils.errors import EnvironmentMissingError
from server_utils.host.files import exclusive_lock
from server_utils.host.processes import ProcessId, wait_until
from server_utils.inference.openai.client import OpenAIClient
from server_utils.inference.openai.columns import arrow_column
from server_utils.inference.openai.concurrency_limit import ConcurrencyLimit
from server_utils.inference.openai.connections import Connection
from server_utils.inference.openai.dispatch import answers
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.request_counters import RequestCounters
from server_utils.servers import lifecycle, state_dir
from server_utils.servers import lifecycle as servers_stop
from support.fakes import command_of

CONTEXT = 512
START_S = 300


def model_folder(maker="tiny_llm", environment="vllm"):
    """The tiny model of a maker, made once per user and version of it. Skips where there is no such environment.

    Its folder has a name that vLLM, which looks for weights by a pattern, would take for one.
    """
    program = Path(__file__).with_name(f"{maker}.py")
    try:
        python = builder.find(environment).python
    except EnvironmentMissingError as missing:
        pytest.skip(str(missing))
    name = f"{maker.replace('_', '-')}[1] 50%20-{os.getuid()}-{program.stat().st_mtime_ns}"
    folder = Path(tempfile.gettempdir()) / name
    with exclusive_lock(folder.with_name(f"{folder.name}.lock")):  # both passes of the tests want it at the same time
        if not folder.exists():
            beside = folder.with_name(f"{folder.name}-new")
            subprocess.run([python, program, beside], check=True, capture_output=True)
            beside.rename(folder)
    return folder


class Running:
    """One server of it, owned by a process that a test makes."""

    def __init__(self, owner, model, *, key=None, **fields):
        words = command_line("tiny", {"max_model_len": CONTEXT, "max_num_seqs": 8} | fields.pop("options", {}))
        self.owner, self.key = owner, key
        started = engine(words, stall_s=fields.pop("stall_s", 300), require_key=key is not None)
        self.launch = started.launch(
            key,
            **{
                "application": "test",
                "name": "tiny",
                "id": uuid.uuid4().hex,
                "environment": "vllm",
                "files": started.files("tiny", DIALECT, PROGRAM),
                "model": str(model),
                "start_timeout_s": START_S,
                "stop_grace_s": 5,
            }
            | fields,
        )

    def ensure(self):
        return lifecycle.ensure(self.launch, self.owner, timeout_s=START_S)

    @property
    def folder(self):
        return state_dir.folder("test", "tiny", self.owner)

    def record(self):
        return state_dir.read(self.folder)

    def request(self, **fields):
        return CompletionRequest(
            **{
                "launch": self.launch,
                "endpoint": Endpoint.GENERATE,
                "model": "tiny",
                "key": self.key,
                "dialect": DIALECT,
            }
            | fields
        )

    def ask(self, texts, **fields):
        """The answers to texts, as the column functions get them."""
        import pyarrow as pa

        request = self.request(**fields)
        client = OpenAIClient(self.ensure, timeout_s=request.timeout_s, key=self.key)
        connections = [Connection(client, ConcurrencyLimit(self.folder, DIALECT), RequestCounters(self.folder))]
        columns = answers(request, connections, iter([pa.array(texts, pa.string())]), arrow_column)
        return next(columns).to_pylist()

    def processes(self):
        """The processes of the server, the program first."""
        leader = psutil.Process(self.record().process.pid)
        return [leader, *leader.children(recursive=True)]

    def part(self, word):
        """One of them, by a word in its command line."""
        found = next(each for each in self.processes()[1:] if word in " ".join(command_of(each)))
        return ProcessId.of(found.pid)

    def busy(self):
        return state_dir.read_metrics(self.folder).get("running", 0) > 0

    def wait_until_busy(self):
        assert wait_until(self.busy, 60), state_dir.read_metrics(self.folder)

    def stop(self):
        servers_stop.stop(self.folder)
