"""The bundle that init scripts install from: our wheel, uv, every wheel of an environment's lock, a Python. Laptop.

With a bundle a node needs no package index, only the bucket or volume. It is made with pip, because uv downloads no
wheels. The hashes of the lock are checked here, and once more on each node.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from server_utils.clusters.cluster import runs_containers
from server_utils.environments import builder
from server_utils.environments.lock_files import FOLDER, engine_lock, pins, requirements, uv, uv_sources
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import files, platform
from server_utils.storage import urls
from server_utils.storage.send_folder import send_folder
from server_utils.storage.stores import factory

logger = logging.getLogger(__name__)
WHEELS = "wheels"
SUMS = "SHA256SUMS"
PYTHON_ARCHIVES = "cpython-*.tar.gz"
PYTHONS = ("3.11", "3.12")
# The glibc of Ubuntu 22.04 and Debian 12, the oldest on which PyTriton runs; pip wants every older one named too.
_GLIBC = range(35, 4, -1)
_MACHINE = "x86_64"


def build(name: str, to: str | Path, *, python: str = PYTHONS[-1], cpu: bool = False, wheel: Path | None = None,
          with_python: bool = False) -> str:  # fmt: skip
    """Put all packages of an environment into a folder, a bucket or a volume; files that are there are kept.

    Args:
        name: the environment, such as "triton", or a framework whose servers are containers.
        to: a folder of this machine, s3://…, gs://… or /Volumes/…. Bundles of several environments and Pythons may
            share a folder. What goes elsewhere is kept below `platform.home()` too, so that a second time is quick.
        python: the minor version of the cluster's Python, such as "3.12".
        cpu: for machines without a GPU.
        wheel: our own wheel; by default it is built from the source that is running.
        with_python: also a Python of its own, with its libpython, for nodes whose Python has none.

    Returns:
        Where it is. Its SHA256SUMS is written last: a bundle without one is incomplete.

    Raises:
        ConfigurationError: if there is no such environment, no lock for this Python, or no such place.
        StorageError: if it could not be sent.
        EnvironmentMissingError: if a package cannot be had, or does not have the hash of the lock.
    """
    lock = _lock(name, python, cpu=cpu)
    if (place := urls.in_place(to)) is not None:
        _fill(Path(place), lock, python, wheel, with_python=with_python)
        return place
    factory.store(urls.parse(to))  # refuses what nothing can be put at, before anything is fetched
    folder = platform.home() / "wheelhouses" / files.slug(str(to))
    _fill(folder, lock, python, wheel, with_python=with_python)
    deliver(folder, str(to), last=SUMS)
    return str(to)


def build_small(to: Path, wheel: Path | None = None) -> Path:
    """Make a bundle of our wheel alone: nodes ask the package index for the rest. Returns the folder.

    Raises:
        ConfigurationError: no wheel is given, and there is no source to build it from.
    """
    to.mkdir(parents=True, exist_ok=True)
    (to / SUMS).unlink(missing_ok=True)
    _write_sums(to, [_own_wheel(to, wheel)])
    return to


def _fill(to: Path, lock: Path | None, python: str, wheel: Path | None, *, with_python: bool) -> None:
    (to / WHEELS).mkdir(parents=True, exist_ok=True)
    (to / SUMS).unlink(missing_ok=True)
    ours = _own_wheel(to, wheel)
    for each in (FOLDER / "uv.txt", FOLDER / "node.txt", *([lock] if lock else [])):
        logger.info("Fetching what %s names.", each.name)
        _fetch(each, to / WHEELS, python)
    uv_wheel = max((to / WHEELS).glob("uv-*.whl"))
    shutil.copy2(uv_wheel, to / uv_wheel.name)
    if with_python:
        _fetch_python(to, python)
    _write_sums(to, [ours, to / uv_wheel.name, *to.glob(PYTHON_ARCHIVES)])


def _fetch_python(to: Path, python: str) -> None:
    """Put a Python that runs in any folder into the bundle. The locked uv names its version, and checks its hash."""
    name = f"cpython-{python}-linux-{_MACHINE}-gnu"
    with tempfile.TemporaryDirectory() as scratch:
        uv(["python", "install", "--quiet", "--no-bin", "--no-config", "--install-dir", scratch, name],
           purpose=f"fetch Python {python} for the bundle (leave it out where the runtime's Python has its shared "
                   "library, as Databricks' and Dataproc's are known to)")  # fmt: skip
        whole = next(each for each in Path(scratch).glob(f"cpython-{python}.*") if not each.is_symlink())
        for old in to.glob(f"cpython-{python}.*"):
            old.unlink()
        with tarfile.open(to / f"{whole.name}.tar.gz", "w:gz") as archive:
            archive.add(whole, whole.name)


def _lock(name: str, python: str, *, cpu: bool) -> Path | None:
    if runs_containers(name):
        return None
    builder.folder(name)  # refuses a name that there is not
    if python not in PYTHONS:
        raise ConfigurationError(
            f"the platforms have Python {' and '.join(PYTHONS)}, not {python}: give that of the cluster's runtime"
        )
    lock = engine_lock(name, cpu=cpu)
    if "torch" in lock.read_text(encoding="utf-8") and cpu and python != "3.11":
        raise ConfigurationError(f"{lock.name} is for Python 3.11: there is no torch for the CPU on {python} in it")
    return lock


def _own_wheel(to: Path, given: Path | None) -> Path:
    """Put our wheel into the folder, and remove older ones."""
    for old in to.glob("spark_sidecar-*.whl"):
        old.unlink()
    if given is not None:
        return Path(shutil.copy2(given, to))
    root = Path(__file__).parents[2]
    if not (root / "pyproject.toml").exists():
        raise ConfigurationError(
            f"{root} is no checkout of the source, so there is nothing to build our wheel from; name it with --wheel"
        )
    uv(["build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", str(to),
        str(root)], purpose="build our wheel (it needs hatchling)")  # fmt: skip
    (to / ".gitignore").unlink(missing_ok=True)
    return next(to.glob("spark_sidecar-*.whl"))


def _fetch(lock: Path, to: Path, python: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        flat = Path(scratch) / lock.name
        flat.write_text(_flattened(lock, python, flat), encoding="utf-8")
        _download(flat, to, python)


def _flattened(lock: Path, python: str, scratch: Path) -> str:
    """The lines of a lock for the cluster's Python, without markers: pip evaluates those for its own Python."""
    platform = f"{_MACHINE}-manylinux_2_{_GLIBC[0]}"
    uv(["pip", "compile", "--quiet", "--no-deps", "--python-version", python, "--python-platform", platform,
        *uv_sources(lock), str(lock), "--output-file", str(scratch)],
       purpose=f"read {lock.name} for Python {python}")  # fmt: skip
    chosen = pins(scratch)
    return requirements(lock, lambda name, version: version in chosen.get(name, ()))


def _download(flat: Path, to: Path, python: str) -> None:
    platforms = [f"manylinux_2_{minor}_{_MACHINE}" for minor in _GLIBC]
    platforms += [f"{old}_{_MACHINE}" for old in ("manylinux2014", "manylinux2010", "manylinux1", "linux")]
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--dest", str(to), "--python-version", python]
    command += ["--implementation", "cp", *(part for each in platforms for part in ("--platform", each))]
    if subprocess.run([*command, "--requirement", str(flat)], stdout=2, check=False).returncode:
        raise EnvironmentMissingError(
            f"pip could not fetch what {flat.name} names for Python {python}; its reason is above. Repair that, then "
            "run it again: what is there is kept"
        )


def _write_sums(to: Path, summed: list[Path]) -> None:
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(summed)]
    with files.replacement(to / SUMS) as beside:
        beside.write_text("".join(lines), encoding="utf-8")


def deliver(folder: Path, url: str, *, last: str) -> None:
    """Copy a folder to an address; a wheel that is there with its size is left: its name tells what is in it.

    last: the name of the file that is written when all others are there.

    Raises:
        ConfigurationError: nothing can be put at the address.
        StorageError: a file could not be sent; `last` is then what it was.
    """
    store = factory.store(urls.parse(url))
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    send_folder(store, files, last=last, always=lambda key: "/" not in key)
