"""Finding Java: stand-in launchers on PATH and in JAVA_HOME, and the real one where there is one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from server_utils.errors import EnvironmentMissingError
from server_utils.spark.java import find_java, require_java

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = [
    ('openjdk version "17.0.15" 2025-04-15', 17),
    ('openjdk version "21" 2023-09-19', 21),
    ('java version "1.8.0_391"', 8),
    ('openjdk version "26-ea" 2026-03-17', 26),
    ('Picked up JAVA_TOOL_OPTIONS: -Dversion=3\nopenjdk version "17.0.1" 2021-10-19', 17),
]


def fake_java(folder: Path, says: str, *, modules: bool = True, status: int = 0) -> Path:
    """A launcher that prints a version and, without `modules`, refuses every `--add-modules`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "java"
    refuse = "" if modules else 'case "$1" in --add-modules*) exit 1;; esac\n'
    path.write_text(f"#!/bin/sh\n{refuse}cat >&2 <<'END'\n{says}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The first folder of PATH; there is no other Java and no JAVA_HOME."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "cat"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{tools}")
    return tmp_path / "bin"


@pytest.mark.parametrize(("says", "major"), VERSIONS)
def test_the_major_version_is_read_from_what_java_says(path_folder: Path, says: str, major: int) -> None:
    path = fake_java(path_folder, says)
    java = find_java()
    assert (java.path, java.major) == (path, major)


def test_java_home_wins_over_path(path_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(path_folder, 'openjdk version "17.0.1"')
    chosen = fake_java(tmp_path / "jdk21" / "bin", 'openjdk version "21.0.1"')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk21"))
    assert find_java().path == chosen


def test_an_empty_java_home_is_none(path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(path_folder, 'openjdk version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", "")
    assert find_java().major == 17


def test_a_wrong_java_home_is_named_though_path_has_a_java(path_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(path_folder, 'openjdk version "17.0.1"')
    monkeypatch.setenv("JAVA_HOME", "/no/such/jdk")
    with pytest.raises(
        EnvironmentMissingError, match=r"JAVA_HOME is /no/such/jdk, which has no bin/java[.] unset JAVA_HOME"
    ):
        find_java()


@pytest.mark.usefixtures("path_folder")
def test_no_java_is_one_line_with_the_command_for_each_system() -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        require_java()
    message = str(caught.value)
    assert "\n" not in message
    for command in (
        "apt-get install openjdk-17-jre-headless",
        "dnf install java-21-openjdk-headless",
        "brew install openjdk@17",
    ):
        assert command in message


def test_the_java_stub_of_macos_is_no_java(path_folder: Path) -> None:
    fake_java(path_folder, "The operation couldn't be completed. Unable to locate a Java Runtime.", status=1)
    with pytest.raises(EnvironmentMissingError, match=r"is no working Java .*ended 1"):
        find_java()


def test_a_launcher_that_cannot_be_run_is_named(path_folder: Path) -> None:
    path = fake_java(path_folder, "")
    path.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(EnvironmentMissingError, match=f"{path} cannot be run"):
        find_java()


def test_a_java_that_is_too_old_says_its_version_and_the_minimum(path_folder: Path) -> None:
    fake_java(path_folder, 'openjdk version "11.0.2" 2019-01-15')
    with pytest.raises(EnvironmentMissingError, match=r"is Java 11, Spark needs 17 or newer\. Debian"):
        require_java()
    assert require_java(11).major == 11


def test_a_trimmed_java_without_sparks_module_is_refused(path_folder: Path) -> None:
    fake_java(path_folder, 'openjdk version "17.0.1"', modules=False)
    with pytest.raises(EnvironmentMissingError, match=r"without the module jdk\.incubator\.vector"):
        require_java()


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on PATH")
def test_the_java_of_this_machine_is_one_that_spark_starts_on() -> None:
    assert require_java().major >= 17
