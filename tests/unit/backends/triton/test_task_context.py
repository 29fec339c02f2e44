"""What pyspark says in a server's process: with a pyspark of the environment's own, and without any."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from decimal import Decimal
from pathlib import Path

import pytest

from server_utils.backends.triton import task_context
from server_utils.spark import executors

FOLDER = Path(task_context.__file__).parent
SECRETS = {
    "spark.my.tokens": "of several",
    "spark.hadoop.fs.azure.account.key.models.dfs.core.windows.net": "hunter2",
    "spark.hadoop.fs.s3a.secret.key": "hunter2",
    "spark.my.apiKey": "hunter2",
    "spark.my.keyPassphrase": "hunter2",
    "spark.my.private.key": "hunter2",
    "spark.my.url": "jdbc:postgresql://me:hunter2@host/db",
}
TASK = {
    "partitionId": 3,
    "stageId": 7,
    "attemptNumber": 1,
    "taskAttemptId": 4711,
    "cpus": 2,
    "cpuAmount": "0.5",
    "resources": {"gpu": ["0", "2"]},
    "localProperties": {"spark.jobGroup.id": "night", "addresses": "a:1, b:2", "spark.tokenizer.path": "/models/t"},
    "leftOut": sorted({*SECRETS, "spark.large"}),
    "barrier": False,
}
ASK = """
task = TaskContext.get()
gpu = task.resources()["gpu"]
print(task.partitionId(), task.stageId(), task.attemptNumber(), task.taskAttemptId(), task.cpus(), gpu.name,
      gpu.addresses, task.getLocalProperty("spark.jobGroup.id"), task.getLocalProperty("nothing"))
"""
RIGHT = "3 7 1 4711 2 gpu ['0', '2'] night None"


def printed(code, task=None, *, pyspark=False):
    """What a server's process prints. pyspark: whether its environment has one."""
    before = f"import sys; sys.path.append({str(FOLDER)!r}); import task_context\n"
    hide = "" if pyspark else "import site, sysconfig; sys.path.remove(sysconfig.get_path('purelib'))\n"
    environ = {"SPARK_SIDECAR_TASK": json.dumps(task)} if task else {}
    program = f"{before}{hide}task_context.install()\n{code}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], env=environ, text=True, capture_output=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@pytest.fixture(params=[False, True], ids=["no pyspark", "its own pyspark"])
def asked(request):
    return lambda code, task=None: printed(code, task, pyspark=request.param)


@pytest.mark.parametrize(
    "how",
    [
        "from pyspark import TaskContext",
        "from pyspark.taskcontext import TaskContext",
        "import pyspark; TaskContext = pyspark.TaskContext",
        "import pyspark.taskcontext; TaskContext = pyspark.taskcontext.TaskContext",
        "import importlib; TaskContext = importlib.import_module('pyspark').TaskContext",
    ],
)
def test_the_task_is_the_one_that_started_the_server_however_it_is_imported(asked, how):
    assert asked(f"{how}\n{ASK}", TASK) == RIGHT


def test_a_task_of_a_barrier_stage_knows_its_peers_and_waits_for_none(asked):
    task = TASK | {"barrier": True}
    assert asked(f"from pyspark import TaskContext\n{ASK}", task) == RIGHT
    peers = "from pyspark import BarrierTaskContext as B; print(*[each.address for each in B.get().getTaskInfos()])"
    assert printed(peers, task) == "a:1 b:2"
    for call in ("barrier()", "allGather('x')"):
        assert printed(f"from pyspark import BarrierTaskContext as B; B.get().{call}", task).startswith(
            "RuntimeError: a se"
        )
    assert "no barrier stage" in printed("from pyspark import BarrierTaskContext as B; B.get()", TASK)


def test_a_server_that_no_task_started_has_none(asked):
    assert asked("from pyspark import TaskContext; print(TaskContext.get())") == "None"


@pytest.mark.parametrize("name", ["spark.hadoop.fs.s3a.secret.key", "spark.large"])
def test_a_property_that_is_not_handed_on_is_no_none(name):
    ask = f"from pyspark import TaskContext; TaskContext.get().getLocalProperty({name!r})"
    assert printed(ask, TASK) == (
        f"RuntimeError: the local property {name!r} is not handed on to servers: it is secret or too long"
    )


@pytest.mark.parametrize(
    "code",
    [
        "from pyspark import SparkContext",
        "from pyspark.sql import SparkSession",
        "import pyspark.sql.functions",
        "import pyspark; pyspark.sql",
        "import pyspark; pyspark.SparkContext",
        "from pyspark.ml.functions import predict_batch_udf",
    ],
)
def test_all_else_of_a_pyspark_that_is_not_there_is_refused_with_words(code):
    assert "is not here: the sealed environment has no pyspark but its TaskContext" in printed(code, TASK)


def test_code_that_tries_and_does_without_spark_still_does():
    code = "try:\n  from pyspark.sql import SparkSession\nexcept ImportError:\n  print('without')"
    assert printed(code, TASK) == "without"
    assert printed("import inspect, pyspark; print(inspect.getmodule(print).__name__, hasattr(pyspark, 'sql'))") == (
        "builtins False"
    )


def test_what_is_written_down_is_what_is_read(monkeypatch):
    """Both ends, by a context as pyspark's worker makes it; secrets and what is too long are only named."""
    from pyspark import TaskContext

    context = object.__new__(TaskContext)
    numbers = {"_partitionId": 3, "_stageId": 7, "_attemptNumber": 1, "_taskAttemptId": 4711, "_cpus": 2}
    gpu = types.SimpleNamespace(addresses=["0", "2"])
    properties = TASK["localProperties"] | SECRETS | {"spark.large": "x" * 70_000}
    more = {"_resources": {"gpu": gpu}, "_localProperties": properties, "_cpuAmount": Decimal("0.5")}
    for name, value in (numbers | more).items():
        setattr(context, name, value)

    described = executors._describe(context)

    assert described | {"cpuAmount": "0.5"} == TASK
    assert "hunter2" not in json.dumps(described)
    assert executors._TASK == task_context.VARIABLE
    assert importlib.util.find_spec("pyspark")
