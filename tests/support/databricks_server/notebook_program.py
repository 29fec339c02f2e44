"""Executes a notebook as a job does. Runs on a node, by the Python of its notebooks.

Reads a JSON file {notebook, parameters, conf} and writes {notebook, result, error, error_trace}. A cell that fails ends
the notebook, and so does `dbutils.notebook.exit`. The session `spark` belongs to the cluster: a notebook that stops it
has failed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

_PRELUDE = Path(__file__).with_name("notebook_prelude.py")
_CHECK = "assert spark.range(1).count() == 1"
_STOPPED = "the notebook stopped `spark`, which belongs to the cluster: its driver would be restarted"


def main(source, target):
    """Execute, and say how it ended."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the kernel ends with us
    given = json.loads(Path(source).read_text())
    notebook = nbformat.reads(json.dumps(given["notebook"]), as_version=4)
    os.environ["NOTEBOOK_PARAMETERS"] = json.dumps(given["parameters"])
    os.environ["NOTEBOOK_SPARK_CONF"] = json.dumps(given["conf"])
    client = NotebookClient(notebook, timeout=None, kernel_name="python3")
    with client.setup_kernel():
        _run(client, _PRELUDE.read_text())
        end = _execute(client, notebook)
    Path(target).write_text(json.dumps(end | {"notebook": notebook}))


def _run(client, source):
    """Run what is not part of the notebook."""
    notebook, client.nb = client.nb, nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    client.execute_cell(client.nb.cells[0], 0)
    client.nb = notebook


def _execute(client, notebook):
    for index, cell in enumerate(notebook.cells):
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as error:
            if error.ename == "NotebookExit":
                cell.outputs = [each for each in cell.outputs if each.output_type != "error"]
                return {"result": error.evalue}
            return {"error": f"{error.ename}: {error.evalue}", "error_trace": _trace(cell)}
        except DeadKernelError:
            return {"error": "The Python process exited", "error_trace": ""}
    try:
        _run(client, _CHECK)
    except CellExecutionError as error:
        return {"error": f"SparkStopped: {_STOPPED}", "error_trace": error.traceback}
    return {}


def _trace(cell):
    failed = [each for each in cell.outputs if each.output_type == "error"]
    return "\n".join(failed[-1].traceback) if failed else ""


if __name__ == "__main__":
    main(*sys.argv[1:])
