"""The life of one submitted run and of its tasks: wait for a cluster, execute, end.

A task that has a node executes for real; without one it succeeds after a while. `advance` moves it on, as time passes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from support.databricks_server import notebooks
from support.databricks_server.cluster_life import Cluster
from support.databricks_server.init_scripts import variables_of_notebooks
from support.databricks_server.nodes import NotebookEnd
from support.databricks_server.refusals import Refusal
from support.databricks_server.work import Work

_TASK_S = 20
_ENDED = {"TERMINATED", "SKIPPED", "INTERNAL_ERROR"}
_WORKLOAD_FAILED = "Workload failed, see run output for details"


@dataclass
class Task:
    """One task of a run. given: as it was submitted. end: of what was executed."""

    given: dict
    run_id: int
    life_cycle: str = "PENDING"
    result: str | None = None
    message: str = "Waiting for cluster"
    cluster: Cluster | None = None
    started: float = 0.0
    work: Work | None = None
    end: NotebookEnd | None = None

    @property
    def key(self):
        return self.given["task_key"]

    @property
    def ended(self):
        return self.life_cycle in _ENDED

    def finish(self, life_cycle, result, message=""):
        self.life_cycle, self.result, self.message = life_cycle, result, message


@dataclass
class Run:
    """tasks: in the order in which they were submitted. fate: what was planned for it, or None."""

    run_id: int
    given: dict
    user: object
    tasks: list
    started: float
    fate: object = None
    cancelled: bool = False
    ended_at: float = 0.0

    @property
    def ended(self):
        return all(task.ended for task in self.tasks)

    def state(self):
        """The state of the whole run: one failed task makes it INTERNAL_ERROR, as in the real API."""
        if not self.ended:
            begun = any(task.life_cycle != "PENDING" for task in self.tasks)
            shown = {"life_cycle_state": "RUNNING" if begun else "PENDING", "state_message": ""}
            return shown | {"user_cancelled_or_timedout": False}
        bad = next((task for task in self.tasks if task.result != "SUCCESS"), None)
        if bad is None:
            return {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS", "state_message": ""}
        if self.fate or bad.result in {"CANCELED", "TIMEDOUT"}:
            return task_state(bad)
        words = f"Task {bad.key} failed with message: {bad.message}."
        return {"life_cycle_state": "INTERNAL_ERROR", "result_state": bad.result, "state_message": words}


def task_state(task):
    shown = {"life_cycle_state": task.life_cycle, "state_message": task.message}
    shown["user_cancelled_or_timedout"] = task.result in {"CANCELED", "TIMEDOUT"}
    return shown | ({"result_state": task.result} if task.result else {})


@dataclass
class RunLife:
    """Moves runs on. clusters, workspace, volumes: the other parts of the API."""

    clock: object
    clusters: object
    workspace: object
    volumes: object
    machines: object
    patience_s: float
    _own: set = field(default_factory=set)

    def advance(self, run):
        """Move each task on as far as it goes by now."""
        for task in run.tasks:
            if not task.ended:
                self._advance(run, task)
        limit = run.given.get("timeout_seconds")
        if limit and not run.ended and self.clock.time() - run.started > limit:
            self.end_early(run, "TIMEDOUT", f"Run timed out after {limit} seconds")
        if run.ended and not run.ended_at:
            run.ended_at = self.clock.time()

    def end_early(self, run, result, message):
        for task in [each for each in run.tasks if not each.ended]:
            if task.work and (node := self.machines.of(task.cluster.cluster_id)):
                node.interrupt()
            task.finish("TERMINATED", result, message)
            self._give_back(run, task)

    def _advance(self, run, task):
        if run.fate:
            task.finish(run.fate.life_cycle, run.fate.result, run.fate.message)
            task.end = NotebookEnd({"cells": []}, error=run.fate.error, error_trace=run.fate.error_trace)
        elif not self._may_begin(run, task):
            return
        elif task.work or task.started:
            self._look(run, task)
        else:
            self._begin(run, task)

    def _may_begin(self, run, task):
        before = {each["task_key"] for each in task.given.get("depends_on") or []}
        needed = [each for each in run.tasks if each.key in before]
        if any(each.ended and each.result != "SUCCESS" for each in needed):
            task.finish("SKIPPED", "UPSTREAM_FAILED", "An upstream task failed")
        return not task.ended and all(each.ended for each in needed)

    def _begin(self, run, task):
        try:
            task.cluster = task.cluster or self._cluster(run, task)
            task.cluster.advance()
            _check_alive(task.cluster)
            if task.cluster.state == "PENDING":
                return
            notebook, parameters = self._notebook(task.given)
        except Refusal as refusal:
            task.finish("INTERNAL_ERROR", "FAILED", str(refusal))
            self._give_back(run, task)
            return
        task.started, task.life_cycle, task.message = self.clock.time(), "RUNNING", "In run"
        task.cluster.touched = task.started
        if node := self.machines.of(task.cluster.cluster_id):
            variables = variables_of_notebooks(task.cluster.cluster_id, task.cluster.spec)
            task.work = Work(lambda: node.run_notebook(notebook, parameters, variables))
        else:
            task.end = NotebookEnd(notebook)

    def _cluster(self, run, task):
        if spec := task.given.get("new_cluster"):
            self._own.add(task.run_id)
            named = {"cluster_name": f"job-0-run-{run.run_id}-{task.key}"} | spec
            return self.clusters.create(run.user, named, source="JOB")
        cluster = self.clusters.find(task.given["existing_cluster_id"])
        if cluster.state == "TERMINATED":  # a job starts a cluster that rests
            self.clusters.start(cluster)
        return cluster

    def _notebook(self, given):
        """(.ipynb, parameters) of a task: a Python file is a notebook of one cell, with its arguments in sys.argv."""
        if task := given.get("notebook_task"):
            path = task["notebook_path"]
            thing = self._thing(path)
            if thing.kind != "NOTEBOOK":
                raise Refusal(400, "RESOURCE_NOT_FOUND", f"{path} is a {thing.kind.lower()}, and no notebook")
            return json.loads(thing.content), task.get("base_parameters") or {}
        task = given["spark_python_task"]
        path = task["python_file"]
        text = (
            self.volumes.on_disk(path).read_text()
            if path.startswith("/Volumes/")
            else self._thing(path).content.decode()
        )
        arguments = [path, *(task.get("parameters") or [])]
        text = f"import sys; sys.argv = {arguments!r}\n{text}"
        return json.loads(notebooks.from_source(text.encode())), {}

    def _thing(self, path):
        try:
            return self.workspace.find(path)
        except Refusal as refusal:
            words = (
                f'Unable to access the notebook "{path}". Either it does not exist, or the identity used to run this '
                "job lacks the required permissions."
            )
            raise Refusal(400, "RESOURCE_NOT_FOUND", words) from refusal

    def _look(self, run, task):
        if task.work:
            if not task.work.done(self.patience_s):
                return
            task.end = task.work.result
        elif self.clock.time() < task.started + _TASK_S:
            return
        task.cluster.advance()
        task.cluster.touched = self.clock.time()
        if not task.cluster.alive:
            task.finish("INTERNAL_ERROR", "FAILED", _ended(task.cluster))
        elif task.end.error:
            task.finish("TERMINATED", "FAILED", _WORKLOAD_FAILED)
        else:
            task.finish("TERMINATED", "SUCCESS")
        self._give_back(run, task)

    def _give_back(self, run, task):
        if task.run_id in self._own and task.cluster and task.cluster.alive:
            self.clusters.stop(task.cluster, run.user, code="JOB_FINISHED")


def _check_alive(cluster):
    if not cluster.alive:
        raise Refusal(400, "CLUSTER_ERROR", _ended(cluster))


def _ended(cluster):
    reason = cluster.reason or {"code": "UNKNOWN", "type": "UNKNOWN", "parameters": {}}
    expected = ", ".join(f"{name}:{value}" for name, value in reason["parameters"].items())
    words = f"Reason: {reason['code']} ({reason['type']}). Parameters: {expected}"
    return f"Cluster '{cluster.cluster_id}' was terminated. {words}"
