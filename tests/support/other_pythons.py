"""Pythons that Spark's workers may run by mistake: of another minor version, or without what the package needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Of each minor version that pyenv has here and that is not the running one, oldest first.
OF_ANOTHER_MINOR = sorted(
    (
        python
        for python in (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")
        if not python.parts[-3].startswith(f"3.{sys.version_info.minor}.")
    ),
    key=lambda python: int(python.parts[-3].split(".")[1]),
)
needs_another_minor = pytest.mark.skipif(
    not OF_ANOTHER_MINOR, reason="needs a Python of another minor version in ~/.pyenv/versions"
)


def bare(folder: Path) -> Path:
    """The Python of a new environment that holds nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def lacking(folder: Path, *names: str, version: str | None = None, broken: str | None = None) -> Path:
    """That of one that holds what the running one holds, but for some packages.

    version: of this package, where it is to be another. broken: a package that is there and cannot be imported.
    """
    python = bare(folder)
    packages = _packages(folder)
    for each in _packages(Path(sys.prefix)).iterdir():
        if each.name.partition("-")[0] not in {*names, broken, "spark_sidecar"}:
            (packages / each.name).symlink_to(each)
    (packages / "ours.pth").write_text(f"{ROOT}\n")
    if version:
        about = packages / f"spark_sidecar-{version}.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: spark-sidecar\nVersion: {version}\n")
    if broken:
        (packages / f"{broken}.py").write_text("raise ImportError('compiled for another machine')\n")
    return python


def _packages(prefix: Path) -> Path:
    return prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
