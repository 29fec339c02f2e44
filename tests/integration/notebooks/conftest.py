"""Kernels for notebooks: one for all notebooks of a laptop, and one for each other surrounding."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from jupyter_client.manager import KernelManager
from support import spark_jvms
from support.fakes import killed, processes_of, with_volumes

from server_utils.host import platform
from server_utils.host.processes import wait_until
from server_utils.notebooks import catalogue

# Notebooks that run in surroundings like two clouds', and not on the laptop as well.
ELSEWHERE = ("product_descriptions", "keras_preprocessing")
# No notebook sees what another one has made. Not by %reset, which takes `__spec__` from the module as well.
FORGET = (
    "for name in [*globals()]:\n    if name not in {'In', 'Out', 'get_ipython'} and name[0] != '_': del globals()[name]"
)
SCRIPT = Path(__file__).parents[3] / "scripts" / "notebook_files.py"


def load(script):
    """A script as a module: the folder of scripts is no package."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebook_files = load(SCRIPT)


@pytest.fixture(scope="session")
def state_root():
    """A folder for records with a short path, for all kernels."""
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def nothing_of_ours_is_left(state_root):
    """As the one for other tests, but a kernel is shared by the tests of a module."""
    yield
    wait_until(lambda: not processes_of(state_root), 10)
    names = killed(processes_of(state_root))
    assert not names, f"still running after the tests: {names}"


@pytest.fixture(scope="module")
def start_kernel(state_root, tmp_path_factory):
    """Starts kernels that end with the module: start_kernel({"VARIABLE": "value"}). A Spark of the user is ignored.

    volumes: the folder that a kernel and its processes see as /Volumes.
    """
    folder = tmp_path_factory.mktemp("notebooks")
    common = {
        "JDK_JAVA_OPTIONS": spark_jvms.options_of_drivers(),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": spark_jvms.PYTHON_PATH,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_SIDECAR_CACHE": str(folder / "cache"),
        "SPARK_SIDECAR_DATA": str(folder / "data"),
        "SPARK_SIDECAR_HOME": str(platform.home()),
        "SPARK_SIDECAR_MODELS": str(folder / "models"),
        "SPARK_SIDECAR_SCALE": "small",
        "SPARK_SIDECAR_STATE": str(state_root),
    }
    users = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    with contextlib.ExitStack() as stack:

        def start(variables=None, *, volumes=None):
            kernel = KernelManager(transport="ipc", ip=f"{state_root}/{uuid.uuid4().hex[:8]}")  # others want ports too
            if volumes:
                kernel.kernel_spec.argv[:] = [*with_volumes(volumes), sys.executable, *kernel.kernel_spec.argv[1:]]
            kernel.start_kernel(env=users | common | (variables or {}), cwd=str(folder))
            kernel.asks_by = client = (
                kernel.blocking_client()
            )  # one for its life: its end would end the manager's sockets
            client.start_channels()
            stack.callback(client.stop_channels)
            stack.callback(kernel.shutdown_kernel)
            client.wait_for_ready(timeout=300)
            return kernel

        yield start


def ask(kernel, code):
    """Run code in a kernel. Returns what it printed; an error is the test's."""
    printed = []

    def keep(message):
        printed.append(message["content"].get("text") or "\n".join(message["content"].get("traceback", [])))

    reply = kernel.asks_by.execute_interactive(code, output_hook=keep, timeout=300)
    return reply["content"]["status"], "".join(printed)


def execute(name, kernel, folder, *, first=""):
    """Run a notebook in a kernel, without what another one has made there. Returns it with its outputs.

    first: code that is there before it.
    """
    assert ask(kernel, f"{FORGET}\n{first}")[0] == "ok"
    done = notebook_files.execute(notebook_files.made(catalogue.facts(name)), kernel=kernel, folder=folder)
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [set(output.get("data", {})) for output in outputs]
    assert any("image/png" in each for each in shown), "a notebook ends with a picture"
    assert any("text/markdown" in each for each in shown), "and with a table"
    return done
