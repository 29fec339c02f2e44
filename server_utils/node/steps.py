"""The steps that prepare a node, and their order: `STEPS`, which `python -m server_utils.node` runs. Nodes only.

Each does nothing where its work is done. Standard library only, until our package and what it needs are installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from server_utils.clusters.cluster import environment as environment_of
from server_utils.clusters.cluster import frameworks, refusal, runs_containers
from server_utils.environments.interpreters import PYTHONS
from server_utils.environments.lock_files import FOLDER, cuda_of, lock_file
from server_utils.errors import EnvironmentMissingError
from server_utils.host import gpus, platform
from server_utils.node import container_checks, nim, spark_python
from server_utils.node.node import Node, StepError, environ, own_command, run, sources, write_log

_FIRMWARE = Path("/sys/firmware/efi/efivars")


def settings(node: Node) -> None:
    """Check the settings before anything is installed."""
    names = ", ".join(sorted(frameworks()))
    if not node.framework:
        raise StepError(
            "no framework is set; set FRAMEWORK (a variable of the cluster, or a line of the settings file; on "
            f"Dataproc the metadata 'framework') to one of {names}"
        )
    if node.framework not in frameworks():
        raise StepError(f"there is no framework {node.framework!r}; set FRAMEWORK to one of {names}")
    on_databricks = platform.current() is platform.Platform.DATABRICKS
    if reason := refusal(node.framework, "databricks" if on_databricks else "dataproc"):
        raise StepError(reason)
    if len(list(node.bundle.glob("spark_sidecar-*.whl"))) != 1:
        raise StepError(f"{node.bundle} must hold exactly one spark_sidecar-*.whl; upload the bundle again")


def gpu(node: Node) -> None:
    """Check GPU and driver, where the image has a driver, before gigabytes are installed."""
    if not node.serves:
        return
    try:
        present = gpus.gpus()
    except EnvironmentMissingError as err:
        raise StepError(f"the image has a GPU driver, but no GPU answers: {err}; {_fix_of_no_gpu()}") from err
    if not present:
        return
    built, cuda = _built_for(node.framework)
    if cuda and gpus.is_older(present[0].driver, gpus.OLDEST_DRIVER[cuda]):
        raise StepError(
            f"{built} is built for CUDA {cuda}, which needs driver {gpus.OLDEST_DRIVER[cuda]} or newer; "
            f"this node has {present[0].driver}. Take a runtime or image with a newer driver{_older_framework(cuda)}"
        )


def _built_for(framework: str) -> tuple[str, int | None]:
    """What runs on the node, and the major version of its CUDA; None where it has none, or nobody knows yet."""
    if runs_containers(framework):
        return container_checks.image() or framework, container_checks.cuda_of_image()
    cuda = cuda_of(lock_file(framework))
    return framework, cuda[0] if cuda else None


def _fix_of_no_gpu() -> str:
    variable = next(iter(_FIRMWARE.glob("SecureBoot-*")), None)
    if variable and variable.read_bytes()[-1:] == b"\1":
        return "Secure Boot is on, and refuses drivers that are not signed: make the cluster without Secure Boot"
    return "take a node type with a GPU"


def _older_framework(cuda: int) -> str:
    """The frameworks that an older driver runs, as an alternative in an error message."""
    environments = {name: environment_of(name) for name in sorted(frameworks())}
    built = {name: cuda_of(lock_file(environment)) for name, environment in environments.items() if environment}
    older = [name for name, theirs in built.items() if theirs and theirs[0] < cuda]
    return f", or a framework for an older CUDA ({', '.join(older)})" if older else ""


def uv(node: Node) -> None:
    """Install uv: from the bundle, or by pip from the package index, by its hash."""
    target = node.home / "bin" / "uv"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    wheel = next(node.bundle.glob("uv-*.whl"), None)
    scratch = node.home / ".uv"
    shutil.rmtree(scratch, ignore_errors=True)
    if wheel is None:
        options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--only-binary", ":all:"]
        options += ["--require-hashes", "--dest", str(scratch)]
        run(node, [sys.executable, "-m", "pip", "download", *options, "-r", str(FOLDER / "uv.txt")])
        wheel = next(scratch.glob("uv-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith("/scripts/uv"))
        beside = Path(archive.extract(name, scratch))
    beside.chmod(0o755)
    beside.rename(target)
    shutil.rmtree(scratch)


def package(node: Node) -> None:
    """Install the package and what it needs into a folder of their own."""
    (wheel,) = node.bundle.glob("spark_sidecar-*.whl")
    wanted = hashlib.sha256(wheel.read_bytes() + (FOLDER / "node.txt").read_bytes()).hexdigest()
    stamp = node.lib / ".spark-sidecar-stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        beside = node.home / ".lib.building"
        shutil.rmtree(beside, ignore_errors=True)
        install = [str(node.home / "bin" / "uv"), "pip", "install", "--quiet", "--python", sys.executable]
        install += ["--target", str(beside), "--no-deps", *sources(node)]
        run(node, [*install, "--require-hashes", "-r", str(FOLDER / "node.txt")])
        run(node, [*install, str(wheel)])
        (beside / stamp.name).write_text(wanted)
        shutil.rmtree(node.lib, ignore_errors=True)
        beside.rename(node.lib)


def gpu_addresses(node: Node) -> None:
    """Install the script that the Spark conf of a Dataproc cluster names."""
    script = node.home / "bin" / "gpu-addresses.sh"
    shutil.copyfile(FOLDER.with_name(script.name), script)
    script.chmod(0o755)


def local_disk(node: Node) -> None:
    """Make a folder for models on the first local SSD of Dataproc, which is root's: executors run as another user."""
    folder = platform.DATAPROC_DISK
    if folder.parent.is_mount():
        folder.mkdir(exist_ok=True)
        folder.chmod(0o1777)
        write_log(node, f"models go to {folder}")


def python(node: Node) -> None:
    """Unpack the Pythons of the bundle, for engines that link a libpython which Spark's own Python does not have."""
    for archive in node.bundle.glob("cpython-*.tar.gz"):
        target = node.home / PYTHONS / archive.name.removesuffix(".tar.gz")
        if target.exists():
            continue
        beside = target.with_name(f".{target.name}.part")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        run(node, ["tar", "-xzf", str(archive), "-C", str(beside)])
        (beside / target.name).rename(target)
        beside.rmdir()
        write_log(node, f"unpacked {target}")


def environment(node: Node) -> None:
    """Build the sealed environment, by the package that was just installed."""
    if not node.serves:
        write_log(node, "no executors run on this node: it gets no environment")
        return
    if runs_containers(node.framework):
        write_log(node, f"{node.framework} runs in containers: the node gets no environment")
        return
    wheels = ["--wheels", str(node.wheels)] if node.wheels else []
    run(node, [*own_command(), "env", "build", node.framework, "--compile-later", *wheels])


def verify(node: Node) -> None:
    """Check that notebooks can import the package, then run the doctor: its first error is the reason of a failure."""
    spark_python.check_import(node)
    if not node.serves:
        return
    need_gpu = ["--need-gpu"] if gpus.has_nvidia_smi() else []
    command = [*own_command(), "doctor", "--node", node.framework, *need_gpu, "--json"]
    done = subprocess.run(command, env=environ(node), capture_output=True, text=True, check=False)
    write_log(node, done.stdout + done.stderr)
    errors = [each for each in json.loads(done.stdout or "[]") if each["level"] == "error"]
    if errors:
        raise StepError("{name}: {found}; {fix}".format_map(errors[0]))
    if done.returncode:
        raise StepError(f"the doctor ended {done.returncode}: {done.stderr.strip()[-300:]}")


# What is done on a node, in this order.
STEPS: dict[str, Callable[[Node], None]] = {
    "settings": settings,
    "gpu": gpu,
    "uv": uv,
    "package": package,
    "link": spark_python.link,
    "gpu-addresses": gpu_addresses,
    "local-disk": local_disk,
    "python": python,
    "environment": environment,
    "containers": nim.prepare,
    "into-spark": spark_python.into_spark,
    "verify": verify,
}
WITH_DOWNLOADS = ("uv", "package", "environment", "into-spark")
