"""Cluster definitions: the fields Databricks takes, and gcloud's own reading of its arguments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from csp.databricks import cluster_spec as databricks_spec
from csp.dataproc import cluster_spec as dataproc_spec
from server_utils.cli import clusters
from server_utils.clusters import cluster
from server_utils.clusters.catalogue import nodes, platforms
from server_utils.errors import ConfigurationError

DATABRICKS = [name for name in platforms() if name != "dataproc"]


class DataprocRefusing:
    """A Dataproc endpoint that keeps what it is asked to create, and refuses it."""

    def __init__(self):
        self.bodies = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(400, {"error": {"code": 400, "message": "refused by the test", "status": "INVALID"}})

            def do_GET(self):
                self.answer(404, {"error": {"code": 404, "message": "not there", "status": "NOT_FOUND"}})

            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def dataproc():
    endpoint = DataprocRefusing()
    yield endpoint
    endpoint.close()


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
def test_gcloud_makes_of_our_words_the_cluster_that_was_meant(dataproc, tmp_path):
    found = cluster.cluster("dataproc", "l4x2", "tf", workers=3, conf={"spark.plugins": "a.B,c.D"})
    words = dataproc_spec.gcloud_command(found, name="mine", init_script="gs://b/dataproc.sh", bundle="gs://b/wheels")
    environment = os.environ | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAPROC": dataproc.url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(tmp_path),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }
    done = subprocess.run(
        [*words, "--region=us-central1", "--project=p", "--async"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "refused by the test" in done.stderr, done.stderr
    (body,) = dataproc.bodies
    config = body["config"]
    assert body["clusterName"] == "mine"
    assert config["workerConfig"]["machineTypeUri"] == "g2-standard-24"
    assert config["workerConfig"]["numInstances"] == 3
    assert config["masterConfig"]["machineTypeUri"] == "n2-standard-8"
    assert config["softwareConfig"]["imageVersion"] == "2.3-ml-ubuntu22"
    env = {f"spark:spark.executorEnv.{key}": value for key, value in found.env.items()}
    assert config["softwareConfig"]["properties"] == {f"spark:{key}": value for key, value in found.conf.items()} | env
    assert config["gceClusterConfig"]["metadata"] == {"framework": "tf", "spark-sidecar-bundle": "gs://b/wheels"}
    (action,) = config["initializationActions"]
    assert action == {"executableFile": "gs://b/dataproc.sh", "executionTimeout": "1800s"}
    assert config["lifecycleConfig"] == {"idleDeleteTtl": "3600s"}


def test_an_image_without_drivers_gets_no_secure_boot():
    """A driver that an initialization action builds is not signed."""
    with_drivers = dataproc_spec.gcloud_command(cluster.cluster("dataproc", "l4x1", "vllm"), name="a")
    without = dataproc_spec.gcloud_command(
        cluster.cluster("dataproc", "l4x1", "vllm", runtime="2.3-ubuntu22"), name="a"
    )
    assert "--no-shielded-secure-boot" in without
    assert "--no-shielded-secure-boot" not in with_drivers


@pytest.mark.parametrize("platform", DATABRICKS)
def test_databricks_gets_the_nodes_the_conf_and_the_variables(platform):
    for row in nodes(platform):
        found = cluster.cluster(platform, row.shape, "vllm", workers=2)
        definition = databricks_spec.create_request(found, name="mine")
        assert definition["node_type_id"] == row.node_type
        assert (definition["num_workers"], definition["spark_conf"]) == (2, found.conf)
        assert definition["spark_env_vars"]["FRAMEWORK"] == "vllm"
        assert definition["spark_version"].endswith(("-gpu-ml-scala2.12", "-gpu-ml-scala2.13"))
        assert "init_scripts" not in definition


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/Volumes/main/default/sidecar/init.sh", "volumes"),
        ("/Workspace/Shared/init.sh", "workspace"),
        ("s3://bucket/init.sh", "s3"),
        ("gs://bucket/init.sh", "gcs"),
        ("abfss://container@account/init.sh", "abfss"),
    ],
)
def test_an_init_script_is_named_by_where_it_is(path, kind):
    found = cluster.cluster("databricks-aws", "a10x1", "vllm")
    definition = databricks_spec.create_request(found, name="mine", init_script=path)
    assert definition["init_scripts"] == [{kind: {"destination": path}}]


@pytest.mark.parametrize("path", ["init.sh", "dbfs:/init.sh", "https://host/init.sh"])
def test_an_init_script_elsewhere_is_refused(path):
    with pytest.raises(ConfigurationError, match="is none of these"):
        databricks_spec.create_request(cluster.cluster("databricks-aws", "a10x1", "vllm"), name="a", init_script=path)
    with pytest.raises(ConfigurationError, match=r"an initialization action is in a bucket \(gs://…\)"):
        dataproc_spec.gcloud_command(cluster.cluster("dataproc", "l4x1", "vllm"), name="a", init_script=path)


def test_a_value_with_the_separator_is_refused_and_not_split():
    found = cluster.cluster("dataproc", "l4x1", "vllm", conf={"spark.mine": "a#b"})
    with pytest.raises(ConfigurationError, match=r"spark:spark\.mine holds a #"):
        dataproc_spec.gcloud_command(found, name="a")


def test_pairs_keep_what_comes_after_the_first_equals_sign():
    assert clusters.pairs(["a=b=c", "d="], option="--conf") == {"a": "b=c", "d": ""}


@pytest.mark.parametrize("text", ["a", "=b", ""])
def test_what_is_no_pair_is_refused(text):
    with pytest.raises(ConfigurationError, match="--conf takes KEY=VALUE, not "):
        clusters.pairs([text], option="--conf")
