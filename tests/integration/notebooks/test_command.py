"""`./run notebook NAME` as a newcomer types it, with notebooks of one line in place of those of the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from server_utils.environments.lock_files import FOLDER
from server_utils.host import platform

pytestmark = pytest.mark.notebook
ROOT = Path(__file__).parents[3]
NAME = "tabular_regression"


@pytest.fixture
def run_notebook(tmp_path):
    """Runs `./run notebook NAME` in a copy of the repository: run_notebook("the code of its cell", name)."""
    made_from = hashlib.sha256((FOLDER / "dev.txt").read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    mark = ROOT / ".venv" / ".made-from"
    if not mark.exists() or made_from not in mark.read_text():
        pytest.skip("./run would make .venv anew")
    clone, home = tmp_path / "clone", tmp_path / "home"
    for folder in (clone, home):
        folder.mkdir()
    for name in (".uv-venv", ".venv", "pyproject.toml", "server_utils"):
        if (ROOT / name).exists():
            (clone / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "run", clone / "run")
    shutil.copytree(ROOT / "scripts", clone / "scripts")
    for name in ("assets", "envs"):
        (home / name).symlink_to(platform.home() / name)

    def run(code, name=NAME):
        made = clone / "notebooks" / "tensors" / f"{NAME}.ipynb"
        made.parent.mkdir(parents=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), made)
        environment = os.environ | {"SPARK_SIDECAR_HOME": str(home)}
        command = [clone / "run", "notebook", name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_a_notebook_is_executed_and_its_outputs_are_kept(run_notebook, tmp_path):
    done = run_notebook("print(6 * 7)")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    shown, *_, last = done.stdout.splitlines()
    kept = tmp_path / "home" / "notebooks" / f"{NAME}.ipynb"
    assert shown == "42"
    assert last.endswith(f"s; with its outputs: {kept}")
    assert nbformat.read(kept, as_version=4).cells[0].outputs[0].text == "42\n"


def test_a_cell_that_fails_is_shown_and_ends_the_command_with_1(run_notebook):
    done = run_notebook("1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "nbclient" not in done.stderr


def test_a_name_that_is_not_there_is_answered_with_the_nearest(run_notebook):
    done = run_notebook("", "tabular_regresion")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no notebook 'tabular_regresion'; did you mean tabular_regression?")
