"""What tests of real processes share: where the fake server is, how to talk to it, and how to look after it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from http.server import ThreadingHTTPServer
from pathlib import Path

import psutil

from server_utils.host import platform
from server_utils.host.processes import wait_until
from server_utils.servers import state_dir
from server_utils.servers.orphans import SERVER_MARKER

ROOT = Path(__file__).parents[2]
FAKE_SERVER = Path(__file__).with_name("fake_server.py")


class CrowdedServer(ThreadingHTTPServer):
    """Lets as many connections wait as clients open at once: a full queue costs each of them seconds."""

    request_queue_size = 256


def processes_of(state: Path, *, older: Collection[int] = ()) -> list[psutil.Process]:
    """The servers' processes, by their environment or their folder, and the supervisors, by their command line.

    vLLM's engines write over their environment. It is asked after every test: psutil would take three times as long.

    older: numbers of processes that were there before the state folder was, and are none of its.
    """
    found = []
    for pid in sorted(set(psutil.pids()).difference(older)):
        with contextlib.suppress(OSError, psutil.Error):  # it ended meanwhile, or is a zombie
            if _is_of(f"/proc/{pid}", os.fsencode(state)):
                found.append(psutil.Process(pid))
    return found


def _is_of(process: str, state: bytes) -> bool:
    marked = b"\0%s=%s" % (SERVER_MARKER.encode(), state)
    folder = os.fsencode(os.readlink(f"{process}/cwd"))  # noqa: PTH115 - as below
    if folder.startswith(state) or marked in _content(f"{process}/environ"):
        return True
    words = _content(f"{process}/cmdline").rstrip(b"\0").split(b"\0")
    return b"server_utils.servers.supervisor" in words and words[-1].startswith(state)


def _content(file: str) -> bytes:
    with open(file, "rb", buffering=0) as words:  # noqa: PTH123 - a million times in all tests
        return b"\0" + words.read()


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty where it ended meanwhile."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


def killed(processes: list[psutil.Process]) -> list[str]:
    """Kill what is left of processes. Returns what they were, for the test that left them."""
    names = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it goes with another that was just killed
            names.append(f"{process.pid} {' '.join(process.cmdline())}")
            process.kill()
    return names


def ask(server, path):
    """What the fake server answers."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def folder_of(server):
    return server.folder


def wait_for_record(folder, condition, *, seconds=30):
    """The record, once it is as a test wants it."""
    assert wait_until(lambda: condition(state_dir.read(folder)), seconds), state_dir.read(folder)
    return state_dir.read(folder)


def contents(folder):
    """What is in the files below a folder; one that is replaced while this looks may be left out."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file():
                found[path] = path.read_bytes()
    return found


def kill(identity):
    """SIGKILL, and wait until it is gone."""
    identity.signal(signal.SIGKILL)
    assert wait_until(lambda: not identity.alive(), 10)


def python_path():
    """That of this process, which Spark's tests set, behind the package and the tests."""
    return os.pathsep.join([str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])])


def run_python(code, *arguments, **options):
    """A Python of its own that can import the package."""
    environ = os.environ | {"PYTHONPATH": python_path()}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], env=environ, text=True, **options)


def known_to(server):
    """Names of the memory that a Triton has mapped, into which clients lay their tensors."""
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"])
    token = Path(server.log).with_name("token").read_text()
    connection.request("GET", "/v2/systemsharedmemory/status", headers={"triton-access-token": token})
    with contextlib.closing(connection):
        return {region["name"] for region in json.load(connection.getresponse())}


NOBODY = 54321  # a number that no user of the system has


def as_nobody(code, *arguments, **variables):
    """What a Python of a user who is in no database, and has no HOME, prints, errors included."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])} | variables
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environ, cwd="/", user=NOBODY, group=NOBODY, extra_groups=[], text=True, capture_output=True, check=False,
        timeout=120,
    )  # fmt: skip
    return done.stdout + done.stderr


def as_nobody_on_a_node(home, code, *arguments, **variables):
    """What a Python of such a user prints on a machine whose package folder is root's and read-only, as on clusters.

    home: where this machine's sealed environments appear; an empty folder that every user may enter.
    """
    mount = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])} | variables
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", platform.home(), home, *user, sys.executable, "-c", code,
         *map(str, arguments)],
        env=environ | {"SPARK_SIDECAR_HOME": str(home)}, cwd="/", text=True, capture_output=True, check=False,
        timeout=400,
    )  # fmt: skip
    return done.stdout + done.stderr


def mounted_noexec(folder, code, *arguments, **variables):
    """What a Python prints, errors included, for which a folder is a small disk of its own that runs no programs."""
    mount = 'mount -t tmpfs -o noexec,mode=1777,size=256m tmpfs "$1" && shift && exec "$@"'
    environ = os.environ | {"PYTHONPATH": python_path()} | variables
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", folder, sys.executable, "-c", code, *map(str, arguments)],
        env=environ, text=True, capture_output=True, check=False, timeout=400,
    )  # fmt: skip
    return done.stdout + done.stderr


def with_volumes(folder):
    """What to put before a command that sees a folder as /Volumes. No other process does: it means Databricks to us."""
    root = folder.with_name("root")
    root.mkdir()
    script = """
root=$1 folder=$2; shift 2
mount -t tmpfs tmpfs "$root"
for each in /*; do
  if [ -L "$each" ]; then cp -P "$each" "$root$each"
  elif [ -d "$each" ]; then mkdir "$root$each"; mount --rbind "$each" "$root$each"
  fi
done
mkdir "$root/Volumes"; mount --bind "$folder" "$root/Volumes"
exec chroot "$root" sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
"""
    return ["unshare", "--mount", "sh", "-e", "-c", script, "sh", str(root), str(folder)]


def can_mount():
    """Whether this process may mount disks, as root may, but not in most containers."""
    try:
        return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def may_lift():
    """Whether this process may raise a hard limit: root may, but not in most containers (CAP_SYS_RESOURCE)."""
    code = "import resource as r; r.setrlimit(r.RLIMIT_AS, (2 << 30, 2 << 30)); r.setrlimit(r.RLIMIT_AS, (-1, -1))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
