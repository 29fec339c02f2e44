"""The processes of one Dynamo server on this host: an event broker, a frontend and its workers.

Laid beside the program, which imports it. Everything listens on loopback or on sockets in a folder of its own: workers
register in files, and events pass through a broker of ours, because Dynamo's own publishers listen on every interface.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import engine_watch  # laid beside this file, as the next
from engine_settings import CPU_ENVIRONMENT, is_cpu_build, with_cpu_options, without_patterns

_LOOPBACK = "127.0.0.1"
_NAMESPACE = "sidecar"
_LOW_PORTS = (20000, 32767)  # DYN_SYSTEM_PORT is a signed 16-bit number (1.6.1): the kernel's own choice is above it
_VLLM = "dynamo.vllm"
_EVENTS = {"enable_kv_cache_events": True, "publisher": "zmq", "topic": "kv-events"}
_TRANSFER = {"kv_connector": "NixlConnector", "kv_role": "kv_both"}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        module: of the workers: `dynamo.vllm`.
        roles: how many workers of each kind: `agg`, or `prefill` and `decode`.
        frontend: options of the frontend.
        worker: options of each worker.
        events: whether workers publish what is in their caches, for the router.
        gpus: of all workers together; none on a CPU.
    """

    module: str
    roles: Mapping[str, int]
    frontend: Sequence[str]
    worker: Sequence[str]
    events: bool
    gpus: Sequence[str]

    @property
    def gpus_per_worker(self) -> int:
        """GPUs of each worker, in equal shares. Ends this process where there are none."""
        workers = sum(self.roles.values())
        each, rest = divmod(len(self.gpus), workers)
        if self.gpus and (rest or not each):
            engine_watch.end(
                f"{workers} workers cannot share {len(self.gpus)} GPUs equally; choose workers so that each has as many"
            )
        return each


@dataclass
class Worker:
    """One worker.

    Attributes:
        status_port: where its metrics are.
        pids: its processes, known once it is ready.
        started: when, on the monotonic clock.
    """

    role: str
    number: int
    status_port: int
    process: subprocess.Popen[bytes]
    pids: list[int] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def has_died(self) -> bool:
        """Whether it ended, or a process of it did."""
        return self.process.poll() is not None or any(map(_is_gone, self.pids))

    def kill(self) -> None:
        """End it and the processes below it at once."""
        below = [pid for pid, _ in engine_watch.below(self.process.pid)]
        for pid in {*below, *self.pids, self.process.pid}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


class Deployment:
    """Starts the processes, and replaces workers."""

    def __init__(self, plan: Plan, port: int, scratch: Path) -> None:
        """port: of the frontend. scratch: a folder for sockets and files, with a short path."""
        self._plan, self._scratch = plan, scratch
        self._environ = _environment(scratch) | {"DYN_ZMQ_BROKER_URL": start_broker(scratch)}
        self.frontend = self._start_frontend(port)
        roles = [role for role, count in plan.roles.items() for _ in range(count)]
        self.workers = [self._start_worker(role, number) for number, role in enumerate(roles)]

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The direct children."""
        return [self.frontend, *(worker.process for worker in self.workers)]

    def replace(self, worker: Worker) -> None:
        """Start a worker again that has died."""
        worker.kill()
        self.workers[worker.number] = self._start_worker(worker.role, worker.number)

    def terminate(self) -> None:
        """Send SIGTERM to all processes."""
        for process in self.processes:
            process.terminate()

    def _start_frontend(self, port: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dynamo.frontend", "--http-host", _LOOPBACK, "--http-port", str(port)]
        # It keeps copies of tokenizers in its home for ever.
        hub = os.environ.get("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
        own = {"HOME": str(self._scratch), "HF_HOME": hub, "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen([*command, *self._plan.frontend], env=self._environ | own)

    def _start_worker(self, role: str, number: int) -> Worker:
        port = free_port()
        options = without_patterns([*self._plan.worker, *role_options(self._plan, role, number, self._scratch)])
        if self._plan.module == _VLLM:
            options = with_cpu_options(options)
        command = [sys.executable, str(Path(__file__).with_name("worker.py")), self._plan.module, *options]
        environ = self._environ | {"DYN_SYSTEM_PORT": str(port)} | self._share(number)
        return Worker(role, number, port, subprocess.Popen(command, env=environ))

    def _share(self, number: int) -> dict[str, str]:
        """A worker's GPUs, and where it hands over caches to others."""
        each = self._plan.gpus_per_worker
        mine = ",".join(self._plan.gpus[number * each : (number + 1) * each])
        transfer = {"VLLM_NIXL_SIDE_CHANNEL_HOST": _LOOPBACK, "VLLM_NIXL_SIDE_CHANNEL_PORT": str(free_port())}
        return (transfer if "decode" in self._plan.roles else {}) | ({"CUDA_VISIBLE_DEVICES": mine} if mine else {})


def role_options(plan: Plan, role: str, number: int, scratch: Path) -> list[str]:
    """The options that a worker has by its role and its number."""
    options = [] if role == "agg" else ["--disaggregation-mode", role]
    if plan.module != _VLLM:
        return options
    if role != "agg":
        options += ["--kv-transfer-config", json.dumps(_TRANSFER)]
    if plan.events:
        endpoint = f"ipc://{scratch}/events-{number}"
        options += ["--kv-events-config", json.dumps(_EVENTS | {"endpoint": endpoint})]
    if plan.gpus and "--tensor-parallel-size" not in plan.worker:
        options += ["--tensor-parallel-size", str(plan.gpus_per_worker)]
    return options


def _environment(scratch: Path) -> dict[str, str]:
    """This process's, with Dynamo's variables: loopback, no service for discovery, no grace for requests at the end."""
    hosts = ("DYN_TCP_RPC_HOST", "DYN_TCP_RESPONSE_STREAM_HOST", "DYN_EVENT_PLANE_HOST", "DYN_SYSTEM_HOST")
    return (CPU_ENVIRONMENT if is_cpu_build() else {}) | {
        **os.environ,
        **dict.fromkeys(hosts, _LOOPBACK),
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_FILE_KV": str(scratch / "discovery"),
        "DYN_NAMESPACE": _NAMESPACE,
        "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq",
        "DYN_SELF_HOST_METADATA": "0",  # the frontend reads the tokenizer from the disk that it shares with the workers
        "DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS": "0",
    }


def start_broker(folder: Path) -> str:
    """Relay events between two sockets in a folder, in a thread. Returns how Dynamo is told of them."""
    import zmq

    incoming, outgoing = (f"ipc://{folder}/{name}" for name in ("in", "out"))
    context = zmq.Context()
    publishers, subscribers = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    publishers.bind(incoming)
    subscribers.bind(outgoing)
    threading.Thread(target=zmq.proxy, args=(publishers, subscribers), daemon=True).start()
    return f"xsub={incoming} , xpub={outgoing}"


def free_port() -> int:
    """A port that nobody listens on now, and that Dynamo can be told."""
    while True:
        port = random.randint(*_LOW_PORTS)  # noqa: S311 - no secret
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a port of loopback can be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
        return True


def _is_gone(pid: int) -> bool:
    return engine_watch.state(pid) in engine_watch.GONE


def wait(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended. The supervisor ends those that take too long."""
    while any(process.poll() is None for process in processes):
        time.sleep(0.05)
