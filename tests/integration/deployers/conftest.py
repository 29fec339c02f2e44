"""A Dataproc of one project and region on loopback, with a session and a deployment for it."""

from __future__ import annotations

import itertools

import pytest
from support.dataproc_server.pace import Pace
from support.dataproc_server.server import DataprocServer
from unit.csp.deployments import Recorder, bundle

from csp.cloud import Deployment
from csp.cloud_session import Session
from csp.dataproc.deployer import connect
from integration.storage import servers
from server_utils.clusters.cluster import cluster
from server_utils.clusters.options import Options

_buckets = itertools.count(1)


@pytest.fixture(scope="session")
def storage_port():
    with servers.fake_gcs() as port:
        yield port


@pytest.fixture
def bucket(storage_port):
    name = f"bucket-{next(_buckets)}"
    servers.make_gcs_bucket(storage_port, name)
    return name


@pytest.fixture
def server(storage_port, bucket, monkeypatch):
    made = DataprocServer(storage_port, bucket)
    for name, value in made.environ.items():
        monkeypatch.setenv(name, value)
    yield made
    made.close()


@pytest.fixture
def pace(server):
    return Pace(server)


@pytest.fixture
def session(server, bucket, pace):
    return Session(connect(bucket=bucket), Recorder(), clock=pace.clock())


@pytest.fixture
def wanted(tmp_path):
    """What is to be deployed: wanted(workers=2, zone=…)."""
    bundle(tmp_path / "bundle")
    (tmp_path / "dataproc.sh").write_text("#!/bin/bash\n")

    def make(*shapes, workers=2, **options):
        clusters = [cluster("dataproc", shape, "vllm", workers=workers, options=Options(**options))
                    for shape in shapes or ("l4x1",)]  # fmt: skip
        return Deployment("mine", tuple(clusters), tmp_path / "bundle", tmp_path / "dataproc.sh")

    return make


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text("print(1)\n")
    return path
