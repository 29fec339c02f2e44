"""Downloads of a node: its package index and proxy, which no log shows, and what a failure means. Nodes only.

Standard library only. The settings are variables of uv's and of most programs; pip gets them by its own names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from server_utils.host.redaction import scrub

_ADDRESSES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "HTTPS_PROXY")
# Ours alone: a bucket or a volume is reached without a proxy.
_PROXIES = ("HTTPS_PROXY", "NO_PROXY")
_NO_ROUTE = re.compile(
    "name resolution|name or service not known|failed to lookup address|dns error|network is unreachable|no route to"
    "|timed out|timeout|connection refused|newconnectionerror|connect error|connection broken|cannot connect to proxy",
    re.IGNORECASE,
)


def environ(given: Mapping[str, str]) -> dict[str, str]:
    """The variables that pip and uv need beside those that are given, for the index and the certificates chosen."""
    index = given.get("UV_DEFAULT_INDEX") or given.get("UV_INDEX_URL")
    chosen = {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index, "PIP_CERT": given.get("SSL_CERT_FILE")}
    return {name: value for name, value in chosen.items() if value}


def without_proxy(given: Mapping[str, str]) -> dict[str, str]:
    """The variables for a program that speaks to the platform."""
    return {name: value for name, value in given.items() if name not in _PROXIES}


def redacted(text: str) -> str:
    """A text for logs and messages without secrets. Addresses that were set become their names: each may hold one."""
    for name in _ADDRESSES:
        for secret in _forms(os.environ.get(name, "")):
            text = text.replace(secret, f"<{name}>")
    return scrub(text)


def _forms(address: str) -> list[str]:
    """An address, and how programs show it: without the password, or without the user."""
    parts = urlsplit(address)
    if not parts.hostname:
        return [address] if address else []
    place = parts.netloc.rpartition("@")[2]
    users = ("", f"{parts.username}:****@", "****@")
    shown = [parts._replace(netloc=f"{user}{place}").geturl() for user in users]
    return sorted({form.rstrip("/") for form in (address, *shown)}, key=len, reverse=True)


def explained(reason: str, output: str) -> str:
    """The reason of a download that failed; where the index cannot be reached, with what to do."""
    if not _NO_ROUTE.search(output):
        return reason
    ways = "NAT (or a proxy: HTTPS_PROXY, or an index that is within reach: UV_DEFAULT_INDEX)"
    return (
        f"no route to the package index: give the nodes {ways}, or a bundle with wheels (spark-sidecar wheelhouse "
        f"build). The installer said: {reason}"
    )
