"""The part of the jobs API that one-time runs need: submit, get, output, list, cancel, export."""

from __future__ import annotations

import itertools

from support.databricks_server import notebooks
from support.databricks_server.messages import page
from support.databricks_server.refusals import denied, invalid
from support.databricks_server.run_life import Run, Task, task_state

_API = "/api/2.2/jobs/runs"
_KINDS = ("notebook_task", "spark_python_task")
_MOST_OUTPUT = 5 * 2**20
_CODES = {"SUCCESS": "SUCCESS", "FAILED": "RUN_EXECUTION_ERROR", "CANCELED": "USER_CANCELED", "TIMEDOUT": "CANCELED"}


class Jobs:
    """runs: the id of a run -> Run. tasks: the id of a task's own run -> (Run, Task)."""

    def __init__(self, clock, life, clusters, plan):
        self._clock, self._life, self._clusters, self._plan = clock, life, clusters, plan
        self._numbers = itertools.count(900_001)
        self.runs, self.tasks, self._tokens = {}, {}, {}

    def routes(self):
        return {
            f"POST {_API}/submit": self._submit,
            f"GET {_API}/get": self._get,
            f"GET {_API}/get-output": self._output,
            f"GET {_API}/list": self._list,
            f"POST {_API}/cancel": self._cancel,
            f"GET {_API}/export": self._export,
        }

    def _submit(self, request):
        token = request.body.get("idempotency_token")
        if token and len(token) > 64:
            raise invalid("The idempotency token has more than 64 characters.")
        if token not in self._tokens:
            run = self._made(request)
            self._tokens |= {token: run.run_id} if token else {}
            return {"run_id": run.run_id}
        return {"run_id": self._tokens[token]}

    def _made(self, request):
        given = request.body.get("tasks") or []
        if not given:
            raise invalid("A run has at least one task.")
        if len({each["task_key"] for each in given}) != len(given):
            raise invalid("The keys of tasks must be unique.")
        for each in given:
            self._check(each)
        tasks = [Task(each, next(self._numbers)) for each in given]
        run = Run(next(self._numbers), request.body, request.user, tasks, self._clock.time(), self._plan.next_run())
        self.runs[run.run_id] = run
        self.tasks |= {task.run_id: (run, task) for task in tasks}
        return run

    def _check(self, given):
        kinds = [name for name in given if name.endswith("_task")]
        if len(kinds) != 1 or kinds[0] not in _KINDS:
            raise invalid(f"Task {given['task_key']} must have exactly one of {' and '.join(_KINDS)}.")
        if ("existing_cluster_id" in given) == ("new_cluster" in given):
            raise invalid(f"Task {given['task_key']} must have exactly one of existing_cluster_id and new_cluster.")
        if "existing_cluster_id" in given:
            self._clusters.find(given["existing_cluster_id"])

    def _find(self, run_id):
        """(Run, Task or None) of an id: a task's run has an id of its own."""
        number = int(run_id)
        if number in self.tasks:
            run, task = self.tasks[number]
        elif number in self.runs:
            run, task = self.runs[number], None
        else:
            raise invalid(f"Run {number} does not exist.")
        self._life.advance(run)
        return run, task

    def _get(self, request):
        run, _ = self._find(request.option("run_id"))
        return self._view(run) | {"tasks": [_task_view(task) for task in run.tasks]}

    def _view(self, run):
        state = run.state()
        shown = {
            "run_id": run.run_id, "job_id": run.run_id + 1, "number_in_job": run.run_id, "run_type": "SUBMIT_RUN",
            "run_name": run.given.get("run_name") or "Untitled", "creator_user_name": run.user.name,
            "start_time": int(run.started * 1000), "state": state, "status": _status(state),
            "run_page_url": f"https://workspace.example/?o=1#job/{run.run_id + 1}/run/{run.run_id}"
        }  # fmt: skip
        return shown | ({"end_time": int(run.ended_at * 1000)} if run.ended_at else {})

    def _list(self, request):
        for run in self.runs.values():
            self._life.advance(run)
        wanted = {(False, True): True, (True, False): False}.get(
            (request.option("active_only") == "true", request.option("completed_only") == "true")
        )
        runs = [r for r in reversed(self.runs.values()) if wanted is None or r.ended == wanted]
        size = int(request.option("limit") or 20)
        if not 1 <= size <= 25:
            raise invalid("limit must be between 1 and 25.")
        items, token = page(runs, token=request.option("page_token"), size=size)
        answer = {"runs": [self._view(each) for each in items], "has_more": token is not None}
        return answer | ({"next_page_token": token} if token else {})

    def _cancel(self, request):
        run, _ = self._find(request.body["run_id"])
        if not request.user.admin and request.user.name != run.user.name:
            raise denied(f"{request.user.name} does not have Manage Run permissions on the run {run.run_id}.")
        self._life.end_early(run, "CANCELED", "Run cancelled.")
        self._life.advance(run)
        return {}

    def _output(self, request):
        run, task = self._find(request.option("run_id"))
        if task is None and len(run.tasks) >= 1:
            raise invalid(
                "Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of "
                "each individual task run instead."
            )
        answer = {"metadata": self._view(run) | _task_view(task)}
        if task.end is None:
            return answer
        if task.end.error:
            answer |= {"error": task.end.error, "error_trace": task.end.error_trace or ""}
        if "spark_python_task" in task.given:
            return answer | {"logs": _printed(task.end.notebook), "logs_truncated": False}
        if task.end.error:
            return answer
        result = task.end.result
        shown = {} if result is None else {"result": result[:_MOST_OUTPUT]}
        return answer | {"notebook_output": shown | {"truncated": len(result or "") > _MOST_OUTPUT}}

    def _export(self, request):
        _, task = self._find(request.option("run_id"))
        if task is None:
            raise invalid("Exporting a run with multiple tasks is not supported; export the run of a task.")
        if task.end is None or "notebook_task" not in task.given:
            raise invalid(f"Run {task.run_id} has nothing to export.")
        name = task.given["notebook_task"]["notebook_path"].rpartition("/")[2]
        page = notebooks.as_html(task.end.notebook, name)
        return {"views": [{"content": page, "name": name, "type": "NOTEBOOK"}]}


def _task_view(task):
    state = task_state(task)
    spec = {k: v for k, v in task.given.items() if k in {*_KINDS, "existing_cluster_id", "depends_on", "new_cluster"}}
    shown = {"task_key": task.key, "run_id": task.run_id, "state": state, "status": _status(state), "attempt_number": 0}
    there = {"cluster_instance": {"cluster_id": task.cluster.cluster_id}} if task.cluster else {}
    return spec | shown | there


def _status(state):
    life, result = state["life_cycle_state"], state.get("result_state")
    if life in {"PENDING", "RUNNING"}:
        return {"state": life}
    code = _CODES.get(result, "SKIPPED" if life == "SKIPPED" else "INTERNAL_ERROR")
    kind = {"SUCCESS": "SUCCESS", "INTERNAL_ERROR": "INTERNAL_ERROR"}.get(code, "CLIENT_ERROR")
    details = {"code": code, "type": kind, "message": state["state_message"]}
    return {"state": "TERMINATED", "termination_details": details}


def _printed(notebook):
    outputs = [each for cell in notebook["cells"] for each in cell.get("outputs", [])]
    return "".join("".join(each["text"]) for each in outputs if each["output_type"] == "stream")
