"""Called by `./run notebook` and `./run gallery`: executes or opens notebooks, and writes the pages of the gallery."""

from __future__ import annotations

import argparse
import math
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
from nbclient.exceptions import CellControlSignal, CellExecutionError

from server_utils.errors import SidecarError
from server_utils.host import platform
from server_utils.notebooks import catalogue
from server_utils.notebooks.catalogue import Facts

_FAILURES = (CellControlSignal, RuntimeError)  # a cell failed, the time is up; the kernel did not start, or has died


def main(arguments: list[str]) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="./run")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("notebook", help="execute a notebook, or open it")
    one.add_argument("name", metavar="NAME", help=", ".join(catalogue.every()))
    one.add_argument("--open", action="store_true", help="open it in JupyterLab instead")
    several = commands.add_parser("gallery", help="execute notebooks at small scale, and write docs/gallery")
    several.add_argument("names", nargs="*", metavar="NAME", help="by default all")
    several.add_argument("--stale", action="store_true", help="only those that have changed since")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "gallery":
            return _gallery(_chosen(chosen.names, only_stale=chosen.stale))
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
    except _FAILURES as error:
        print(_why(error), file=sys.stderr)
        return 1
    outcome = folder / f"{name}.ipynb"
    nbformat.write(done, outcome)
    print(gallery.plain(done))
    print(f"{name}: {time.monotonic() - began:.0f} s; with its outputs: {outcome}")
    return 0


def _why(error: Exception) -> str:
    traceback = error.traceback.strip() if isinstance(error, CellExecutionError) else ""
    return traceback or str(error)


def _chosen(names: list[str], *, only_stale: bool) -> list[Facts]:
    every = [catalogue.facts(name) for name in names] or [*catalogue.every().values()]
    return [facts for facts in every if not only_stale or gallery.is_stale(facts)]


def _gallery(chosen: list[Facts]) -> int:
    """Write the pages. One that fails keeps its old page, and does not hold up the others."""
    os.environ["SPARK_SIDECAR_SCALE"] = "small"
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for facts in chosen:
            began = time.monotonic()
            try:
                done = notebook_files.execute(notebook_files.made(facts), folder=Path(folder))
                seconds = time.monotonic() - began
                gallery.write(notebook_files.with_minutes(facts, math.ceil(seconds / 60)), done, seconds)
            except (*_FAILURES, SidecarError) as error:
                failed.append(facts.name)
                print(f"error: {facts.name}: {_why(error)}", file=sys.stderr, flush=True)
                continue
            print(f"{facts.name}: {seconds:.0f} s", flush=True)
    if failed:
        print(f"error: {len(failed)} failed: ./run gallery {' '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
