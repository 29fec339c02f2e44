"""The program of a Dynamo sidecar: runs a frontend and its workers below itself, and watches them.

    python program.py READINESS_FILE PORT STALL_S PLAN FRONTEND_OPTIONS... -- WORKER_OPTIONS...

A frontend says that it is healthy without any worker, and lists a model before it takes requests (1.6.1). So the
readiness file is written once all workers have registered and one token was answered. When a process dies, this program
ends and all start again; with a migration limit, a worker that dies alone is replaced while the others go on.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import engine_watch  # laid beside this file, as the next two
import openai_program
from deployment import Deployment, Plan, Worker, is_cpu_build, is_free, wait

_INTERVAL_S = 0.5
_FIRST_ANSWER_S, _NEXT_ANSWER_S = 60.0, 2.0  # the second beside requests of users
_LEASE_S = 12.0  # the frontend knows a worker for 10 s after its death
_TEXTS, _VECTORS = ("/v1/completions", "/v1/chat/completions"), ("/v1/embeddings",)
# Workers for vectors have none of vLLM's metrics (1.6.1). A step of theirs is a request that has ended.
_VECTOR_METRICS = {
    "running": "dynamo_component_inflight_requests",
    "waiting": "dynamo_request_queue",
    "steps": "dynamo_component_request_duration_seconds_count",
}


class DeploymentWatch:
    """Follows a deployment from its start on: its readiness, its heartbeat, and deaths of its processes."""

    def __init__(self, deployment: Deployment, port: int, readiness_file: Path, stall_s: float, settings: Any) -> None:
        """settings: the plan's, see `main`."""
        self._deployment, self._port, self._readiness_file, self._stall_s = deployment, port, readiness_file, stall_s
        self._replaces = settings["replaces"]
        self._offered = _VECTORS if settings["pooling"] else _TEXTS
        read = openai_program.read_settings()
        self._settings = replace(read, metrics=_VECTOR_METRICS) if settings["pooling"] else read
        self._watch: openai_program.Watch | None = None
        self._replaced: Worker | None = None

    def check(self) -> None:
        """Replace workers that have died, write the readiness file once the model takes requests, and the heartbeat."""
        self._check_frontend()
        for worker in self._deployment.workers:
            if worker.has_died():
                self._replace_or_end(worker)
        if (self._watch is None or self._replaced) and self._all_registered() and self._answers():
            self._follow()
        if self._watch:
            self._watch.send_heartbeat()

    def _check_frontend(self) -> None:
        status = self._deployment.frontend.poll()
        if status is not None:
            engine_watch.end(f"the frontend ended with status {status}")

    def _replace_or_end(self, worker: Worker) -> None:
        """Replace a worker that has died, or end this process: all start again then."""
        what = f"worker {worker.number} ({worker.role}) has died with status {worker.process.poll()}"
        if not self._replaces or self._watch is None or self._replaced:
            # Another process may have taken its port before it did: then another start is worth it.
            lost_port = self._watch is None and not is_free(worker.status_port)
            engine_watch.end(what, status=os.EX_TEMPFAIL if lost_port else 1)
        sys.stderr.write(f"{what}: it is replaced alone\n")
        self._deployment.replace(worker)
        self._replaced = self._deployment.workers[worker.number]
        self._watch_ready()

    def _all_registered(self) -> bool:
        """Whether the frontend knows as many workers of each role as there are, and none that has died."""
        if self._replaced and time.monotonic() - self._replaced.started < _LEASE_S:
            return False
        model = urllib.parse.quote(self._settings.model, safe="")
        answer = json.loads(engine_watch.get(self._port, f"/v1/models/{model}/ready") or b"{}")
        namespaces = answer.get("namespaces", {}).values()
        registered = sum(each["workers"] for space in namespaces for each in space["worker_types"].values())
        return bool(answer.get("ready")) and registered >= len(self._deployment.workers)

    def _answers(self) -> bool:
        """Whether a request for one token, or one vector, has an answer."""
        row = {"input": "a"} if self._offered is _VECTORS else {"prompt": "a", "max_tokens": 1}
        body = {"model": self._settings.model} | row
        timeout_s = _NEXT_ANSWER_S if self._watch else _FIRST_ANSWER_S
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        try:
            connection.request("POST", self._offered[0], json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _follow(self) -> None:
        """Watch all processes, and write the readiness file the first time."""
        is_first, self._replaced = self._watch is None, None
        sys.stderr.write("all workers take requests\n" if is_first else "all workers take requests again\n")
        for worker in self._deployment.workers:
            worker.pids = [worker.process.pid, *(pid for pid, _ in engine_watch.below(worker.process.pid))]
            self._check_status_port(worker)
        self._watch_ready()
        if is_first:
            engine_watch.write(self._readiness_file, {"models": self._described()})

    def _check_status_port(self, worker: Worker) -> None:
        """End this process if another one took the port: the worker then runs on without its own status (1.6.1)."""
        if not engine_watch.listens(worker.pids, worker.status_port):
            engine_watch.end(
                f"port {worker.status_port}, chosen for the status of worker {worker.number} ({worker.role}), "
                "belongs to another process: another is chosen",
                status=os.EX_TEMPFAIL,
            )

    def _watch_ready(self) -> None:
        """Watch the frontend and the workers that take requests."""
        ready = [worker for worker in self._deployment.workers if worker is not self._replaced]
        pids = [self._deployment.frontend.pid, *(pid for worker in ready for pid in worker.pids)]
        ports = [worker.status_port for worker in ready]
        self._watch = openai_program.Watch(self._settings, pids, ports, self._readiness_file, self._stall_s)

    def _described(self) -> dict[str, Any]:
        """The model, its context length, and what is offered: Dynamo's own description names every path."""
        page = json.loads(engine_watch.get(self._port, "/v1/models") or b"{}")
        lengths = {each["id"]: each.get("context_window") or None for each in page.get("data", [])}
        fields: dict[str, list[str]] = {path: [] for path in self._offered}
        device = "cpu" if is_cpu_build() else "gpu"
        return {name: {"max_model_len": length, "fields": fields, "device": device} for name, length in lengths.items()}


def gpus(count: str) -> list[str]:
    """The GPUs that this server may use; none on a CPU. count: how many it sees."""
    if is_cpu_build():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(int(count)))))
    return [each for each in visible.split(",") if each]


def read_plan(settings: Mapping[str, Any], words: Sequence[str]) -> Plan:
    """What to run. Ends this process where this host cannot. settings: made by the manager."""
    cut = words.index("--")
    devices = gpus(settings["gpus"])
    if "decode" in settings["roles"] and settings["module"] == "dynamo.vllm" and not devices:
        engine_watch.end("workers for prefill and decode hand over caches between GPUs: this host has none")
    frontend, worker = words[:cut], words[cut + 1 :]
    return Plan(settings["module"], settings["roles"], frontend, worker, events=settings["events"], gpus=devices)


def main(readiness_file: str, port: str, stall_s: str, plan: str, *words: str) -> int:
    """Run a deployment until it ends or this process is told to stop. plan: JSON."""
    settings = json.loads(plan)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    deployment = Deployment(read_plan(settings, words), int(port), Path(tempfile.mkdtemp(prefix="d")))
    watch = DeploymentWatch(deployment, int(port), Path(readiness_file), float(stall_s), settings)
    while not stop.wait(_INTERVAL_S):
        watch.check()
    deployment.terminate()
    wait(deployment.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
