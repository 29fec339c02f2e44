"""How long until a node is ready: the way that is common, pip in an init script, beside ours, in one run.

    .venv/bin/python -m benchmarks.node_ready [--rounds 2] [--framework torch] [--bundle DIR]

Every arm starts from a fresh virtual environment in Spark's place and an empty folder, and installs the same packages:
those of `torch.in`, with torch's build for the CPU. It begins as on a new node: the disk has nothing left to do for the
arms before it, and memory is not full of their files (where it is, the same installation took three times as long:
the kernel looks for pages to give back). Nothing is deleted before the end of all: a new node has no deletions to tell
its disk of either. Ours is what `init-scripts/databricks.sh` hands over to. The package index is asked by the first two
arms, so its distance counts in both. Prints seconds, and ratios to ours. Needs 3 GB for each arm of each round.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from benchmarks.measure import table
from server_utils.environments.lock_files import FOLDER
from server_utils.node import bundle as node_bundle

COLD, WHEELHOUSE, SECOND, PIP = "ours, from the index", "ours, from a wheelhouse", "ours, second run", "pip"
_IDLE_S = 5.0
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"


def wanted(framework):
    """The requirements a human would write: those of the .in files, torch as its CPU build."""
    lines = []
    for name in ("common", "triton", framework, f"{framework}-cpu"):
        file = FOLDER / f"{name}.in"
        text = file.read_text() if file.exists() else ""
        lines += re.findall(r"^([a-zA-Z][^\s#]*)", text, re.MULTILINE)
    return sorted(set(lines))


def spark_python(folder):
    """A virtual environment in the place of Spark's Python."""
    subprocess.run([Path(sys.base_prefix) / "bin" / f"python{MINOR}", "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def timed(command, **variables):
    """Seconds of a command; the report ends with its words if it fails."""
    began = time.monotonic()
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def by_pip(work, framework):
    """As in the init scripts in most guides: every package again, whatever is there."""
    python = spark_python(work / "spark")
    as_on_a_new_node(work.parent)
    options = ["--upgrade", "--force-reinstall", "--no-cache-dir", "--quiet", "--disable-pip-version-check"]
    return timed([python, "-m", "pip", "install", *options, *wanted(framework)])


def by_us(work, framework, bundle, *, again=False):
    """The node's steps out of the bundle's wheel. The background compilation is waited for, but not counted."""
    home, unpacked = work / "home", work / ("again" if again else "wheel")
    python = work / "spark" / "bin" / "python" if again else spark_python(work / "spark")
    as_on_a_new_node(work.parent)
    began = time.monotonic()
    with zipfile.ZipFile(next(bundle.glob("spark_sidecar-*.whl"))) as wheel:
        wheel.extractall(unpacked)
    command = [python, "-m", "server_utils.node", framework, "--bundle", bundle]
    timed(command, PYTHONPATH=str(unpacked), SPARK_SIDECAR_HOME=str(home))
    seconds = time.monotonic() - began
    compiled(home)
    return seconds


def compiled(home):
    """Wait until nothing runs any more out of an environment."""
    while subprocess.run(["pgrep", "-f", f"^{home}/envs"], capture_output=True, check=False).returncode == 0:  # noqa: S607
        time.sleep(0.2)


def as_on_a_new_node(work):
    """Write out what is left, have none of it in memory, and wait until no disk has done anything for a while."""
    os.sync()
    for folder, _, names in os.walk(work):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    counts, since = disk_counts(), time.monotonic()
    while time.monotonic() - since < _IDLE_S:
        time.sleep(0.5)
        if (now := disk_counts()) != counts:
            counts, since = now, time.monotonic()


def disk_counts():
    """Reads, writes and discards so far of every disk; the kernel documents the fields in iostats.rst."""
    lines = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    return {name: (fields[0], fields[4], *fields[11:12]) for _, _, name, *fields in lines}


def measure(work, framework, rounds, bundle):
    """Arm -> its median over the rounds; the arms take turns."""
    thin = work / "thin"
    shutil.copytree(bundle, thin, ignore=shutil.ignore_patterns("wheels", "uv-*"))
    times = {PIP: [], COLD: [], WHEELHOUSE: [], SECOND: []}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        times[PIP].append(by_pip(work / f"pip-{number}", framework))
        times[COLD].append(by_us(work / f"cold-{number}", framework, thin))
        times[WHEELHOUSE].append(by_us(work / f"wheels-{number}", framework, bundle))
        times[SECOND].append(by_us(work / f"wheels-{number}", framework, bundle, again=True))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main():
    """Read the arguments, measure, print."""
    parser = argparse.ArgumentParser(description="seconds until a node is ready")
    parser.add_argument("--framework", default="torch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bundle", type=Path, help="a bundle that is there already, or where to make it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="node-ready-") as work:
        bundle = given.bundle or Path(work) / "bundle"
        if not (bundle / node_bundle.SUMS).exists():
            node_bundle.build(given.framework, bundle, python=MINOR, cpu=True)
        medians = measure(Path(work), given.framework, given.rounds, bundle)
    rows = {name: (seconds, medians[PIP] / seconds) for name, seconds in medians.items()}
    print("\n".join(table("", rows, "s", "times pip")))


if __name__ == "__main__":
    main()
