"""The node that is prepared: its folders, its log, and how a step runs a command. Nodes only.

Standard library only, as the package is not installed yet.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from server_utils.errors import SidecarError
from server_utils.host import logs
from server_utils.node import downloads


class StepError(SidecarError):
    """A step failed; the message is its reason, in one line."""


@dataclass(frozen=True)
class Node:
    """What to prepare.

    Attributes:
        logs: a folder, or gs://…
        serves: whether executors run on this node, and servers beside them.
        into_spark: whether Spark's own Python gets what it lacks of the environment.
    """

    framework: str
    bundle: Path
    home: Path
    logs: str
    serves: bool = True
    into_spark: bool = False

    @property
    def wheels(self) -> Path | None:
        """The folder of wheels; None where the bundle has none, so that the package index is asked."""
        folder = self.bundle / "wheels"
        return folder if folder.is_dir() else None

    @property
    def log(self) -> Path:
        """The output of all steps."""
        return self.home / "log" / "init.log"

    @property
    def lib(self) -> Path:
        """The folder of the package and of what Spark's Python lacks for it."""
        return self.home / "lib"

    @property
    def cache(self) -> Path:
        """The cache of uv, on the disk of the environments, so that files are linked, not copied."""
        return self.home / ".uv-cache"


def sources(node: Node) -> list[str]:
    """The options that tell uv where the wheels are."""
    return ["--no-index", "--find-links", str(node.wheels)] if node.wheels else []


def own_command() -> list[str]:
    """The command line of the package that the steps have installed."""
    return [sys.executable, "-c", "from server_utils.cli.main import app; app(prog_name='spark-sidecar')"]


def environ(node: Node) -> dict[str, str]:
    """The variables of the commands that a step runs."""
    paths = {"PYTHONPATH": str(node.lib), "PATH": f"{node.home / 'bin'}:{os.environ['PATH']}"}
    folders = {"SPARK_SIDECAR_HOME": str(node.home), "UV_CACHE_DIR": str(node.cache)}
    return os.environ | downloads.environ(os.environ) | paths | folders


def run(node: Node, command: Sequence[str]) -> None:
    """Run one command; all it says goes into the log.

    Raises:
        StepError: if it fails, with the last line that looks like a reason.
    """
    write_log(node, f"+ {' '.join(command)}")
    done = subprocess.run(
        command, env=environ(node), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    write_log(node, done.stdout)
    if done.returncode:
        reason = logs.reason(done.stdout) or f"it ended {done.returncode}"
        raise StepError(downloads.redacted(downloads.explained(reason, done.stdout)))


def write_log(node: Node, text: str) -> None:
    """Add a line to the log, without secrets."""
    with node.log.open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%H:%M:%S')} {downloads.redacted(text.rstrip())}\n")
