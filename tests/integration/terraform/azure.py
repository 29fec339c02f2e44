"""An Azure for one storage account: Azurite behind the names that Terraform's backend asks for, with TLS.

Terraform finds a cloud by its metadata host, and a storage account by a name below the cloud's suffix. No such name is
resolved here: a proxy, which HTTPS_PROXY names, takes each to a port of this host.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
from base64 import b64decode, b64encode
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlsplit

from integration.storage.servers import free_port
from server_utils.host.processes import wait_until

ACCOUNT, KEY = "myaccountterraform", b64encode(b"0" * 64).decode()
SUFFIX = "azurite.test"
METADATA = f"metadata.{SUFFIX}"
BLOBS = f"{ACCOUNT}.blob.{SUFFIX}"
_CLOUD = {
    "name": "Azurite",
    "resourceManager": f"https://management.{SUFFIX}/",
    "authentication": {
        "audiences": [f"https://management.{SUFFIX}/"],
        "identityProvider": "AAD",
        "loginEndpoint": f"https://login.{SUFFIX}/",
        "tenant": "common",
    },
    "microsoftGraphResourceId": f"https://graph.{SUFFIX}/",
    "suffixes": {"storage": SUFFIX},
}


@contextlib.contextmanager
def azurite(folder: Path):
    """Starts all of it; gives Terraform's variables. The account has no container yet: `make_container` makes one."""
    certificate, key = _certificate(folder)
    port = free_port()
    options = ["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence"]
    where = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--cert", certificate, "--key", key]
    environ = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    blobs = subprocess.Popen(["azurite-blob", *options, *where], cwd=folder, env=environ, stdout=subprocess.DEVNULL)
    metadata = _served(_Metadata)
    metadata.socket = _tls(certificate, key).wrap_socket(metadata.socket, server_side=True)
    proxy = _served(_Proxy)
    proxy.ports = {BLOBS: port, METADATA: metadata.server_address[1]}
    for each in (metadata, proxy):
        threading.Thread(target=each.serve_forever, daemon=True).start()
    try:
        assert wait_until(lambda: blobs.poll() is not None or _listens(port), 60, pause_s=0.05)
        assert blobs.poll() is None
        yield {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
            "SSL_CERT_FILE": str(certificate),
            "ARM_ACCESS_KEY": KEY,
            "ARM_METADATA_HOSTNAME": METADATA,
        }
    finally:
        blobs.kill()
        blobs.wait()
        for each in (metadata, proxy):
            each.shutdown()
            each.server_close()


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = ",".join(f"DNS:{each}" for each in (BLOBS, METADATA))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=azurite",
         "-addext", f"subjectAltName={names}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _served(handler: type) -> http.server.ThreadingHTTPServer:
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class _Metadata(http.server.BaseHTTPRequestHandler):
    """What Azure's management endpoint says of its cloud."""

    def do_GET(self):
        body = json.dumps(_CLOUD).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Connects a known name with its port here, and refuses every other."""

    def do_CONNECT(self):
        port = self.server.ports.get(self.path.partition(":")[0])
        if port is None:
            self.send_error(502)
            return
        with socket.create_connection(("127.0.0.1", port)) as there:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            back = threading.Thread(target=_copy, args=(there, self.connection), daemon=True)
            back.start()
            _copy(self.connection, there)
            back.join(30)

    def log_message(self, *_):
        pass


def make_container(variables: dict[str, str], name: str) -> None:
    """As an administrator does once, by Azure's protocol: a shared key signs the request."""
    date = formatdate(usegmt=True)
    text = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-12-02\n/{ACCOUNT}/{name}\nrestype:container"
    signed = b64encode(hmac.new(b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    proxy = urlsplit(variables["HTTPS_PROXY"])
    context = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
    connection = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context, timeout=30)
    connection.set_tunnel(BLOBS, 443)
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02", "Content-Length": "0",
               "Authorization": f"SharedKey {ACCOUNT}:{signed}"}  # fmt: skip
    connection.request("PUT", f"/{name}?restype=container", headers=headers)
    answer = connection.getresponse()
    assert answer.status == http.HTTPStatus.CREATED, answer.read()
    connection.close()


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)
