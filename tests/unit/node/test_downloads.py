"""Downloads of a node: what pip and uv are told, what logs show, and what is made of a failure."""

from __future__ import annotations

import pytest

from server_utils.node import downloads

INDEX = "https://me:s3cret@index.example/token/simple/"


def test_pip_and_uv_get_the_index_and_the_certificates_by_their_own_names():
    found = downloads.environ({"UV_INDEX_URL": INDEX, "SSL_CERT_FILE": "/corp.pem"})
    assert found == {"UV_DEFAULT_INDEX": INDEX, "PIP_INDEX_URL": INDEX, "PIP_CERT": "/corp.pem"}
    assert (
        downloads.environ({"UV_DEFAULT_INDEX": "https://b", "UV_INDEX_URL": "https://a"})["PIP_INDEX_URL"]
        == "https://b"
    )
    assert downloads.environ({}) == {}


def test_the_platforms_own_programs_use_no_proxy():
    given = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "x", "PATH": "/bin"}
    assert downloads.without_proxy(given) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    "shown",
    [
        "https://me:s3cret@index.example/token/simple/uv/",
        "https://me:****@index.example/token/simple/uv/",
        "https://****@index.example/token/simple/uv/",
        "https://index.example/token/simple/uv/",
    ],
)
def test_an_address_that_was_set_is_shown_by_its_name(monkeypatch, shown):
    """It may have a secret in its path as well."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", INDEX)
    assert (
        downloads.redacted(f"error: Failed to fetch: `{shown}`") == "error: Failed to fetch: `<UV_DEFAULT_INDEX>/uv/`"
    )


def test_the_user_and_the_signature_of_any_other_address_are_not_shown_either():
    shown = downloads.redacted("see http://joe:pw@host:80/a, http://b/c@d and https://b/x?X-Amz-Signature=abc")
    assert shown == "see http://***@host:80/a, http://b/c@d and https://b/x?***"


@pytest.mark.parametrize(
    "output",
    [
        "Failed to establish a new connection: [Errno -3] Temporary failure in name resolution",
        "cause: dns error\ncause: failed to lookup address information: Name or service not known",
        "ConnectTimeoutError(<pip object>, 'Connection to index.example timed out. (connect timeout=15)')",
        "cause: tcp connect error: Network is unreachable (os error 101)",
        "ProxyError('Cannot connect to proxy.', NewConnectionError)",
        "after connection broken by 'OSError('Tunnel connection failed: 403 Forbidden')': /simple/uv/",
    ],
)
def test_an_index_out_of_reach_is_told_with_the_ways_to_one(output):
    found = downloads.explained("No matching distribution found", output)
    assert found.startswith("no route to the package index: give the nodes NAT ")
    assert "HTTPS_PROXY" in found
    assert "or a bundle with wheels (spark-sidecar wheelhouse build)" in found
    assert found.endswith("The installer said: No matching distribution found")


def test_any_other_failure_keeps_its_reason():
    assert downloads.explained("Hash mismatch for x", "error: Hash mismatch for x") == "Hash mismatch for x"
