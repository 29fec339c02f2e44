"""The container engines of a host, docker and podman, and what is wrong with them. Nodes and executors.

The node's steps, the doctor and the program of a NIM use it. It is laid beside that program, which runs where this
package is not: standard library only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

ENGINES = ("docker", "podman")
KEY = "NGC_API_KEY"
_REGISTRY = "nvcr.io"  # NVIDIA's
NO_TOOLKIT = "could not select device driver"
HINTS = {
    "permission denied": "user {user} may not use {engine} on this host: add the user to the group docker on every "
    "node (usermod -aG docker {user}), and start Spark's processes again",
    "cannot connect": "the container engine of this host does not answer: start it on every node "
    "(systemctl enable --now docker)",
    NO_TOOLKIT: "this host has no NVIDIA Container Toolkit: install nvidia-container-toolkit on "
    "every node, run `nvidia-ctk runtime configure`, and start the container engine again",
    "unauthorized": "the registry wants a login: give the key by env={{'NGC_API_KEY': …}}, or log in on every node",
    "denied": "the registry refuses the image: see that its name is right, and that the key's organisation may use it",
    "manifest unknown": "the registry has no such tag: see the image's page for its tags",
    "no such host": "this host does not reach the registry: pull the image where there is a network, and load it on "
    "every node (docker load)",
}


class ContainerError(Exception):
    """A container engine is missing or fails; the message says what to do, in one line."""


def find(names: Sequence[str] = ENGINES) -> str:
    """The first of these container engines that this host has. Raises ContainerError where there is none."""
    installed = [each for each in names if shutil.which(each)]
    if not installed:
        raise ContainerError(
            f"this host has no {' or '.join(names)} (PATH is {os.environ.get('PATH', '')}): NIM runs in a container. "
            "Install one on every node; on Dataproc that is the optional component DOCKER"
        )
    return installed[0]


def advise(engine: str, output: str) -> str:
    """What to do about an error, in a sentence. output: what the container engine printed."""
    user = os.environ.get("USER") or str(os.getuid())
    hints = [hint for sign, hint in HINTS.items() if sign in output.lower()]
    return hints[0].format(user=user, engine=engine) if hints else "run the same command on this host to see more"


def last_line(output: str) -> str:
    """The end of what a container engine printed."""
    return (output.strip().splitlines() or ["it printed nothing"])[-1]


def explain(engine: str, doing: str, output: str) -> str:
    """What went wrong in one line, and what to do where that is known. output: what the container engine printed."""
    hint = advise(engine, output)
    return f"cannot {doing}: {engine} says: {last_line(output)}. {hint[0].upper()}{hint[1:]}"


def inspect(engine: str, image: str) -> dict[str, Any] | None:
    """The description of an image; None where this host lacks it. Raises ContainerError if it cannot be known."""
    done = subprocess.run([engine, "image", "inspect", image], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return dict(json.loads(done.stdout)[0])
    if "no such image" not in done.stderr.lower() and "not known" not in done.stderr.lower():
        raise ContainerError(explain(engine, f"look at image {image}", done.stderr))
    return None


def pull(engine: str, image: str, *, key: str | None = None, output: IO[str] | None = None) -> None:
    """Pull an image.

    Args:
        engine: the command of the container engine.
        image: its name.
        key: of NVIDIA's registry; it is in no command line, in no log, and in no file that stays.
        output: where the engine's progress goes; by default to standard output.

    Raises:
        ContainerError: the registry or the engine refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        login = _login(engine, folder, key) if key and image.startswith(f"{_REGISTRY}/") else {}
        command, environ = [engine, "pull", image], os.environ | login
        done = subprocess.run(command, env=environ, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ContainerError(explain(engine, f"pull image {image}", done.stderr))


def _login(engine: str, folder: str, key: str) -> Mapping[str, str]:
    """Log in to NVIDIA's registry. Returns variables that name the login, which is in `folder`."""
    variables = {"DOCKER_CONFIG": folder, "REGISTRY_AUTH_FILE": f"{folder}/auth.json"}
    done = subprocess.run(
        [engine, "login", _REGISTRY, "--username", "$oauthtoken", "--password-stdin"],
        env=os.environ | variables,
        input=key,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ContainerError(explain(engine, f"log in to {_REGISTRY} with {KEY}", done.stderr))
    return variables


def series_of(image: str) -> int | None:
    """The series of a NIM, which is the first number of its tag; None where the tag does not tell."""
    tag = re.search(r":v?(\d+)[.\d]*[^/]*$", image.partition("@")[0])
    return int(tag[1]) if tag else None
