"""A cloud in memory that does what a test says: an ordinary class with the methods of `csp.cloud.Cloud`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from csp.cloud import Check, ClusterState, Difference, Failure, Phase, RunPhase, RunState, Upload
from csp.deployer import nodes_of
from server_utils.storage.stores.base import TransientError
from server_utils.storage.stores.files import Files


class FakeCloud:
    """Clusters need `polls` looks until they are ready.

    trouble: name of a method -> exceptions that its next calls raise; after the work where `late` has the name.
    fates: the phases in which the next clusters end instead. restarts: the phase after a start.
    """

    command, place, options, me = "fake", "the fake cloud", "", "me"
    restarts = Phase.RUNNING

    def __init__(self, folder: Path, polls: int = 2):
        self.folder, self.polls = folder, polls
        self.clusters, self.calls, self.trouble, self.late = {}, [], {}, set()
        self.settings = []  # differences of a cluster that is there
        self.failed_checks, self.fates, self.runs = [], [], [RunState("1", RunPhase.SUCCEEDED)]
        self.failures = [Failure("STOCKOUT", "there is none", "Try later", no_capacity=True)]

    def _called(self, name):
        self.calls.append(name)
        if name not in self.late:
            self._raise(name)

    def _raise(self, name):
        if waiting := self.trouble.get(name):
            raise waiting.pop(0)

    def root(self, name):
        return f"{self.folder}/{name}"

    def definition(self, deployment, cluster):
        return {"node_type": cluster.node.node_type}

    def upload(self, deployment):
        return Upload(f"{self.root(deployment.name)}/files-1", {"SHA256SUMS": "sums", "wheel": "wheel"})

    def user(self):
        return self.me

    def checks(self, deployment):
        self._called("checks")
        return [Check("identity", self.me), *self.failed_checks]

    def candidates(self, deployment):
        return deployment.clusters

    def make_root(self, deployment):
        self._called("make_root")
        Path(self.root(deployment.name)).mkdir(parents=True, exist_ok=True)

    def store(self, folder):
        return Files(Path(folder), folder)

    def find(self, name):
        self._called("find")
        return [each for each in self.clusters.values() if each.name == name]

    def differences(self, state, deployment, cluster):
        return (
            list(self.settings)
            if state.nodes == nodes_of(cluster)
            else [Difference(f"the nodes are {state.nodes}"), *self.settings]
        )

    def create(self, deployment, cluster):
        self._called("create")
        number = str(len(self.calls))
        workers = {"workers": cluster.workers, "nodes": nodes_of(cluster), "root": self.root(deployment.name)}
        self.clusters[number] = ClusterState(number, deployment.name, Phase.STARTING, owner=self.me, **workers)
        self._left, self._fate = self.polls, self.fates.pop(0) if self.fates else Phase.RUNNING
        if "create" in self.late:
            self._raise("create")
        return number

    def start(self, state):
        self._called("start")
        self.clusters[state.cluster_id] = dataclasses.replace(state, phase=Phase.STARTING)
        self._left, self._fate = self.polls, self.restarts
        if "start" in self.late:
            self._raise("start")

    def state(self, cluster_id):
        self._called("state")
        state = self.clusters.get(cluster_id)
        if state and state.phase is Phase.STARTING:
            self._left -= 1
            if self._left <= 0:
                ready = state.workers if self._fate is Phase.RUNNING else 0
                self.clusters[cluster_id] = dataclasses.replace(state, phase=self._fate, ready=ready)
        return self.clusters.get(cluster_id)

    def failure(self, state):
        self._called("failure")
        return self.failures[0]

    def delete(self, state):
        self._called("delete")
        self.clusters.pop(state.cluster_id, None)

    def delete_others(self, name):
        return []

    def cancel(self, run_id):
        self._called("cancel")
        self.runs = [RunState(run_id, RunPhase.CANCELLED)]

    def active_runs(self, name):
        return [each.run_id for each in self.runs if not each.phase.is_final]

    def logs(self, state, kinds):
        return []

    def submit(self, request):
        self._called("submit")
        if "submit" in self.late:
            self._raise("submit")
        return "1"

    def run_state(self, run_id):
        self._called("run_state")
        return self.runs.pop(0) if len(self.runs) > 1 else self.runs[0]

    def run_output(self, run_id):
        return "".join(f"line {number}\n" for number in range(self.calls.count("run_state")))

    def executed(self, run_id):
        self._called("executed")
        return {}


LOST = TransientError("connection lost")
