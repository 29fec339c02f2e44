"""Run notebooks and Python files as one-time jobs, and read their state and results. Laptop.

`submit` sends the source to the user's home folder, below spark-sidecar/DEPLOYMENT. Its name has a hash of its content.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from csp.cloud import Exit, RunPhase, RunRequest, RunState
from csp.databricks import executed_notebook
from csp.databricks.client import GoneError, translated
from csp.databricks.failures import meaning_in
from server_utils.errors import ConfigurationError, DeploymentError
from server_utils.host.files import file_size
from server_utils.host.redaction import scrub

_LARGEST = 10 * 10**6  # bytes: the workspace accepts no larger notebook
_HEADER = "# Databricks notebook source"
_TASK = "run"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LIFE = {
    "RUNNING": RunPhase.RUNNING,
    "TERMINATING": RunPhase.RUNNING,
    "SKIPPED": RunPhase.SKIPPED,
}
# The SDK's own waiter treats all of these as a success.
_ENDS = {
    "SUCCESS": RunPhase.SUCCEEDED,
    "TIMEDOUT": RunPhase.TIMED_OUT,
    "CANCELED": RunPhase.CANCELLED,
    "UPSTREAM_CANCELED": RunPhase.CANCELLED,
    "MAXIMUM_CONCURRENT_RUNS_REACHED": RunPhase.SKIPPED,
    "UPSTREAM_FAILED": RunPhase.SKIPPED,
    "EXCLUDED": RunPhase.SKIPPED,
    "DISABLED": RunPhase.SKIPPED,
}


def folder_of(user: str, name: str) -> str:
    """Return the workspace folder of a deployment."""
    return f"/Users/{user}/spark-sidecar/{name}"


def submit(client: Any, request: RunRequest, folder: str, new_cluster: Mapping[str, Any] | None) -> str:
    """Send the source, submit the run and return its id. The same token starts no second run."""
    from databricks.sdk.service import compute, jobs

    path = _send(client, request.source, folder)
    cluster: dict[str, Any] = {"existing_cluster_id": request.cluster.cluster_id if request.cluster else None}
    if new_cluster:
        cluster = {"new_cluster": compute.ClusterSpec.from_dict(dict(new_cluster))}
    task = jobs.SubmitTask(task_key=_TASK, **cluster, **_work(request, path))
    with translated("submitting the run", needs="CAN ATTACH TO on the cluster"):
        wait = client.jobs.submit(
            run_name=_run_name(request.name, request.source.name),
            tasks=[task],
            idempotency_token=request.token,
            timeout_seconds=request.timeout_s,
        )
    return str(wait.run_id)


def active(client: Any, name: str, users: Collection[str]) -> list[str]:
    """Return the ids of these users' active runs of a deployment."""
    from databricks.sdk.service import jobs

    with translated("listing runs"):
        listed = list(client.jobs.list_runs(active_only=True, run_type=jobs.RunType.SUBMIT_RUN))
    begins = _run_name(name, "")
    return [
        str(each.run_id)
        for each in listed
        if (each.run_name or "").startswith(begins) and each.creator_user_name in users
    ]


def cancel(client: Any, run_id: str) -> None:
    """Cancel a run. A run that ended or does not exist is no error."""
    number = _number(run_id)
    try:
        with translated(f"cancelling run {run_id}", needs="CAN MANAGE RUN on the run"):
            client.jobs.cancel_run(number)
    except GoneError:
        return


def state_of(client: Any, run_id: str) -> RunState:
    """Return the state of a run now. Raises DeploymentError if there is no such run."""
    run = _run(client, run_id)
    state = run.state
    life = state.life_cycle_state.value if state and state.life_cycle_state else "PENDING"
    result = state.result_state.value if state and state.result_state else ""
    phase = _phase(life, result)
    error = _output(client, run).get("error", "") if phase is RunPhase.FAILED else ""
    detail = " ".join(filter(None, (result or life, state.state_message if state else "")))
    meaning = meaning_in(detail) if phase is RunPhase.FAILED else None
    if meaning:
        detail = f"{detail.rstrip('.')}: {meaning.reason}. {meaning.fix}"
    no_capacity = meaning is not None and meaning.no_capacity
    return RunState(run_id, phase, scrub(detail), error, _results(run), run.run_page_url or "", no_capacity)


def _phase(life: str, result: str) -> RunPhase:
    if life not in {"TERMINATED", "INTERNAL_ERROR"}:
        return _LIFE.get(life, RunPhase.WAITING)
    end = _ENDS.get(result, RunPhase.FAILED)
    return RunPhase.FAILED if life == "INTERNAL_ERROR" and end is RunPhase.SUCCEEDED else end


def printed(client: Any, run_id: str) -> str:
    """Return the output of a program, or the result of a notebook. The executed notebook has the output of cells."""
    return str(_output(client, _run(client, run_id)).get("text", ""))


def executed(client: Any, run_id: str) -> dict[str, bytes]:
    """Return the executed notebook, and the web page that the workspace makes of it; nothing for a program."""
    from databricks.sdk.service import jobs

    run = _run(client, run_id)
    task = run.tasks[0] if run.tasks else None
    if task is None or task.notebook_task is None:
        return {}
    try:
        with translated("exporting the executed notebook"):
            views = client.jobs.export_run(task.run_id, views_to_export=jobs.ViewsToExport.CODE).views or []
    except GoneError:
        return {}  # a skipped run has executed nothing
    if not views:
        return {}
    name, page = Path(views[0].name or "notebook").name, views[0].content or ""
    notebook = executed_notebook.as_ipynb(page)
    return ({f"{name}.ipynb": notebook} if notebook else {}) | {f"{name}.html": page.encode()}


def _run(client: Any, run_id: str) -> Any:
    number = _number(run_id)
    try:
        with translated("asking for the run"):
            return client.jobs.get_run(number)
    except GoneError as error:
        raise DeploymentError(f"there is no run {run_id} in the workspace: {error}", Exit.NOT_FOUND) from None


def _number(run_id: str) -> int:
    if not run_id.isdecimal():
        raise ConfigurationError(f"{run_id!r} is no id of a run: these are whole numbers")
    return int(run_id)


def _run_name(deployment: str, source: str) -> str:
    """Return the name of a run in the list of runs. It begins with the name of the deployment."""
    return f"{deployment}: {source}"


def _output(client: Any, run: Any) -> dict[str, str]:
    """Return error and text of the task, as the run itself has no output; nothing if there is no output yet."""
    task_id = run.tasks[0].run_id if run.tasks else run.run_id
    try:
        with translated("reading the output"):
            output = client.jobs.get_run_output(task_id)
    except DeploymentError:
        return {}  # the run has not begun, or was skipped
    returned = output.notebook_output.result if output.notebook_output else ""
    error = "\n".join(filter(None, (output.error, output.error_trace)))
    return {"error": scrub(_ANSI.sub("", error)), "text": scrub(output.logs or returned or "")}


def _results(run: Any) -> str:
    task = run.tasks[0] if run.tasks else None
    if task is not None and task.notebook_task:
        return str((task.notebook_task.base_parameters or {}).get("results", ""))
    options = (task.spark_python_task.parameters or []) if task is not None and task.spark_python_task else []
    return next((each.removeprefix("--results=") for each in options if each.startswith("--results=")), "")


def _work(request: RunRequest, path: str) -> dict[str, Any]:
    from databricks.sdk.service import jobs

    if _is_notebook(request.source):
        return {"notebook_task": jobs.NotebookTask(path, base_parameters=dict(request.parameters))}
    options = [f"--{name}={value}" for name, value in request.parameters.items()]
    return {"spark_python_task": jobs.SparkPythonTask(path, parameters=options)}


def _send(client: Any, source: Path, folder: str) -> str:
    """Send the source, and return its path in the workspace."""
    from databricks.sdk.service import workspace

    content = _content(source)
    stem = f"{source.stem}-{hashlib.sha256(content).hexdigest()[:8]}"
    path, kind = f"{folder}/{stem}.py", workspace.ImportFormat.AUTO
    language = None
    if _is_notebook(source):
        path = f"{folder}/{stem}"  # notebooks have no suffix in a workspace
        kind = workspace.ImportFormat.JUPYTER if source.suffix == ".ipynb" else workspace.ImportFormat.SOURCE
        language = workspace.Language.PYTHON
    try:
        with translated(f"sending {source.name} to {folder}", needs="CAN EDIT on the home folder"):
            client.workspace.mkdirs(folder)
            client.workspace.upload(path, io.BytesIO(content), format=kind, language=language, overwrite=True)
    except GoneError as error:
        home = "/".join(folder.split("/")[:3])
        raise DeploymentError(
            f"{error} A service principal has no home folder until somebody makes it: "
            f"`databricks workspace mkdirs {home}`"
        ) from None
    return path


def _is_notebook(source: Path) -> bool:
    return source.suffix == ".ipynb" or source.read_text(encoding="utf-8").startswith(_HEADER)


def _content(source: Path) -> bytes:
    """Return the content to send: a notebook without its old outputs, which would count for its size."""
    if source.suffix != ".ipynb":
        return source.read_bytes()
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    content = json.dumps(notebook).encode()
    if len(content) > _LARGEST:
        raise ConfigurationError(
            f"{source} has {file_size(len(content))} without outputs, and the workspace takes 10 MB: move data or "
            "code out of it"
        )
    return content
