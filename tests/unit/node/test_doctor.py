"""What the doctor finds, on this machine and with stand-in tools on PATH."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server_utils.node.checks import shared_memory
from server_utils.node.doctor import check
from server_utils.node.gpu_checks import Finding
from server_utils.spark import java

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [
    "Python",
    "Java",
    "pyspark",
    "pyarrow",
    "pandas",
    "numpy",
    "GPU",
    "environment triton",
    "shared memory",
    "disk of home",
    "disk of state",
    "scratch folder",
    "HOME",
    "state folder",
]


def stand_in(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def finding(name: str) -> Finding:
    return next(each for each in check() if each.name == name)


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of PATH, with a Java that answers at once; home and state folder are not the user's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    stand_in(folder, "java", "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("SPARK_SIDECAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SPARK_SIDECAR_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return folder


@pytest.fixture
def fake_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose `pyspark.py` hides the installed pyspark."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyspark"]:
        monkeypatch.delitem(sys.modules, name)
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder / "pyspark.py"
    # delitem puts back what was there; where nothing was, the stand-in must not stay.
    sys.modules.pop("pyspark", None)


def test_everything_is_looked_at_once_and_in_order() -> None:
    assert [each.name for each in check()] == NAMES


def test_a_finding_has_a_fix_exactly_where_something_is_wrong() -> None:
    assert all(bool(each.fix) == (each.level != "ok") for each in check())


def test_looking_changes_nothing(tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    check()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_java_comes_with_the_install_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/no/such/jdk")
    found = finding("Java")
    assert (found.level, found.found) == ("error", "JAVA_HOME is /no/such/jdk, which has no bin/java")
    assert found.fix.startswith("unset JAVA_HOME")
    assert found.fix.endswith(java.HOW_TO_INSTALL)


def test_a_java_that_is_newer_than_sparks_hadoop_is_a_warning(tools: Path) -> None:
    stand_in(tools, "java", "echo 'openjdk version \"25.0.1\" 2025-10-21' >&2")
    found = finding("Java")
    assert found.level == "warning"
    assert found.found.startswith("25 (")


@pytest.mark.parametrize("version", ["3.5.0", "3.5.7", "4.0.0", "4.3.0.dev1"])
def test_a_pyspark_from_3_5_to_4_is_fine(fake_module: Path, version: str) -> None:
    fake_module.write_text(f"__version__ = {version!r}")
    assert finding("pyspark") == Finding("pyspark", "ok", version)


@pytest.mark.parametrize("version", ["3.4.4", "2.4.8", "5.0.0"])
def test_another_pyspark_is_an_error_with_the_right_requirement(fake_module: Path, version: str) -> None:
    fake_module.write_text(f"__version__ = {version!r}")
    found = finding("pyspark")
    assert (found.level, found.found) == ("error", f"{version}, not from 3.5 to 4.x")
    assert found.fix.endswith("'pyspark[connect,sql]>=3.5,<5'")


@pytest.mark.parametrize("error", ["ImportError", "ModuleNotFoundError", "ValueError"])
def test_a_package_that_breaks_at_import_is_an_error_with_its_reason(fake_module: Path, error: str) -> None:
    fake_module.write_text(f"raise {error}('numpy.dtype size changed')")
    found = finding("pyspark")
    assert (found.level, found.found) == ("error", "cannot be imported (numpy.dtype size changed)")
    assert sys.executable in found.fix


def test_a_driver_whose_servers_run_on_other_nodes_needs_no_environment() -> None:
    found = {each.name: each for each in check("vllm", runs_servers=False)}
    assert "environment triton" not in found
    assert (found["environment vllm"].level, found["environment vllm"].fix) == ("ok", "")
    assert "none is needed" in found["environment vllm"].found


def test_a_broken_environment_is_an_error_even_where_none_is_needed(tmp_path: Path) -> None:
    programs = tmp_path / "home" / "envs" / "vllm" / "bin"
    programs.mkdir(parents=True)
    stand_in(programs, "python", "exit 3")
    found = next(each for each in check("vllm", runs_servers=False) if each.name == "environment vllm")
    assert (found.level, found.fix) == ("error", "spark-sidecar env build vllm")


def test_a_sealed_environment_that_cannot_run_is_an_error_with_the_command(tmp_path: Path) -> None:
    programs = tmp_path / "home" / "envs" / "triton" / "bin"
    programs.mkdir(parents=True)
    stand_in(programs, "python", "echo half a build >&2; exit 3")
    found = finding("environment triton")
    assert (found.level, found.fix) == ("error", "spark-sidecar env build triton")
    assert "half a build" in found.found


def test_a_sealed_environment_that_is_not_from_its_lock_is_not_ok(tmp_path: Path) -> None:
    programs = tmp_path / "home" / "envs" / "triton" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    found = finding("environment triton")
    # An error where this Python has no shared library, else a warning.
    assert found.level != "ok"
    assert found.fix == "spark-sidecar env build triton"


def test_each_gpu_is_listed_with_memory_and_driver(tools: Path) -> None:
    rows = "0, NVIDIA A10G, 23028, 535.104.05, 8.6\n1, NVIDIA GB10, [N/A], 580.95.05, 12.1"
    stand_in(tools, "nvidia-smi", f"cat <<'END'\n{rows}\nEND")
    wanted = "0: NVIDIA A10G, 22.5 GiB, driver 535.104.05; 1: NVIDIA GB10, shared memory, driver 580.95.05"
    assert finding("GPU") == Finding("GPU", "ok", wanted)


def test_no_gpu_is_fine(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tools))
    assert finding("GPU") == Finding("GPU", "ok", "none, models run on the CPU")


@pytest.mark.parametrize("body", ["echo could not talk to the driver; exit 9", "echo could not talk to the driver"])
def test_a_driver_that_does_not_answer_is_a_warning_with_its_words(tools: Path, body: str) -> None:
    stand_in(tools, "nvidia-smi", body)
    found = finding("GPU")
    assert found.level == "warning"
    assert found.found.endswith("said: could not talk to the driver")


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc, which has no room")
def test_little_shared_memory_is_a_warning_with_the_command_that_makes_it_larger() -> None:
    found = shared_memory(Path("/proc"))
    assert found.level == "warning"
    assert found.found == "0 MiB free of 0 MiB in /proc, Triton may need 256 MiB"
    assert found.fix.startswith("mount -o remount,size=1g /proc")


def test_a_system_without_shared_memory_is_not_asked_for_it(tmp_path: Path) -> None:
    assert shared_memory(tmp_path / "shm").level == "ok"


def test_a_folder_of_servers_that_is_not_there_yet_is_fine() -> None:
    assert finding("state folder").level == "ok"


def test_a_private_folder_of_servers_is_fine(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    assert finding("state folder").level == "ok"


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o770])
def test_a_folder_of_servers_that_is_open_to_others_is_an_error(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    folder.chmod(mode)
    assert finding("state folder") == Finding(
        "state folder", "error", f"{folder} is open to others (mode {mode:04o})", f"chmod 700 {folder}"
    )


def test_a_link_in_the_place_of_the_folder_of_servers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "state").symlink_to(tmp_path / "elsewhere")
    assert "is no folder of yours" in finding("state folder").found


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_servers_of_somebody_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o700)
    os.chown(tmp_path / "state", 65534, 65534)
    assert "owner 65534" in finding("state folder").found


def test_the_disk_of_a_folder_that_is_not_there_yet_is_the_one_above(tmp_path: Path) -> None:
    assert f"free at {tmp_path / 'home'}" in finding("disk of home").found


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="no /proc, which has no room")
def test_a_full_disk_names_the_variable_that_moves_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARK_SIDECAR_HOME", "/proc/full")
    found = finding("disk of home")
    assert (found.level, found.found) == ("warning", "0.0 GiB free at /proc/full")
    assert "SPARK_SIDECAR_HOME" in found.fix
