"""Run one job on the cluster that asks all its questions, by the platform's own command line. Laptop.

Databricks runs `job.py` as a notebook, because some questions are about what a notebook can import. Dataproc runs it as
a PySpark job.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csp.live_checks import job
from csp.live_checks.questions import Question

# A cluster that is not running starts first, and a busy one makes the job wait.
_JOB_S = 1800
_NOTEBOOK = "# Databricks notebook source\n"


@dataclass(frozen=True)
class Target:
    """The platform and the cluster that get the questions.

    Attributes:
        cluster: the id on Databricks, the name on Dataproc; None asks only what needs no cluster.
        folder: Databricks: folder of the workspace for the notebook, which is deleted afterwards.
    """

    platform: str
    cluster: str | None = None
    region: str | None = None
    project: str | None = None
    folder: str = "/Shared"

    def variables(self) -> dict[str, str]:
        """Return the environment variables of the commands that run on a laptop."""
        named = {"PLATFORM": self.platform, "CLUSTER": self.cluster, "REGION": self.region, "PROJECT": self.project}
        return {name: value or "" for name, value in named.items()}


@dataclass(frozen=True)
class CommandResult:
    """The exit status of a command, and its output."""

    code: int
    output: str


class JobError(Exception):
    """The job gave no answers; the message is the reason."""


def run_job(questions: Sequence[Question], target: Target) -> dict[str, CommandResult]:
    """Run the job, and return its answers by the keys of the questions. If it fails, all get the same failure."""
    submit = _on_dataproc if target.platform == "dataproc" else _on_databricks
    try:
        with _program(questions) as program:
            answers = submit(program, target)
    except (JobError, OSError) as err:
        return {each.key: CommandResult(1, f"the job gave no answers: {err}") for each in questions}
    lost = [1, "the job did not answer it"]
    return {each.key: CommandResult(*answers.get(each.key, lost)) for each in questions}


@contextmanager
def _program(questions: Sequence[Question]) -> Iterator[Path]:
    """Write the program of the job with its questions in it, and yield its path."""
    rows = [(each.key, each.command, each.where.python, each.where.on_driver) for each in questions]
    packed = base64.b64encode(json.dumps(rows).encode()).decode()
    text = Path(job.__file__).read_text(encoding="utf-8").replace(job.QUESTIONS, packed, 1)
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "spark_sidecar_live_checks.py"
        program.write_text(_NOTEBOOK + text, encoding="utf-8")
        yield program


def _on_dataproc(program: Path, target: Target) -> dict[str, Any]:
    place = [f"--cluster={target.cluster}", f"--region={target.region}"]
    project = [f"--project={target.project}"] if target.project else []
    # gcloud shows the output of the driver among its own lines.
    printed = _command(["gcloud", "dataproc", "jobs", "submit", "pyspark", str(program), *place, *project])
    return _answers(printed)


def _on_databricks(program: Path, target: Target) -> dict[str, Any]:
    notebook = f"{target.folder}/{program.stem}"
    _command(["databricks", "workspace", "import", notebook, "--file", str(program), "--format", "SOURCE",
              "--language", "PYTHON", "--overwrite"])  # fmt: skip
    try:
        task = {
            "task_key": "ask",
            "existing_cluster_id": target.cluster,
            "notebook_task": {"notebook_path": notebook, "source": "WORKSPACE"},
        }
        body = json.dumps({"run_name": program.stem, "tasks": [task]})
        run = _json(["databricks", "jobs", "submit", "--json", body, "--timeout", f"{_JOB_S}s"])
        # The output is that of the task's run, not that of the run around it.
        output = _json(["databricks", "jobs", "get-run-output", str(run["tasks"][0]["run_id"])])
    finally:
        _command(["databricks", "workspace", "delete", notebook])
    return _answers(str((output.get("notebook_output") or {}).get("result") or output.get("error")))


def _json(command: list[str]) -> dict[str, Any]:
    printed = _command([*command, "--output", "json"])
    try:
        answer: dict[str, Any] = json.loads(printed)
    except json.JSONDecodeError as err:
        raise JobError(f"{' '.join(command[:3])} printed no JSON: {printed[:200]}") from err
    return answer


def _command(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_JOB_S, check=False)
    except FileNotFoundError as err:
        raise JobError(f"there is no command {command[0]} on PATH: install it and log in") from err
    except subprocess.TimeoutExpired as err:
        raise JobError(f"{' '.join(command[:3])} did not end within {_JOB_S} s") from err
    if done.returncode:
        raise JobError(f"{' '.join(command[:3])} ended {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout if command[0] == "databricks" else done.stdout + done.stderr


def _answers(printed: str) -> dict[str, Any]:
    marked = re.search(rf"^{job.MARK}(.*)$", printed, re.MULTILINE)
    if marked is None:
        raise JobError(f"its output has no line {job.MARK.strip()!r}; it ends with: {printed.strip()[-300:]}")
    answers: dict[str, Any] = json.loads(marked[1])
    return answers
