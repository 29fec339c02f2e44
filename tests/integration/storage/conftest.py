"""Real servers for S3 and Google Cloud Storage on loopback, once per run, each behind a proxy that can fail.

No test here may open a connection beyond this machine: the one that tries fails.
"""

from __future__ import annotations

import os

import pytest

from integration.storage import loopback, servers
from integration.storage.faulty_proxy import FaultyProxy
from integration.storage.places import Place, make_model
from server_utils.storage import cache


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
    """A model of some files, one of them of three equal parts."""
    return make_model(tmp_path / "model", big=48 << 20)


@pytest.fixture(scope="session")
def seaweedfs():
    """SeaweedFS: checks signatures, digests and the sizes of parts."""
    with servers.seaweedfs() as port:
        yield from _s3("seaweedfs", port)


@pytest.fixture(scope="session")
def moto():
    """Moto's server: the other implementation of S3; accepts what SeaweedFS refuses."""
    with servers.moto() as port:
        yield from _s3("moto", port)


def _s3(name, port):
    proxy = FaultyProxy(port)
    servers.make_s3_bucket(port, "models")
    yield Place(name, "s3://models", proxy, servers.s3_environ(proxy.port))
    proxy.close()


@pytest.fixture(scope="session")
def fake_gcs():
    """fake-gcs-server: keeps preconditions, accepts wrong checksums."""
    with servers.fake_gcs() as port:
        yield from _gcs("fake-gcs", port)


@pytest.fixture(scope="session")
def gcs_emulator():
    """gcp-storage-emulator: checks checksums, accepts broken preconditions."""
    with servers.gcs_emulator() as port:
        yield from _gcs("gcs-emulator", port)


def _gcs(name, port):
    proxy = FaultyProxy(port)
    servers.make_gcs_bucket(port, "models")
    yield Place(name, "gs://models", proxy, servers.gcs_environ(proxy.port))
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
