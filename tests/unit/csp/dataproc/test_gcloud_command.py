"""A cluster for Dataproc: gcloud's own reading of the command, and which values are refused."""

from __future__ import annotations

import doctest
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from csp.dataproc.gcloud_command import gcloud_command
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options
from server_utils.errors import ConfigurationError


class RefusingDataproc:
    """A Dataproc endpoint that records each request to create a cluster, and refuses it."""

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
    endpoint = RefusingDataproc()
    yield endpoint
    endpoint.close()


def test_the_example_in_the_docstring_is_true():
    assert doctest.testmod(sys.modules[gcloud_command.__module__]) == (0, 3)


def read_by_gcloud(dataproc, argv, folder):
    """The body of the request that gcloud makes of a command."""
    environment = os.environ | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DATAPROC": dataproc.url,
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(folder),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    }
    done = subprocess.run(
        [*argv, "--project=p", "--async"], env=environment, capture_output=True, text=True, check=False
    )
    assert "refused by the test" in done.stderr, done.stderr
    (body,) = dataproc.bodies
    return body


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
def test_gcloud_reads_a_single_node_with_an_attached_gpu_and_every_option(dataproc, tmp_path):
    account = "nodes@project-1.iam.gserviceaccount.com"
    options = Options(
        zone="us-central1-b", tags={"team": "a"}, service_account=account, subnetwork="spark",
        network_tags=("spark-sidecar", "more"), staging_bucket="project-1-files", idle_minutes=0,
    )  # fmt: skip
    defined = cluster("dataproc", "t4x1-small", "vllm", workers=0, options=options)
    config = (body := read_by_gcloud(dataproc, gcloud_command(defined, name="mine"), tmp_path))["config"]
    master, machines = config["masterConfig"], config["gceClusterConfig"]
    assert (master["machineTypeUri"], master["diskConfig"]["bootDiskSizeGb"]) == ("n1-standard-8", 500)
    assert master["accelerators"] == [{"acceleratorCount": 1, "acceleratorTypeUri": "nvidia-tesla-t4"}]
    assert config["softwareConfig"]["properties"]["dataproc:dataproc.allow.zero.workers"] == "true"
    assert config["softwareConfig"]["properties"]["spark:spark.plugins"] == ""
    assert config["softwareConfig"]["optionalComponents"] == ["JUPYTER"]
    assert body["labels"] == {"spark-sidecar": "vllm", "team": "a"}
    assert (config["configBucket"], machines["zoneUri"]) == ("project-1-files", "us-central1-b")
    assert machines["serviceAccount"] == account
    assert machines["subnetworkUri"].endswith("spark")
    assert (sorted(machines["tags"]), machines["internalIpOnly"]) == (["more", "spark-sidecar"], True)
    assert "lifecycleConfig" not in config


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
def test_gcloud_reads_spot_workers_as_secondary_ones(dataproc, tmp_path):
    defined = cluster("dataproc", "t4x1", "vllm", options=Options(spot_workers=3, local_ssds=2))
    argv = [*gcloud_command(defined, name="mine"), "--region=us-central1"]
    config = read_by_gcloud(dataproc, argv, tmp_path)["config"]
    spot = config["secondaryWorkerConfig"]
    assert (spot["numInstances"], spot["preemptibility"]) == (3, "SPOT")
    assert config["softwareConfig"]["properties"]["spark:spark.executor.instances"] == "5"
    assert config["workerConfig"]["diskConfig"]["numLocalSsds"] == spot["diskConfig"]["numLocalSsds"] == 2
    assert config["workerConfig"]["accelerators"] == [{"acceleratorCount": 1, "acceleratorTypeUri": "nvidia-tesla-t4"}]


def test_a_cluster_for_nim_has_docker_and_tells_nodes_of_image_and_secret():
    expected = {"NIM_IMAGE": "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4", "NGC_SECRET_NAME": "ngc"}
    words = gcloud_command(cluster("dataproc", "l4x1", "nim", options=Options(metadata=expected)), name="mine")
    assert "--optional-components=JUPYTER,DOCKER" in words
    assert f"--metadata=^#^framework=nim#NIM_IMAGE={expected['NIM_IMAGE']}#NGC_SECRET_NAME=ngc" in words


def test_a_bundle_that_is_in_no_bucket_is_refused():
    with pytest.raises(ConfigurationError, match=r"'/Volumes/a' is not: .* --to gs://"):
        gcloud_command(cluster("dataproc", "l4x1", "vllm"), name="a", bundle="/Volumes/a")


@pytest.mark.parametrize("name", ["Mine", "1st", "a_b", "a" * 52, "a-"])
def test_a_name_that_dataproc_refuses_is_refused(name):
    with pytest.raises(ConfigurationError, match="at most 51 lower-case letters, digits and hyphens"):
        gcloud_command(cluster("dataproc", "l4x1", "vllm"), name=name)


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="no gcloud on this machine")
def test_gcloud_reads_our_command_as_the_cluster_that_was_meant(dataproc, tmp_path):
    defined = cluster("dataproc", "l4x2", "tf", workers=3, conf={"spark.plugins": "a.B,c.D"})
    argv = gcloud_command(defined, name="mine", init_script="gs://b/dataproc.sh", bundle="gs://b/wheels")
    body = read_by_gcloud(dataproc, [*argv, "--region=us-central1"], tmp_path)
    config = body["config"]
    assert body["clusterName"] == "mine"
    assert config["workerConfig"]["machineTypeUri"] == "g2-standard-24"
    assert config["workerConfig"]["numInstances"] == 3
    assert config["masterConfig"]["machineTypeUri"] == "n2-standard-8"
    assert config["softwareConfig"]["imageVersion"] == "2.3-ml-ubuntu22"
    env = {f"spark:spark.executorEnv.{key}": value for key, value in defined.env.items()}
    conf = {f"spark:{key}": value for key, value in defined.conf.items()}
    assert config["softwareConfig"]["properties"] == conf | env | defined.properties
    assert config["gceClusterConfig"]["metadata"] == {"framework": "tf", "spark-sidecar-bundle": "gs://b/wheels"}
    (action,) = config["initializationActions"]
    assert action == {"executableFile": "gs://b/dataproc.sh", "executionTimeout": "1800s"}
    assert config["lifecycleConfig"] == {"idleDeleteTtl": "3600s"}


def test_an_image_without_drivers_gets_no_secure_boot():
    """A driver that an initialization action builds is not signed."""
    with_drivers = gcloud_command(cluster("dataproc", "l4x1", "vllm"), name="a")
    without = gcloud_command(cluster("dataproc", "l4x1", "vllm", runtime="2.3-ubuntu22"), name="a")
    assert "--no-shielded-secure-boot" in without
    assert "--no-shielded-secure-boot" not in with_drivers


@pytest.mark.parametrize("path", ["init.sh", "dbfs:/init.sh", "https://host/init.sh"])
def test_an_init_script_elsewhere_is_refused(path):
    with pytest.raises(ConfigurationError, match=r"an initialization action is in a bucket \(gs://…\)"):
        gcloud_command(cluster("dataproc", "l4x1", "vllm"), name="a", init_script=path)


def test_a_value_with_the_separator_is_refused_and_not_split():
    defined = cluster("dataproc", "l4x1", "vllm", conf={"spark.mine": "a#b"})
    with pytest.raises(ConfigurationError, match=r"the value of spark:spark\.mine contains '#'"):
        gcloud_command(defined, name="a")
