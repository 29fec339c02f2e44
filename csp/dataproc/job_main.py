"""The main file of a job: run the notebook or program of a user, and store the result. Driver, on the master.

The folder of the run in the bucket gets `ended.json` with how the run ended, and `executed/` with the executed
notebook. The file is sent alone, so it imports from the package that is installed on the nodes. A notebook's kernel
inherits the environment of the job, and with it the job's gateway to Spark.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from server_utils.storage import urls
from server_utils.storage.stores import factory
from server_utils.storage.stores.base import Store, retry

ENDED = "ended.json"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SHOWN = 4000  # characters of the end of a stack trace


class OutOfTimeError(BaseException):
    """The run has reached its time limit. It is no `Exception`, so a user's `except Exception` does not catch it."""


def main(folder: str, name: str, timeout_s: str, parameters: str) -> int:
    """Run one source, and return the exit status of the job.

    Args:
        folder: gs:// address of the folder of the run, which holds the source.
        name: file name of the source.
        timeout_s: the time limit of the run in seconds.
        parameters: a JSON object of texts.
    """
    store = factory.store(urls.parse(folder))
    Path(name).write_bytes(retry(lambda: store.read(name)[0], what=f"reading {name}"))
    signal.signal(signal.SIGALRM, _end)
    signal.alarm(int(timeout_s))
    ended = _run(store, name, json.loads(parameters))
    signal.alarm(0)
    _upload(store, ENDED, json.dumps(ended).encode())
    return 0 if ended["phase"] == "succeeded" else 1


def _run(store: Store, name: str, parameters: dict[str, str]) -> dict[str, str]:
    try:
        if name.endswith(".ipynb"):
            _run_notebook(store, name, parameters)
        else:
            _run_program(name, parameters)
    except OutOfTimeError:
        return {"phase": "timed out", "error": ""}
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return {"phase": "failed" if code else "succeeded", "error": f"it ended with {end.code}" if code else ""}
    except BaseException:  # noqa: BLE001 - whatever a user's code raises is the result of the run
        error = _ANSI.sub("", traceback.format_exc())[-_SHOWN:]
        sys.stderr.write(error)
        return {"phase": "failed", "error": error}
    return {"phase": "succeeded", "error": ""}


def _run_program(name: str, parameters: dict[str, str]) -> None:
    sys.argv = [name, *(f"--{key}={value}" for key, value in parameters.items())]
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_path(name, run_name="__main__")


def _run_notebook(store: Store, name: str, parameters: dict[str, str]) -> None:
    """Execute all cells in a kernel of this Python, and upload the notebook also after an error."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(name, as_version=4)
    notebook.cells.insert(_position(notebook), nbformat.v4.new_code_cell(_assignments(parameters)))
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", on_cell_executed=_show(notebook))
    try:
        client.execute()
    finally:
        _upload(store, f"executed/{name}", nbformat.writes(notebook).encode())


def _position(notebook: Any) -> int:
    """Return the position of the parameters: after the cell with the tag `parameters`, as in papermill, or first."""
    tagged = (n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
    return next(tagged, -1) + 1


def _assignments(parameters: dict[str, str]) -> str:
    return "\n".join(f"{key} = {value!r}" for key, value in parameters.items() if key.isidentifier())


def _show(notebook: Any) -> Any:
    def show(cell: Any, cell_index: int, **_: Any) -> None:
        sys.stdout.write(f"cell {cell_index + 1} of {len(notebook.cells)}\n")
        for output in cell.get("outputs", ()):
            sys.stdout.write(_ANSI.sub("", output.get("text", "")))
        sys.stdout.flush()

    return show


def _end(*_: object) -> None:
    raise OutOfTimeError


def _upload(store: Store, key: str, content: bytes) -> None:
    file = Path(f".{os.getpid()}.upload")
    file.write_bytes(content)
    retry(lambda: store.upload(key, file), what=f"keeping {key}")
    file.unlink()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main(*sys.argv[1:]))
