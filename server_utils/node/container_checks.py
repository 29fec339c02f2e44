"""Check a node whose servers are containers: engine, rights, NVIDIA's toolkit, driver. Driver and executors.

Changes nothing. The image that a node is prepared for is in the variable NIM_IMAGE, where one is named.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from grp import getgrall

from server_utils.host.gpus import Gpu
from server_utils.node import containers, gpu_checks
from server_utils.node.gpu_checks import Finding

IMAGE = "NIM_IMAGE"
GROUP = "docker"  # whoever is in it may use Docker's socket
_EXECUTORS = "yarn"  # the user of executors on YARN
_CUDA = {1: 12, 2: 13, 3: 13}  # the series of a NIM -> the major version of its CUDA
_OLDEST_DOCKER = 24  # for NIM 2, as NVIDIA says
_VERSION = {
    "docker": ("version", "--format", "{{.Server.Version}}"),
    "podman": ("info", "--format", "{{.Version.Version}}"),
}
_INSTALL = "on every node install docker.io (Debian, Ubuntu), or set Dataproc's optional component DOCKER"
_TOOLKIT_FIX = (
    "on every node: apt-get install nvidia-container-toolkit, then for Docker nvidia-ctk runtime configure "
    "--runtime=docker and systemctl restart docker; for podman nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
)


def image() -> str | None:
    """The image that this node is prepared for."""
    return os.environ.get(IMAGE) or None


def cuda_of_image() -> int | None:
    """The major version of the CUDA that the image of this node was built for; None where nobody knows."""
    return _CUDA.get(containers.series_of(image() or "") or 0)


def check(gpus: list[Gpu]) -> list[Finding]:
    """Check all that containers need here, in the order in which to fix it."""
    try:
        engine = containers.find()
    except containers.ContainerError:
        return [Finding("container engine", "error", f"no {' or '.join(containers.ENGINES)} on PATH", _INSTALL)]
    return [_engine(engine), *_rights(engine), *(_toolkit(engine) if gpus else [])]


def driver(gpus: list[Gpu]) -> list[Finding]:
    """Compare the driver with the CUDA of the node's image, or of all that there are."""
    cuda = cuda_of_image()
    if cuda:
        return gpu_checks.driver(gpus, f"{image()} is built for CUDA {cuda}", cuda)
    findings = gpu_checks.driver(gpus, "NIM of the series 2 and 3 is built for CUDA 13", 13)
    if findings and findings[0].level == "error":
        error = findings[0]
        return [Finding("GPU driver", "warning", error.found, f"take a NIM of series 1, or {error.fix}")]
    return findings


def has_toolkit(engine: str) -> bool:
    """Whether this container engine can give GPUs to containers."""
    if engine == "podman":
        return "nvidia.com/gpu" in _output("nvidia-ctk", "cdi", "list")
    return "nvidia" in _output(engine, "info", "--format", "{{json .Runtimes}}")


def executors() -> str | None:
    """The user of executors, where that is another one than this process's."""
    with contextlib.suppress(KeyError):
        return _EXECUTORS if pwd.getpwnam(_EXECUTORS).pw_uid != os.getuid() else None
    return None


def may_use_socket(user: str) -> bool:
    """Whether a user is in the group of Docker's socket."""
    primary = pwd.getpwnam(user).pw_gid
    return any(each.gr_name == GROUP and (user in each.gr_mem or each.gr_gid == primary) for each in getgrall())


def _engine(engine: str) -> Finding:
    """Whether it answers this user, and whether it is new enough."""
    done = subprocess.run([engine, *_VERSION[engine]], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    if done.returncode or not version:
        problem = f"{engine} says: {containers.last_line(done.stderr)}"
        return Finding("container engine", "error", problem, containers.advise(engine, done.stderr))
    major = re.match(r"\d+", version)
    if engine == "docker" and major and int(major[0]) < _OLDEST_DOCKER:
        problem = f"docker {version}; NIM of series 2 wants {_OLDEST_DOCKER} or newer"
        return Finding(
            "container engine", "warning", problem, "take an image with a newer Docker, or a NIM of series 1"
        )
    return Finding("container engine", "ok", f"{engine} {version} ({shutil.which(engine)})")


def _rights(engine: str) -> list[Finding]:
    user = executors()
    if engine != "docker" or user is None:
        return []
    if may_use_socket(user):
        return [Finding("container rights", "ok", f"{user} is in the group {GROUP}")]
    fix = f"usermod -aG {GROUP} {user} on every node, then start Spark's processes again"
    return [Finding("container rights", "error", f"executors run as {user}, who is not in the group {GROUP}", fix)]


def _toolkit(engine: str) -> list[Finding]:
    name = "container toolkit"
    if has_toolkit(engine):
        return [Finding(name, "ok", f"{engine} gives GPUs to containers")]
    return [Finding(name, "error", f"{engine} cannot give GPUs to containers", _TOOLKIT_FIX)]


def _output(*command: str) -> str:
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""
