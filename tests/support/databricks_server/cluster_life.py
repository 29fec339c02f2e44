"""The life of one cluster as a list of steps with the times at which they are due.

PENDING -> RUNNING with some of the workers -> all workers; TERMINATING -> TERMINATED; RESIZING -> RUNNING. Nothing
happens by itself: `advance` takes the steps that the clock has passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from support.databricks_server.work import Work

_BOOT_S, _RUN_S, _WORKERS_S, _END_S = 30, 90, 150, 20
_ALIVE = {"PENDING", "RUNNING", "RESIZING", "RESTARTING"}


@dataclass
class Cluster:
    """spec: as it was sent, with the defaults that the service fills in. workers: those that are there."""

    cluster_id: str
    spec: dict
    creator: str
    life: Life
    fate: object
    source: str = "API"
    state: str = "PENDING"
    message: str = ""
    workers: int = 0
    reason: dict | None = None
    started: int = 0
    ended: int = 0
    touched: float = 0.0
    pinned: bool = False
    events: list = field(default_factory=list)
    steps: list = field(default_factory=list)
    booting: Work | None = None

    @property
    def alive(self):
        return self.state in _ALIVE

    @property
    def wanted(self):
        scale = self.spec.get("autoscale")
        return scale["min_workers"] if scale else self.spec.get("num_workers") or 0

    def advance(self):
        """Take every step that is due, in order; a step that is not finished is taken again at the next request."""
        while self.steps and self.steps[0][0] <= self.life.clock.time():
            due, step = self.steps[0]
            if not step(self, due):
                return
            self.steps.pop(0)
        self.life.stop_when_idle(self)

    def note(self, kind, **details):
        event = {"cluster_id": self.cluster_id, "timestamp": self.life.clock.milliseconds(), "type": kind}
        self.events.append(event | {"details": details})


class Life:
    """The steps. patience_s: how long a request waits for what runs for real on the node."""

    def __init__(self, clock, scripts, machines, patience_s):
        self.clock, self.patience_s = clock, patience_s
        self._scripts, self._machines = scripts, machines

    def start(self, cluster, event):
        """Begin, or begin again, at the present time."""
        now = cluster.touched = self.clock.time()
        cluster.state, cluster.reason, cluster.workers, cluster.booting = "PENDING", None, 0, None
        cluster.message = "Finding instances for new nodes, acquiring more instances if necessary"
        cluster.started = self.clock.milliseconds()
        cluster.note(event, user=cluster.creator, cluster_size={"num_workers": cluster.wanted})
        cluster.steps = [(now + _BOOT_S, self._boot), (now + _RUN_S, self._run), (now + _WORKERS_S, self._all_workers)]

    def stop(self, cluster, reason):
        """End it: TERMINATING now, TERMINATED a little later."""
        cluster.state, cluster.message, cluster.reason = "TERMINATING", "", reason
        cluster.note("TERMINATING", reason=reason)
        cluster.steps = [(self.clock.time() + _END_S, self._end)]

    def resize(self, cluster):
        cluster.state, cluster.touched = "RESIZING", self.clock.time()
        cluster.note("RESIZING", target_num_workers=cluster.wanted, current_num_workers=cluster.workers)
        cluster.steps = [(self.clock.time() + _RUN_S, self._all_workers)]

    def forget(self, cluster):
        self._machines.close(cluster.cluster_id)

    def stop_when_idle(self, cluster):
        minutes = cluster.spec.get("autotermination_minutes") or 0
        if cluster.state == "RUNNING" and minutes and self.clock.time() - cluster.touched > minutes * 60:
            parameters = {"inactivity_duration_min": str(minutes)}
            self.stop(cluster, {"code": "INACTIVITY", "type": "SUCCESS", "parameters": parameters})

    def _boot(self, cluster, due):
        """Machines are there: their init scripts begin."""
        fate = cluster.fate
        if fate.code and fate.at == "PENDING":
            self._strike(cluster)
            return False
        if cluster.spec.get("init_scripts"):
            cluster.note("INIT_SCRIPTS_STARTED", init_scripts={"cluster": cluster.spec["init_scripts"]})
            cluster.message = "Starting Spark"
            cluster.booting = Work(lambda: self._scripts.run(cluster.cluster_id, cluster.spec))
        return True

    def _run(self, cluster, due):
        """Spark runs, though not all workers are there: the state is RUNNING before they are."""
        if cluster.booting and not self._scripts_succeeded(cluster):
            return False
        cluster.state, cluster.message = "RUNNING", ""
        cluster.workers = math.floor(min(self._coming(cluster), cluster.wanted / 2))
        cluster.touched = self.clock.time()
        cluster.note("RUNNING", current_num_workers=cluster.workers, target_num_workers=cluster.wanted)
        cluster.note("DRIVER_HEALTHY")
        return True

    def _scripts_succeeded(self, cluster):
        if not cluster.booting.done(self.patience_s):
            return False
        ends = cluster.booting.result
        shown = {"cluster": [each.body() for each in ends], "reported_for_node": "10.0.0.1"}
        cluster.note("INIT_SCRIPTS_FINISHED", init_scripts=shown)
        failed = next((each for each in ends if each.status not in {"SUCCEEDED", "SKIPPED"}), None)
        if failed is None:
            return True
        ((_, where),) = failed.given.items()
        words = f"Cluster scoped init script {where['destination']} failed: {failed.error}"
        parameters = {"instance_id": "i-0a", "databricks_error_message": words}
        self.stop(cluster, {"code": "INIT_SCRIPT_FAILURE", "type": "CLIENT_ERROR", "parameters": parameters})
        cluster.message = words
        return False

    def _coming(self, cluster):
        return cluster.wanted if cluster.fate.workers is None else min(cluster.fate.workers, cluster.wanted)

    def _all_workers(self, cluster, due):
        cluster.state, cluster.workers = "RUNNING", self._coming(cluster)
        counts = {"current_num_workers": cluster.workers, "target_num_workers": cluster.wanted}
        why = {"reason": {"code": cluster.fate.missing, "type": "CLOUD_FAILURE"}} if cluster.fate.missing else {}
        cluster.note("UPSIZE_COMPLETED" if cluster.workers == cluster.wanted else "ADD_NODES_FAILED", **counts | why)
        if cluster.fate.code and cluster.fate.at == "RUNNING":
            self._strike(cluster)
            return False
        return True

    def _strike(self, cluster):
        fate = cluster.fate
        reason = {"code": fate.code, "type": fate.type, "parameters": dict(fate.parameters)}
        cluster.note("ADD_NODES_FAILED", reason=reason)
        self.stop(cluster, reason)
        cluster.message = fate.message
        if fate.state == "ERROR":
            cluster.state, cluster.steps = "ERROR", []

    def _end(self, cluster, due):
        cluster.state, cluster.workers, cluster.ended = "TERMINATED", 0, self.clock.milliseconds()
        self._machines.close(cluster.cluster_id)
        return True
