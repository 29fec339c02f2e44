"""Prepare the node of a cluster: the init scripts run this module from the unpacked wheel. Nodes only.

It runs the steps of `steps.py` in their order: they install the package into a folder of its own, build the sealed
environment, and check the result. A step does nothing where its work is done, so a second run takes seconds. A status
file says how the run ended. Standard library only, as the package is not installed yet.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from server_utils.errors import SidecarError
from server_utils.host.files import exclusive_lock, replacement
from server_utils.node import downloads
from server_utils.node.node import Node, write_log
from server_utils.node.steps import STEPS, WITH_DOWNLOADS

_DEFAULT_HOME = "/opt/spark-sidecar"
_TAIL_LINES = 12
_NO_WHEELS = (
    "The bundle has no wheels/, so the package index was asked: the nodes need a way to it, or a bundle with wheels "
    "(spark-sidecar wheelhouse build)."
)


@dataclass
class Status:
    """The progress of a node, as the status file and its copy beside the bundle hold it."""

    host: str
    framework: str
    state: str = "running"
    step: str = "start"
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Prepare the node. Returns 0, or 1 after the end of the log and one line on standard error."""
    node = _parse(arguments)
    status = Status(machine.node(), node.framework)
    try:
        node.log.parent.mkdir(parents=True, exist_ok=True)
        write_log(node, f"{node.framework} from {node.bundle}, {sys.executable}")
        with exclusive_lock(node.home / ".node.lock"):  # another run waits, and finds the work done
            _make_ready(node, status)
    except OSError as err:  # no folder to work in
        _failed(status, err)
    return _report(node, status)


def _make_ready(node: Node, status: Status) -> None:
    """Run all steps and publish how they ended, under the lock: the next run writes the same files."""
    try:
        _run_steps(node, status)
    except (SidecarError, OSError) as err:
        _failed(status, err)
    else:
        status.state, status.step = "ready", "end"
        shutil.rmtree(node.cache, ignore_errors=True)
    _publish(node, status)


def _failed(status: Status, err: Exception) -> None:
    status.state, status.reason = "failed", " ".join(str(err).split())


def _run_steps(node: Node, status: Status) -> None:
    for name, step in STEPS.items():
        status.step, began = name, time.monotonic()
        _write_status(node, status)
        step(node)
        status.seconds[name] = round(time.monotonic() - began, 2)


def _parse(arguments: Sequence[str]) -> Node:
    parser = argparse.ArgumentParser(prog="python -m server_utils.node")
    parser.add_argument("framework")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--logs", default="")
    parser.add_argument("--role", default="", help="what Dataproc calls the node")
    parser.add_argument("--driver", default="", help="TRUE on the driver of Databricks")
    parser.add_argument("--workers", default="", help="the cluster's; empty where nobody says")
    parser.add_argument("--into-spark", choices=["yes", "no", ""], default="no")
    given = parser.parse_args(arguments)
    home = Path(os.environ.get("SPARK_SIDECAR_HOME") or _DEFAULT_HOME)
    return Node(
        given.framework, given.bundle, home, given.logs, serves=_serves(given), into_spark=given.into_spark == "yes"
    )


def _serves(given: argparse.Namespace) -> bool:
    """Whether executors run here: a driver or master does the workers' work on a cluster that has none.

    The driver of Databricks counts as one with executors unless the number of workers is known, and where Spark's own
    Python gets the packages of the environment: notebooks use them there.
    """
    if given.driver == "TRUE":
        return bool(given.workers in {"", "0"} or given.into_spark == "yes")
    return bool(given.role != "Master" or given.workers == "0")


def _write_status(node: Node, status: Status) -> None:
    with replacement(node.home / "status.json") as beside:
        beside.write_text(json.dumps(asdict(status), indent=2) + "\n")


def _publish(node: Node, status: Status) -> None:
    """Copy status and log beside the bundle: a node that failed is deleted before anybody can read them there."""
    try:
        _write_status(node, status)
        if node.logs.startswith("gs://"):
            to = f"{node.logs}/{status.host}/"
            command = ["gcloud", "storage", "cp", str(node.home / "status.json"), str(node.log), to]
            subprocess.run(command, env=downloads.without_proxy(os.environ), check=True)
        elif node.logs:
            to_folder = Path(node.logs) / status.host
            to_folder.mkdir(parents=True, exist_ok=True)
            for file in (node.home / "status.json", node.log):
                # Contents only: volumes know no modes.
                shutil.copyfile(file, to_folder / file.name)
    except (OSError, subprocess.SubprocessError) as err:
        # Not an error: a cluster starts without these copies.
        print(f"spark-sidecar: log and status could not be copied to {node.logs}: {err}", file=sys.stderr)


def _report(node: Node, status: Status) -> int:
    if status.state == "ready":
        print(f"spark-sidecar: ready for {node.framework}, in {sum(status.seconds.values()):.1f} s")
        return 0
    if node.log.exists():
        print("\n".join(node.log.read_text(encoding="utf-8").splitlines()[-_TAIL_LINES:]), file=sys.stderr)
    if not node.wheels and status.step in WITH_DOWNLOADS:
        print(_NO_WHEELS, file=sys.stderr)
    print(f"error: spark-sidecar: step {status.step} failed: {status.reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
