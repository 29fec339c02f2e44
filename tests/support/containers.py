"""Real container engines for tests: the machine's own Docker or one from Debian's packages, and podman from these.

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
_PODMAN = (
    *("podman", "conmon", "runc", "slirp4netns", "busybox-static", "golang-github-containers-common"),
    *("libassuan0", "libdevmapper1.02.1", "libgpgme11", "libslirp0", "libsubid4"),
)
# Of its own network, so that no rule and no bridge of this machine changes; and with limits that a container allows.
_PODMAN_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "slirp4netns"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["{root}/usr/bin/conmon"]
helper_binaries_dir = ["{root}/usr/lib/podman"]
network_cmd_path = "{root}/usr/bin/slirp4netns"
[engine.runtimes]
runc = ["{root}/usr/sbin/runc"]
"""
_PODMAN_STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/data"
runroot = "{folder}/run"
"""
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


@contextlib.contextmanager
def podman():
    """The variables by which podman runs, unpacked from Debian's packages. Skips where they cannot be had."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip("only root can run podman from Debian's packages")
    with tempfile.TemporaryDirectory(prefix="podman-", dir="/tmp") as name:
        folder = Path(name)
        root = _unpacked(folder, _PODMAN)
        policy = folder / "home/.config/containers/policy.json"
        policy.parent.mkdir(parents=True)
        policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (folder / "conf").write_text(_PODMAN_CONF.format(root=root))
        (folder / "storage").write_text(_PODMAN_STORAGE.format(folder=folder))
        variables = {
            "CONTAINERS_CONF": str(folder / "conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage"),
            "HOME": str(folder / "home"),
            "LD_LIBRARY_PATH": f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu",
            "PATH": f"{root}/usr/bin:{root}/usr/sbin:{root}/bin:{os.environ['PATH']}",
        }
        try:
            yield variables
        finally:
            # A server that has just ended may still remove its container.
            assert wait_until(lambda: _is_reset(variables), _READY_S, pause_s=1)


def _is_reset(variables):
    try:
        run(variables, "system", "reset", "--force", engine="podman")
    except subprocess.CalledProcessError:
        return False
    return True


def _unpacked(folder, names=_PACKAGES):
    """Debian's packages of a container engine, unpacked."""
    packages, root = folder / "packages", folder / "root"
    packages.mkdir()
    root.mkdir()
    subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
    fetched = subprocess.run(
        ["apt-get", "download", "-q", *names], cwd=packages, capture_output=True, text=True, check=False
    )
    if fetched.returncode:
        pytest.skip(
            f"Debian's packages of a container engine cannot be had: {fetched.stderr.strip().splitlines()[-1:]}"
        )
    for package in packages.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    return root


def _answers(variables):
    done = subprocess.run(["docker", "version"], env=os.environ | variables, capture_output=True, check=False)
    return done.returncode == 0


def run(variables, *words, engine="docker", check=True, **options):
    """A command of a container engine. Returns what it printed."""
    done = subprocess.run(
        [engine, *words], env=os.environ | variables, capture_output=True, text=True, check=check, **options
    )
    return done.stdout.strip()


def make_image(variables, engine="docker"):
    """The stand-in's image, with a user 1000 of its own."""
    content = _root_of_image(variables)
    start = f'ENTRYPOINT ["{_PYTHON}", "/opt/nim/fake_nim.py"]'
    subprocess.run(
        [engine, "import", "--change", start, "--change", "USER 1000", "-", IMAGE],
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
