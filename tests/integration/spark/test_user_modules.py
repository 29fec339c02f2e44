"""Modules of the user's own in real Triton: beside the notebook, in packages, imported at the top or inside."""

from __future__ import annotations

import importlib
import sys

import pytest

from integration.spark.conftest import rows
from server_utils import ConfigurationError

TOOLS = """
import threading

from pyspark.sql import functions

from mine.steps import double

lock = threading.Lock()


def infer(row):
    import mine.marks

    return {"answer": double(row) + mine.marks.none(row)}


def tensors():
    import numpy as np
    from pytriton.model_config import Tensor

    return [Tensor(name="row", dtype=np.int64, shape=(1,))], [Tensor(name="answer", dtype=np.int64, shape=(1,))]
"""
CELL = """
import tools


def triton_server(ports, model_path=None):
    import mine.serving
    from pytriton.decorators import batch

    assert model_path is None
    mine.serving.serve(ports, batch(tools.infer), *tools.tensors())
"""
SERVING = """
from pytriton.triton import Triton

from .marks import NAME


def serve(ports, infer, inputs, outputs):
    with Triton(workspace="/tmp/sidecar_of_everybody") as triton:  # no ports at all: those of the server are taken
        triton.bind(NAME, infer, inputs, outputs)
        triton.serve()
"""


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A folder with modules of the user's, which the sealed environment lacks; cell(text) gives its function."""
    (tmp_path / "mine").mkdir()
    for name, text in {
        "tools.py": TOOLS,
        "mine/__init__.py": "",
        "mine/steps.py": "def double(row): return 2 * row",
        "mine/marks.py": "NAME = 'own'\ndef none(row): return 0 * row",
        "mine/serving.py": SERVING,
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield cell
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tools", "mine")]:
        del sys.modules[name]


def cell(text):
    scope = {"__name__": "__main__"}
    exec(text, scope)  # noqa: S102 - as a notebook does
    return scope["triton_server"]


def test_what_a_function_uses_of_the_users_own_modules_is_there(spark, manager, notebook):
    servers = manager("own modules")

    servers.start_servers(notebook(CELL))

    found = rows(spark, servers.tensors("id")).collect()
    assert {row.id: row.answer for row in found} == {number: 2 * number for number in range(400)}
    assert len(servers.status()) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("session = SparkSession.getActiveSession()", "session is a pyspark.sql.*SparkSession"),
        ("import threading; session = threading.Lock()", "session is a _thread.lock"),
        ("session = open('/dev/null', 'w')", "session is a _io.TextIOWrapper"),
        ("from matplotlib import pyplot as session", "it holds matplotlib.* has no matplotlib"),
        (
            "session = LongType()",
            "it holds pyspark.sql.types.LongType, and the sealed environment 'triton' has no pyspark",
        ),
    ],
)
@pytest.mark.usefixtures("spark")
def test_what_cannot_travel_is_named_before_anything_starts(manager, text, words):
    before = "from pyspark.sql import SparkSession\nfrom pyspark.sql.types import LongType\n"
    servers = manager("cannot travel")

    with pytest.raises(ConfigurationError, match=words):
        servers.start_servers(cell(f"{before}{text}\ndef triton_server(ports): return session"))

    assert not servers.status()
