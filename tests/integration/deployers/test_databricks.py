"""From a laptop to results and back to nothing, on a Databricks workspace that executes what it is given.

The SDK is the vendor's. The init script makes a sealed node ready, and the notebook serves a model there by Triton.
"""

from __future__ import annotations

import json

import nbformat
import pytest
from support.databricks_server.server import DatabricksServer, profile
from unit.csp.deployments import new_session

from csp import deployer, run
from csp.cloud import Deployment, Exit
from csp.databricks.deployer import connect
from csp.up import up
from integration.deployers.databricks_node import nodes_below
from integration.init_scripts.conftest import build
from integration.init_scripts.node_tree import why_not
from server_utils.clusters.cluster import cluster
from server_utils.errors import DeploymentError
from server_utils.node.bundle import build_small

pytestmark = [pytest.mark.node, pytest.mark.skipif(why_not() is not None, reason=f"no nodes here: {why_not()}")]
VOLUME = "/Volumes/main/default/sidecar"
SERVE = '''
def double(ports):
    """Doubles numbers."""
    import numpy as np
    from pytriton.decorators import batch
    from pytriton.model_config import ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    @batch
    def doubled(x):
        return {"y": x * 2}

    x, y = Tensor(name="x", dtype=np.float32, shape=(1,)), Tensor(name="y", dtype=np.float32, shape=(1,))
    with Triton(config=TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])) as triton:
        triton.bind("double", doubled, inputs=[x], outputs=[y], config=ModelConfig(max_batch_size=8))
        triton.serve()
'''
ASK = """
from pathlib import Path

from server_utils import TritonServerManager

rows = int(dbutils.widgets.get("rows"))
with TritonServerManager("double", spark=spark) as servers:
    servers.start_servers(double, timeout_s=120)
    numbers = spark.range(rows, numPartitions=1).selectExpr("cast(id as float) as x")
    answers = [row.y for row in numbers.withColumn("y", servers.tensors("x")).orderBy("x").collect()]
results = Path(dbutils.widgets.get("results"))
results.mkdir(parents=True, exist_ok=True)
(results / "answers.txt").write_text(" ".join(f"{each:g}" for each in answers))
print("asked for", rows)
dbutils.notebook.exit(str(len(answers)))
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databricks")
    with (
        DatabricksServer(folder / "server", nodes=nodes_below(folder / "nodes")) as running,
        pytest.MonkeyPatch.context() as here,
    ):
        for name, value in profile(running).items():
            here.setenv(name, value)
        yield running


@pytest.fixture
def laptop(server):
    return new_session(connect(volume=VOLUME), server.clock)


def wanted(name, bundle):
    """A single node: its driver is where the server runs."""
    return Deployment(
        name, (cluster("databricks-aws", "a10x1", "triton", workers=0),), bundle, deployer.init_script("databricks")
    )


def write_notebook(path):
    cells = [
        {"cell_type": "code", "metadata": {}, "source": each, "outputs": [], "execution_count": None}
        for each in (SERVE, ASK)
    ]
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def test_a_cluster_whose_init_script_fails_is_explained_by_the_scripts_own_log(laptop, tmp_path):
    """A wheel without its packages, on a node without a network."""
    with pytest.raises(DeploymentError) as caught:
        up(laptop, wanted("alone", build_small(tmp_path / "bundle")))
    assert "INIT_SCRIPT_FAILURE" in str(caught.value)
    assert "no route to the package index" in str(caught.value)
    assert "It is deleted, and nothing bills" in str(caught.value)


def test_a_notebook_serves_a_model_on_a_deployment_and_nothing_is_left(server, laptop, tmp_path):
    state = up(laptop, wanted("reviews", build("triton", tmp_path / "bundle")))
    assert state.is_ready
    notebook = write_notebook(tmp_path / "double.ipynb")
    result = run.run(laptop, "reviews", notebook, parameters={"rows": "4"}, out=tmp_path / "out")
    assert result.exit_code is Exit.DONE, result.state
    assert (tmp_path / "out" / "answers.txt").read_text() == "0 2 4 6"
    (page,) = (tmp_path / "out").glob("*.html")
    assert "__DATABRICKS_NOTEBOOK_MODEL" in page.read_text()
    (executed,) = (tmp_path / "out").glob("*.ipynb")
    last = nbformat.read(executed, as_version=4).cells[-1]
    assert (last.source, [each.text for each in last.outputs]) == (ASK, ["asked for 4\n"])
    assert laptop.report.printed == "4"
    (log,) = [each for each in deployer.logs(laptop, "reviews", ["init"]) if each.name.endswith("/init.log")]
    assert "/opt/spark-sidecar/envs/triton" in log.text  # what the doctor found at the end
    (served,) = deployer.logs(laptop, "reviews", ["server"])
    assert "Started GRPCInferenceService" in served.text  # Triton's own words
    assert any(each.startswith("cluster reviews") for each in deployer.down(laptop, "reviews"))
    assert laptop.cloud.store(laptop.cloud.root("reviews")).folders() == []
    assert laptop.find("reviews") == []
