"""Runs the init scripts of a cluster on its node, and puts their logs where cluster_log_conf says."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from support.databricks_server.refusals import Refusal

_IP = "10.0.0.1"


@dataclass(frozen=True)
class ScriptEnd:
    """How one script ended. given: its entry in the cluster's spec."""

    given: dict
    status: str
    error: str = ""
    seconds: int = 0

    def body(self):
        shown = self.given | {"status": self.status, "execution_duration_seconds": self.seconds}
        return shown | ({"error_message": self.error} if self.error else {})


class InitScripts:
    """volumes, workspace: where scripts are looked up."""

    def __init__(self, volumes, workspace, machines):
        self._volumes, self._workspace, self._machines = volumes, workspace, machines

    def run(self, cluster_id, spec):
        """Run all scripts in order, until one fails; return how each ended."""
        ends = []
        for number, given in enumerate(spec.get("init_scripts") or []):
            failed = bool(ends) and ends[-1].status not in {"SUCCEEDED", "SKIPPED"}
            ends.append(ScriptEnd(given, "NOT_EXECUTED") if failed else self._one(cluster_id, spec, number, given))
        return ends

    def _one(self, cluster_id, spec, number, given):
        ((kind, where),) = given.items()
        try:
            text = self._text(kind, where["destination"])
        except Refusal as refusal:
            return ScriptEnd(given, "FAILED_FETCH", str(refusal))
        node = self._machines.of(cluster_id)
        if node is None:
            return ScriptEnd(given, "SUCCEEDED")
        ended = node.run_script(text, _variables(cluster_id, spec))
        self._log(cluster_id, spec, f"{number:02}_{where['destination'].rpartition('/')[2]}", ended)
        words = f"Script exit status is non-zero: {ended.code}"
        return ScriptEnd(given, "FAILED_EXECUTION", words) if ended.code else ScriptEnd(given, "SUCCEEDED")

    def _text(self, kind, path):
        if kind == "workspace":
            thing = self._workspace.find(path)
            if thing.kind != "FILE":
                raise Refusal(400, "INVALID_PARAMETER_VALUE", f"{path} is a {thing.kind.lower()}, and no file.")
            return thing.content.decode()
        if kind != "volumes":
            raise Refusal(400, "INVALID_PARAMETER_VALUE", f"Init scripts from {kind} are not served here.")
        disk = self._volumes.on_disk(path)
        if not disk.is_file():
            raise Refusal(404, "NOT_FOUND", f"The file {path} does not exist.")
        return disk.read_text()

    def _log(self, cluster_id, spec, name, ended):
        """As on Databricks: FOLDER/CLUSTER/init_scripts/CLUSTER_IP/TIME_NUMBER_NAME.stdout.log, and .stderr.log."""
        log = (spec.get("cluster_log_conf") or {}).get("volumes")
        if not log:
            return
        stamp = time.strftime("%Y%m%d_%H%M%S", time.gmtime(0))
        folder = self._volumes.on_disk(log["destination"]) / cluster_id / "init_scripts"
        folder /= f"{cluster_id}_{_IP.replace('.', '_')}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stamp}_{name}.stdout.log").write_text(ended.out)
        (folder / f"{stamp}_{name}.stderr.log").write_text(ended.err)


def _variables(cluster_id, spec):
    """What Databricks tells an init script. A cluster with workers runs it as one of them: the engine is theirs."""
    version = re.match(r"\d+\.(\d+|x)", spec["spark_version"])[0].removesuffix(".x")
    expected = {
        "DATABRICKS_RUNTIME_VERSION": version,
        "DB_CLUSTER_ID": cluster_id,
        "DB_CLUSTER_NAME": spec.get("cluster_name") or "",
        "DB_CONTAINER_IP": _IP,
        "DB_DRIVER_IP": _IP,
        "DB_INSTANCE_TYPE": spec.get("node_type_id") or "",
        "DB_IS_DRIVER": "FALSE" if spec.get("num_workers") or spec.get("autoscale") else "TRUE",
        "DB_IS_JOB_CLUSTER": "FALSE",
    }
    return (spec.get("spark_env_vars") or {}) | expected


def variables_of_notebooks(cluster_id, spec):
    """What the driver's processes are told: DB_IS_DRIVER is TRUE there."""
    return _variables(cluster_id, spec) | {"DB_IS_DRIVER": "TRUE"}
