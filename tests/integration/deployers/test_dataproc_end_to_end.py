"""From nothing to the results of a notebook with a served model, and to nothing again, on Dataproc.

The cluster is a protocol server. Its jobs are real: spark-submit, a Jupyter kernel, two executors and Triton servers.
"""

from __future__ import annotations

import json

import nbformat
import pytest
from support.dataproc_server.execute import SparkDriver
from support.dataproc_server.pace import Pace
from support.dataproc_server.server import DataprocServer
from unit.csp.deployments import Recorder, bundle

from csp.cloud import Deployment, Exit, RunPhase
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from csp.deployer import down, init_script
from csp.run import run
from csp.up import up
from integration.storage import servers
from server_utils.clusters.cluster import cluster

SERVE = """
def triton_server(ports):
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def double(x):
        return {"y": x * 2}

    number = Tensor(name="x", dtype=np.float32, shape=(1,))
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        answer = Tensor(name="y", dtype=np.float32, shape=(1,))
        triton.bind("double", double, inputs=[number], outputs=[answer], config=ModelConfig(max_batch_size=8))
        triton.serve()
"""
ASK = """
from pyspark.sql import SparkSession
from server_utils import TritonServerManager

spark = SparkSession.builder.getOrCreate()
with TritonServerManager("double", spark=spark) as manager:
    manager.start_servers(triton_server, timeout_s=120)
    numbers = spark.range(int(rows)).selectExpr("cast(id as float) as x")
    answers = [row.y for row in numbers.withColumn("y", manager.tensors("x")).orderBy("x").collect()]
print("answers:", answers)
"""
KEEP = """
import json
from server_utils.storage import urls
from server_utils.storage.stores import factory

factory.store(urls.parse(results)).write("answers.json", json.dumps(answers).encode(), replaces="")
"""


@pytest.fixture(scope="module")
def server():
    with servers.fake_gcs() as port:
        servers.make_gcs_bucket(port, "bucket-1")
        made = DataprocServer(port, "bucket-1")
        made.jobs.driver = SparkDriver(made.bucket, made.environ)
        yield made
        made.close()


@pytest.fixture
def session(server, monkeypatch):
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)
    return Session(connect(bucket="bucket-1"), Recorder(), clock=Pace(server).clock())


@pytest.fixture
def deployment(tmp_path):
    nodes = (cluster("dataproc", "l4x1", "triton"),)
    return Deployment("mine", nodes, bundle(tmp_path / "bundle"), init_script("dataproc"))


def write_notebook(path):
    cells = [nbformat.v4.new_code_cell(text) for text in ('rows = "2"', SERVE, ASK, KEEP)]
    cells[0].metadata["tags"] = ["parameters"]
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    return path


@pytest.mark.timeout(400)
def test_a_notebook_with_a_served_model_runs_and_its_results_come_back(server, session, deployment, tmp_path):
    assert up(session, deployment).ready == 2
    out = tmp_path / "out"
    ended = run(session, "mine", write_notebook(tmp_path / "double.ipynb"), out=out, parameters={"rows": "5"})
    assert ended.exit_code == 0, session.report.printed
    assert json.loads((out / "answers.json").read_text()) == [0.0, 2.0, 4.0, 6.0, 8.0]
    cells = nbformat.read(out / "double.ipynb", 4).cells
    printed = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", ()))
    assert "answers: [0.0, 2.0, 4.0, 6.0, 8.0]" in printed
    assert "answers: [0.0, 2.0, 4.0, 6.0, 8.0]" in session.report.printed
    assert down(session, "mine")[0].startswith("cluster mine (mine/")
    left = [blob.name for blob in server.bucket.list_blobs(prefix="spark-sidecar/")]
    assert (server.clusters.names, left) == ([], [])


@pytest.mark.timeout(200)
def test_a_program_that_raises_or_takes_too_long_says_so(session, deployment, tmp_path):
    up(session, deployment)
    source = tmp_path / "program.py"
    source.write_text("import sys\nassert sys.argv[1] == '--left=1', sys.argv\nraise ValueError('no rows')\n")
    ended = run(session, "mine", source, parameters={"left": "1"})
    assert (ended.exit_code, ended.state.error.splitlines()[-1]) == (Exit.RUN_FAILED, "ValueError: no rows")
    source.write_text("import threading\nthreading.Event().wait(120)\n")
    ended = run(session, "mine", source, timeout_s=1)
    assert (ended.exit_code, ended.state.phase) == (Exit.RUN_NOT_DONE, RunPhase.TIMED_OUT)
    down(session, "mine")
