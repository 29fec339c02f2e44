"""A real container engine for tests: the machine's own Docker, else one that is unpacked from Debian's packages.

Nothing is installed and nothing of the machine is changed. The image of the stand-in is made from this machine's Python
and busybox, without a registry.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from server_utils.host.files import exclusive_lock
from server_utils.host.processes import wait_until

FAKE_NIM = Path(__file__).with_name("fake_nim.py")
IMAGE = "spark-sidecar-test/fake-nim:2.1"
_PACKAGES = ("docker.io", "containerd", "tini", "runc", "busybox-static")
_READY_S = 60
_PYTHON = Path("/usr/bin/python3")


@contextlib.contextmanager
def docker():
    """The variables by which clients find a Docker engine. Skips where there is none and none can be started."""
    if shutil.which("docker") and _answers({}):
        yield {}
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("no Docker engine answers here, and only root can start one from Debian's packages")
    # One at a time: two daemons would give out the same addresses of one bridge.
    lock = Path(tempfile.gettempdir()) / f"spark-sidecar-docker-{os.getuid()}.lock"
    with (
        exclusive_lock(lock),
        tempfile.TemporaryDirectory(prefix="docker-", dir="/tmp") as folder,
        _started(Path(folder)) as variables,
    ):
        yield variables


@contextlib.contextmanager
def _started(folder):
    """A daemon of our own, with all that it keeps in this folder."""
    root = _unpacked(folder)
    socket, path = folder / "s", f"{root}/usr/sbin:{root}/usr/bin:{root}/bin:{os.environ['PATH']}"
    options = ["--iptables=false", "--ip6tables=false", "--exec-opt", "native.cgroupdriver=cgroupfs"]
    places = ["--data-root", folder / "data", "--exec-root", folder / "run", "--pidfile", folder / "pid"]
    variables = {"DOCKER_HOST": f"unix://{socket}", "PATH": path}
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [root / "usr/sbin/dockerd", *places, "-H", f"unix://{socket}", *options],
            env=os.environ | variables,
            stdout=log,
            stderr=log,
        )
    try:
        if not wait_until(lambda: daemon.poll() is not None or _answers(variables), _READY_S) or daemon.poll():
            last = (folder / "dockerd.log").read_text().strip().splitlines()[-1:]
            pytest.skip(f"a Docker engine does not start here: {last}")
        yield variables
    finally:
        daemon.terminate()
        daemon.wait(_READY_S)


def _unpacked(folder):
    """Debian's packages of Docker, unpacked."""
    packages, root = folder / "packages", folder / "root"
    packages.mkdir()
    root.mkdir()
    subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
    fetched = subprocess.run(
        ["apt-get", "download", "-q", *_PACKAGES], cwd=packages, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(f"Debian's packages of Docker cannot be had: {fetched.stderr.strip().splitlines()[-1:]}")
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


def _answers(variables):
    done = subprocess.run(["docker", "version"], env=os.environ | variables, capture_output=True, check=False)
    return done.returncode == 0


def run(variables, *words, check=True, **options):
    """A command of Docker's client. Returns what it printed."""
    done = subprocess.run(
        ["docker", *words], env=os.environ | variables, capture_output=True, text=True, check=check, **options
    )
    return done.stdout.strip()


def make_image(variables):
    """The stand-in's image, with a user 1000 of its own."""
    content = _root_of_image(variables)
    start = f'ENTRYPOINT ["{_PYTHON}", "/opt/nim/fake_nim.py"]'
    subprocess.run(
        ["docker", "import", "--change", start, "--change", "USER 1000", "-", IMAGE],
        env=os.environ | variables,
        input=content,
        capture_output=True,
        check=True,
    )
    return IMAGE


def _root_of_image(variables):
    """A tar of busybox as `sh`, Debian's Python with what it links, and the stand-in."""
    busybox = shutil.which("busybox", path=variables.get("PATH", os.environ["PATH"]))
    if busybox is None or not _PYTHON.exists():
        pytest.skip("the stand-in's image needs busybox-static and Debian's python3")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for name in ("sh", "cat", "kill"):
            tar.add(busybox, f"bin/{name}")
        for file in [_PYTHON, *_linked(_PYTHON)]:
            tar.add(file, str(file).lstrip("/"))
        tar.add(_stdlib(), str(_stdlib()).lstrip("/"), filter=_without_caches)
        tar.add(FAKE_NIM, "opt/nim/fake_nim.py")
    return buffer.getvalue()


def _linked(program):
    printed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+)", printed)]


def _stdlib():
    """The folder of its standard library."""
    code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    return Path(subprocess.run([_PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def _without_caches(info):
    unwanted = ("__pycache__", "/test/", "/config-", "/dist-packages", "/idlelib", "/ensurepip")
    return None if any(word in info.name for word in unwanted) else info
