"""What is shipped: lock files, the wheel, and the scripts of the bootstrap."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from server_utils.clusters.catalogue import platforms
from server_utils.clusters.cluster import runtimes
from server_utils.environments.lock_files import cuda_of, find_uv

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "server_utils" / "data" / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
SHELL = [*ROOT.glob("*scripts/*.sh"), *ROOT.glob("server_utils/data/*.sh")]
SCRIPTS = [ROOT / "run", ROOT / ".ci" / "run", *sorted(SHELL)]
# Parts of other files, never resolved on their own.
PARTS = {"common", "tf", "torch", "transformers", "triton"}
REQUIREMENT = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[\w,]+\])?\s*(?:==([\w.+]+))?", re.MULTILINE)

locks = pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock: Path) -> dict[str, set[str]]:
    """Name -> its versions: more than one where they differ by Python version."""
    found: dict[str, set[str]] = {}
    for name, version in REQUIREMENT.findall(lock.read_text()):
        found.setdefault(normal(name), set()).add(version)
    return found


def wanted(path: Path) -> dict[str, str]:
    """Name -> exact version, or "" where the .in file leaves it open; with all that it includes."""
    text = path.read_text()
    found = {normal(name): version for name, version in REQUIREMENT.findall(text)}
    for included in re.findall(r"^-r (\S+)", text, re.MULTILINE):
        found |= wanted(path.parent / included)
    return found


def test_every_in_file_has_its_lock_file():
    assert {path.stem for path in REQUIREMENTS.glob("*.in")} - PARTS == {path.stem for path in LOCKS}


@locks
def test_a_lock_file_has_a_hash_for_every_requirement(lock):
    joined = lock.read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    assert [line for line in lines if not re.search(r"==\S+.* --hash=sha256:[0-9a-f]{64}", line)] == []


@locks
def test_a_lock_file_names_no_address_and_no_path_of_a_machine(lock):
    forbidden = re.compile(r"://|(^|\s)(--(find-links|index|extra|trusted)\S*|/\S+)", re.MULTILINE)
    assert [match[0] for match in forbidden.finditer(lock.read_text())] == []


@locks
def test_a_lock_file_is_in_step_with_its_in_file(lock):
    locked = pinned(lock)
    for name, version in wanted(lock.with_suffix(".in")).items():
        assert name in locked, f"{name} is in {lock.stem}.in only: run `./run lock`"
        assert not version or locked[name] == {version}, f"{name} differs: run `./run lock`"


@pytest.mark.parametrize("name", ["dev", "spark35", "node"])
def test_the_environments_of_spark_hold_what_the_project_depends_on(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = {normal(REQUIREMENT.findall(line)[0][0]) for line in project["dependencies"]}
    # Every runtime has these, and a node must not get others.
    of_runtimes = {"numpy", "pandas", "pyarrow"} if name == "node" else set()
    assert needed - of_runtimes <= set(pinned(REQUIREMENTS / f"{name}.txt"))
    assert not of_runtimes & set(pinned(REQUIREMENTS / f"{name}.txt"))


ENDS = ("dev", "spark35", *(f"{name}-{kind}" for name in ("tf", "torch", "triton") for kind in ("cpu", "cuda")))


def test_both_ends_of_a_pickle_have_the_same_cloudpickle():
    ends = [pinned(REQUIREMENTS / f"{name}.txt") for name in ENDS]
    assert len({frozenset(end["cloudpickle"]) for end in ends}) == 1


@pytest.mark.parametrize("name", ["tf", "torch", "triton"])
def test_an_engine_is_the_same_release_with_and_without_a_gpu(name):
    cpu, cuda = (pinned(REQUIREMENTS / f"{name}-{kind}.txt") for kind in ("cpu", "cuda"))
    assert cpu["nvidia-pytriton"] == cuda["nvidia-pytriton"]
    # torch differs: the package index has none for CUDA 12 of the release whose CPU wheel there is.
    assert cpu.get("tensorflow-cpu") == cuda.get("tensorflow")


@pytest.mark.parametrize("platform", platforms())
@pytest.mark.parametrize("name", ["tf", "torch", "transformers", "triton", "vllm"])
def test_the_drivers_of_every_runtime_run_what_is_locked(name, platform):
    """A driver runs what was built for its own major version of CUDA and the older ones."""
    built = cuda_of(REQUIREMENTS / f"{name}-cuda.txt")
    assert built is not None
    assert cuda_of(REQUIREMENTS / f"{name}-cpu.txt") is None
    for runtime in runtimes(platform):
        assert runtime.cuda is None or built[0] <= int(runtime.cuda.partition(".")[0]), runtime.name


@pytest.mark.parametrize(
    "name",
    [
        "dynamo-cuda",
        "sglang-cuda",
        "tf-cuda",
        "torch-cuda",
        "transformers-cuda",
        "triton-cuda",
        "vllm-cuda",
        "vllm-latest-cuda",
        "node",
    ],
)
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_a_lock_has_wheels_for_the_pythons_of_the_platforms(name, python, tmp_path):
    """Resolved for that Python on a cluster's Linux, from the lock alone; nothing is downloaded but descriptions."""
    command = [*find_uv(), "pip", "install", "--dry-run", "--quiet", "--no-deps", "--only-binary", ":all:"]
    command += ["--require-hashes", "--target", str(tmp_path), "--python-version", python]
    command += ["--python-platform", "x86_64-manylinux_2_35", "-r", str(REQUIREMENTS / f"{name}.txt")]
    done = subprocess.run(command, env=os.environ | {"UV_FIND_LINKS": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_builds_and_carries_code_and_facts(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("spark_sidecar-*.whl"))) as wheel:
        names = set(wheel.namelist())
        metadata = next(wheel.read(name).decode() for name in names if name.endswith("METADATA"))
    facts = {path.relative_to(ROOT).as_posix() for path in (ROOT / "server_utils").rglob("data/**/*") if path.is_file()}
    typed = {"server_utils/py.typed", "csp/py.typed"}  # without it mypy ignores our hints in a user's code
    assert facts | typed | {"server_utils/environments/libpython.py"} <= names
    assert {name.split("/")[0].split("-")[0] for name in names} <= {"server_utils", "csp", "spark_sidecar"}
    assert "License-Expression: Apache-2.0" in metadata


def test_the_version_and_the_changelog_say_alike_what_is_released():
    """A version under work ends with .dev0 and its changes are unreleased; a released one has its section, dated."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = [heading for heading in headings if re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)]
    assert headings == ["[Unreleased]", *released]
    is_released = bool(released) and released[0].startswith(f"[{version}] ")
    assert is_released or re.fullmatch(r"\d+\.\d+\.\d+\.dev0", version)


def test_a_commit_is_checked_by_the_command_that_ci_begins_with():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    command, subject = re.findall(r"^ +entry: (.+)$", hooks, re.MULTILINE)
    assert command == "./run check"
    assert "[A-Z]" in subject
    assert re.findall(r"^ *- repo: (.+)$", hooks, re.MULTILINE) == ["local"]  # nothing is fetched


@pytest.mark.parametrize(
    ("message", "fits"),
    [
        ("Move executor discovery into its own module", True),
        ("A" * 72 + "\n\n" + "a body may be longer " * 9, True),
        ("A" * 73, False),
        ("move it\n\nMove it\n", False),
        ("\nMove it", False),
        ("Äß" * 36, False),
        ("A" + "ß" * 71, True),
        ("fixup! Move it", True),
    ],
)
def test_a_commit_whose_subject_is_long_or_begins_with_a_small_letter_is_refused(message, fits):
    entry = re.search(r"entry: '(.*)'", (ROOT / ".pre-commit-config.yaml").read_text())[1]
    assert bool(re.search(entry.encode(), message.encode(), re.MULTILINE | re.DOTALL)) is fits


def test_the_core_does_not_depend_on_pyspark():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any("pyspark" in line for line in project["dependencies"])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_script_is_valid_bash_of_less_than_60_lines(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert len(script.read_text().splitlines()) < 60


def test_run_without_a_command_says_how_it_is_used():
    said = subprocess.run([ROOT / "run"], capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "usage: ./run COMMAND" in said.stderr


def test_run_stops_at_the_first_step_that_fails(tmp_path):
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\necho 'no network' >&2\nexit 7\n")
    broken.chmod(0o755)
    for name in ("run", "scripts", "pyproject.toml", "server_utils"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = subprocess.run([tmp_path / "run", "check"], env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 7
    assert said.stderr.splitlines()[-1] == "no network"


def ensure_java(says: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The bootstrap's check of Java, with a JAVA_HOME whose `java` says this."""
    (folder / "bin").mkdir()
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)
    code = "set -euo pipefail; source scripts/python.sh; source scripts/java.sh; ensure_java"
    environment = os.environ | {"JAVA_HOME": str(folder)}
    return subprocess.run(["bash", "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("says", ['openjdk version "17.0.15" 2025-04-15', 'openjdk version "21" 2023-09-19'])
def test_a_java_that_spark_can_use_is_accepted(says, tmp_path):
    assert ensure_java(says, tmp_path).returncode == 0


@pytest.mark.parametrize(("says", "now"), [('java version "1.8.0_391"', "is Java 1"), ("broken", "there is none")])
def test_a_java_that_spark_cannot_use_is_refused_in_one_line_with_what_to_install(says, now, tmp_path):
    said = ensure_java(says, tmp_path)
    assert said.returncode == 1
    assert now in said.stderr
    assert all(f" {tool} install" in said.stderr for tool in ("apt-get", "dnf", "brew"))
    assert len(said.stderr.splitlines()) == 1
