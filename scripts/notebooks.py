"""Called by `./run notebook` and `./run gallery`: executes or opens notebooks, and writes the pages of the gallery."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gallery
import nbformat
import notebook_files
from nbclient.exceptions import CellExecutionError

from server_utils.errors import SidecarError
from server_utils.host import platform
from server_utils.notebooks import catalogue


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="./run")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("notebook", help="execute a notebook, or open it")
    one.add_argument("name", metavar="NAME", help=", ".join(catalogue.every()))
    one.add_argument("--open", action="store_true", help="open it in JupyterLab instead")
    several = commands.add_parser("gallery", help="execute notebooks at small scale, and write docs/gallery")
    several.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "gallery":
            return _gallery(chosen.names)
        return _open(chosen.name) if chosen.open else _execute(chosen.name)
    except SidecarError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _open(name: str) -> int:
    lab = shutil.which("jupyter-lab")
    if lab is None:
        print("error: JupyterLab is not installed: pip install 'spark-sidecar[notebook]'", file=sys.stderr)
        return 1
    copy = _folder() / f"{name}-open.ipynb"  # JupyterLab saves what it shows
    shutil.copy(notebook_files.made(catalogue.facts(name)), copy)
    return subprocess.run([lab, copy], check=False).returncode


def _folder() -> Path:
    """Where notebooks with outputs are kept."""
    return platform.writable(platform.home() / "notebooks", variable="SPARK_SIDECAR_HOME")


def _execute(name: str) -> int:
    """Run it, and keep it with its outputs."""
    facts, began, folder = catalogue.facts(name), time.monotonic(), _folder()
    try:
        done = notebook_files.execute(notebook_files.made(facts), folder=folder)
    except CellExecutionError as error:
        print(error.traceback.strip() or error, file=sys.stderr)
        return 1
    outcome = folder / f"{name}.ipynb"
    nbformat.write(done, outcome)
    print(gallery.plain(done))
    print(f"{name}: {time.monotonic() - began:.0f} s; with its outputs: {outcome}")
    return 0


def _gallery(names: list[str]) -> int:
    os.environ["SPARK_SIDECAR_SCALE"] = "small"
    with tempfile.TemporaryDirectory() as folder:
        for facts in [catalogue.facts(name) for name in names] or catalogue.every().values():
            began = time.monotonic()
            done = notebook_files.execute(notebook_files.made(facts), folder=Path(folder))
            gallery.write(facts, done)
            print(f"{facts.name}: {time.monotonic() - began:.0f} s", flush=True)
    gallery.write_index()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
