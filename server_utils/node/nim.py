"""Prepare a node for NIM: NVIDIA's container toolkit, the rights of Spark's user, and the image. Nodes only.

Settings are variables: NIM_IMAGE names the image, and NGC_SECRET_NAME the secret with the key of NVIDIA's registry, in
Google's Secret Manager. The key is read on the node: it is in no setting, no command line and no log.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from server_utils.clusters.cluster import runs_containers
from server_utils.host.gpus import has_nvidia_smi
from server_utils.node import container_checks, containers, downloads
from server_utils.node.container_checks import GROUP, IMAGE
from server_utils.node.node import Node, StepError, run, write_log

SECRET = "NGC_SECRET_NAME"  # noqa: S105 - the name of a variable
_TOOLKIT = "nvidia-container-toolkit"
_OFFERED = ("apt-cache", "show", _TOOLKIT)
_NODE_MANAGER = "hadoop-yarn-nodemanager"
_DEVICES = "/etc/cdi/nvidia.yaml"


def prepare(node: Node) -> None:
    """Make the node ready for containers, where the framework's servers are such.

    Raises:
        StepError: there is no container engine, a package or an image cannot be had, or a command fails.
    """
    if not node.serves or not runs_containers(node.framework):
        return
    try:
        engine = containers.find()
        _prepare_toolkit(node, engine)
        _give_rights(node, engine)
        _pull_image(node, engine)
    except containers.ContainerError as err:
        raise StepError(str(err)) from err


def _prepare_toolkit(node: Node, engine: str) -> None:
    """Have the container engine give GPUs to containers, where there are any."""
    if not has_nvidia_smi() or container_checks.has_toolkit(engine):
        return
    if shutil.which("nvidia-ctk") is None:
        _install_toolkit(node)
    if engine == "podman":
        run(node, ["nvidia-ctk", "cdi", "generate", f"--output={_DEVICES}"])
    else:
        run(node, ["nvidia-ctk", "runtime", "configure", "--runtime=docker"])
        run(node, ["systemctl", "restart", "docker"])


def _install_toolkit(node: Node) -> None:
    run(node, ["apt-get", "update", "--quiet"])
    if subprocess.run(_OFFERED, capture_output=True, check=False).returncode:
        raise StepError(
            f"the node has no {_TOOLKIT}, and no package source of its image offers it: install it by an "
            "initialization action before ours, as NVIDIA's installation guide says, or take an image that has it"
        )
    run(node, ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", _TOOLKIT])


def _give_rights(node: Node, engine: str) -> None:
    """Let executors use Docker. Those of a running NodeManager would not know of the group: it starts again."""
    user = container_checks.executors()
    if engine != "docker" or user is None or container_checks.may_use_socket(user):
        return
    run(node, ["usermod", "--append", "--groups", GROUP, user])
    run(node, ["systemctl", "try-restart", _NODE_MANAGER])


def _pull_image(node: Node, engine: str) -> None:
    """Pull the image, so that the first start of a server need not."""
    image, user = container_checks.image(), container_checks.executors()
    if image is None:
        write_log(node, f"no {IMAGE} is set: the first start of a server pulls its image")
    elif engine == "podman" and user:
        write_log(node, f"podman keeps images by user, and executors run as {user}: the first start pulls {image}")
    elif containers.inspect(engine, image) is None:
        write_log(node, f"+ {engine} pull {image}")
        with node.log.open("a", encoding="utf-8") as log:
            containers.pull(engine, image, key=_key(), output=log)


def _key() -> str | None:
    """The key of NVIDIA's registry, from Secret Manager; None where no secret is named."""
    name = os.environ.get(SECRET)
    if not name:
        return None
    version = [name] if "/versions/" in name else ["latest", f"--secret={name}"]
    command = ["gcloud", "secrets", "versions", "access", *version]
    done = subprocess.run(command, env=downloads.without_proxy(os.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepError(
            f"the secret {name} cannot be read: {containers.last_line(done.stderr)}. See that {SECRET} names a secret "
            "of Secret Manager, and that the nodes' service account has the role Secret Manager Secret Accessor"
        )
    return done.stdout.strip()
