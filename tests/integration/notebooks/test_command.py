"""`./run notebook` and `./run gallery`, with notebooks of a few lines in place of those of the repository."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellTimeoutError

from integration.notebooks.conftest import notebook_files
from server_utils.environments.lock_files import FOLDER
from server_utils.host import platform

pytestmark = pytest.mark.notebook
ROOT = Path(__file__).parents[3]
NAME = "tabular_regression"


def write_notebook(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[*cells]), path)


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
        write_notebook(clone / "notebooks" / "tensors" / f"{NAME}.ipynb", nbformat.v4.new_code_cell(code))
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


def test_a_notebook_has_a_time_limit_for_all_of_its_cells(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook_files, "_NOTEBOOK_S", 1)
    cells = ("print('one')", "import threading\nthreading.Event().wait()")
    write_notebook(tmp_path / "waits.ipynb", *map(nbformat.v4.new_code_cell, cells))
    with pytest.raises(CellTimeoutError):
        notebook_files.execute(tmp_path / "waits.ipynb", folder=tmp_path)


DRAW = """
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.show()
"""


def test_the_gallery_goes_on_after_a_notebook_that_fails_and_leaves_pages_that_are_not_stale(tmp_path):
    for name in ("scripts", "server_utils"):  # the facts are in there, and hold how long a notebook took
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    made, page = tmp_path / "notebooks" / "tensors", tmp_path / "docs" / "gallery"
    cells = [nbformat.v4.new_markdown_cell(f"# {NAME}"), nbformat.v4.new_markdown_cell("facts")]
    write_notebook(made / "image_classification.ipynb", *cells, nbformat.v4.new_code_cell("import os\nos._exit(1)"))
    write_notebook(made / f"{NAME}.ipynb", *cells, nbformat.v4.new_code_cell(DRAW))
    page.mkdir(parents=True)
    (page / "image_classification.md").write_text("old")
    write_notebook(tmp_path / "notebooks" / "operations" / "replicas.ipynb", nbformat.v4.new_code_cell("1 / 0"))
    unchanged = hashlib.sha256((tmp_path / "notebooks" / "operations" / "replicas.ipynb").read_bytes()).hexdigest()
    (page / "replicas.md").write_text(f"<!-- sha256 of the executed notebook: {unchanged} -->\n")
    names = ["image_classification", "replicas", NAME]
    command = [sys.executable, "scripts/notebooks.py", "gallery", "--stale", *names]
    environ = os.environ | {"PYTHONPATH": str(tmp_path), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "error: image_classification: Kernel died" in done.stderr
    assert "1 failed: ./run gallery image_classification" in done.stderr
    assert (page / "image_classification.md").read_text() == "old"
    text = (page / f"{NAME}.md").read_text()
    assert text.startswith(f"# {NAME}\n\n[The notebook](../../notebooks/tensors/{NAME}.ipynb)")
    assert hashlib.sha256((made / f"{NAME}.ipynb").read_bytes()).hexdigest() in text
    assert f"![Output of the cell above]({NAME}-1.png)" in text
    assert {path.name for path in page.glob("*.png")} == {f"{NAME}-1.png", f"{NAME}-small.png"}
