"""The program of a NIM sidecar: runs its container below itself, and watches it. Standard library only.

    python program.py READINESS_FILE PORT STALL_S ENGINES IMAGE OPTIONS... -- COMMAND...

ENGINES are names such as docker,podman: the first that this host has is used. OPTIONS are of its `run`. COMMAND is what
the image runs; without one it is the image's own.

A container is a child of the container engine's daemon, so nothing ends it with its executor. Therefore its first
process is a guard, whose standard input is a pipe from here. When the pipe ends, by whatever death, the guard ends
every process of the container.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import containers  # laid beside this file, as the next two
import engine_watch
import openai_program

_CONTAINER_PORT = 8000  # NIM's default; the container has a network of its own
_CACHE = "/opt/nim/.cache"
_REMOVAL_S, _REMOVAL_PAUSE_S = 30.0, 0.2
_REFUSED = 125  # the exit status of `run` where the engine itself refuses
# Laid out for `sh`: the engine runs in the background, because a shell heeds a signal only while it waits.
_GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & engine=$!
trap 'kill -TERM $engine 2>/dev/null' TERM
{ cat <&3 >/dev/null; kill -KILL -1; } &
wait $engine; status=$?
while kill -0 $engine 2>/dev/null; do wait $engine; status=$?; done
exit $status
"""


def image_command(engine: str, image: str) -> list[str]:
    """What the image runs by itself; the image is pulled where this host lacks it."""
    inspected = containers.inspect(engine, image)
    if inspected is None:
        sys.stdout.write(f"this host lacks {image}: pulling it (10 GB and more; pull it ahead on every node)\n")
        sys.stdout.flush()
        containers.pull(engine, image, key=os.environ.get(containers.KEY))
        inspected = containers.inspect(engine, image)
    config = (inspected or {}).get("Config") or {}
    return [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]


def gpu_options(engine: str) -> list[str]:
    """The GPUs of this server as options of `run`: the assigned ones, else all of the host's."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not chosen and not shutil.which("nvidia-smi"):
        return []
    devices = chosen.split(",") if chosen else ["all"]
    if engine == "podman":
        return [word for each in devices for word in ("--device", f"nvidia.com/gpu={each}")]
    return ["--gpus", f'"device={",".join(devices)}"' if chosen else "all"]


def cache_options(engine: str, image: str) -> list[str]:
    """The folder that keeps an image's downloads and compiled engines, and the user that it belongs to: this one."""
    is_mapped = engine == "podman" and os.getuid() != 0  # rootless podman gives users of a container other numbers
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "nim" / re.sub(r"[^\w.-]+", "-", image)
    folder.mkdir(parents=True, exist_ok=True)
    user = ["--user", str(os.getuid()), *(["--userns", "keep-id"] if is_mapped else [])]
    return ["--mount", f"type=bind,source={folder},target={_CACHE}", *user]


def run_command(engine: str, image: str, port: str, options: Sequence[str], command: Sequence[str]) -> list[str]:
    """The command that runs the container. Published on loopback only, whatever the image binds."""
    markers = ("SPARK_SIDECAR_SERVER", "SPARK_SIDECAR_SUPERVISOR")  # by them a process is known as ours
    own = [word for marker in markers for word in ("--env", marker)]
    own += ["--publish", f"127.0.0.1:{port}:{_CONTAINER_PORT}", *gpu_options(engine), *cache_options(engine, image)]
    guard = ["--entrypoint", "/bin/sh", image, "-c", _GUARD, "guard"]
    run = [engine, "run", "--interactive", "--rm", "--name", container_name()]
    return [*run, *own, *options, *guard, *command]


def container_name() -> str:
    """The container's name: one per server, whatever port it has."""
    server = os.environ.get("SPARK_SIDECAR_SERVER", str(Path.cwd()))
    return f"spark-sidecar-{hashlib.sha256(server.encode()).hexdigest()[:16]}"


def hold_pipe() -> int:
    """Make standard input a pipe that ends with this process. Returns the end to keep."""
    reader, writer = os.pipe()
    os.dup2(reader, 0)
    os.close(reader)
    return writer


def remove_container(engine: str) -> None:
    """Remove this server's container, whatever its state, and wait until its name is free.

    One that was paused has outlived SIGKILL, and one that has just died may still be on its way out.
    """
    listed = [engine, "ps", "--all", "--quiet", "--filter", f"name=^/?{container_name()}$"]
    deadline = time.monotonic() + _REMOVAL_S
    while time.monotonic() < deadline:
        subprocess.run([engine, "rm", "--force", container_name()], capture_output=True, check=False)
        if not subprocess.run(listed, capture_output=True, text=True, check=False).stdout.strip():
            return
        time.sleep(_REMOVAL_PAUSE_S)


def check_served(engine: str, port: int) -> dict[str, Any]:
    """Nothing to add to the description of a model; ends this process where the image serves another one."""
    wanted = openai_program.read_settings().model
    page = json.loads(engine_watch.get(port, "/v1/models") or b"{}")
    names = [each["id"] for each in page.get("data", [])]
    if wanted not in names:
        remove_container(engine)  # first: a port that is still held looks like a reason to start again
        engine_watch.end(
            f"the image serves {', '.join(names) or 'no model'}, not {wanted!r}: it does not heed "
            f"NIM_SERVED_MODEL_NAME; name the manager as the image names its model"
        )
    return {}


def main(words: Sequence[str]) -> int:
    """Run the container of this command line. Returns the exit status."""
    readiness_file, port, stall_s, names, image, *rest = words
    cut = rest.index("--")
    engine = containers.find(names.split(","))
    own_command = image_command(engine, image)
    command = run_command(engine, image, port, rest[:cut], rest[cut + 1 :] or own_command)
    remove_container(engine)
    hold_pipe()
    status: int = openai_program.run(
        command, Path(readiness_file), int(port), float(stall_s), described=lambda: check_served(engine, int(port))
    )
    if status == _REFUSED and gpu_options(engine):
        hint = containers.HINTS[containers.NO_TOOLKIT]
        sys.stderr.write(f"If the line above names a device driver: {hint}\n")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except containers.ContainerError as err:
        engine_watch.end(str(err))
