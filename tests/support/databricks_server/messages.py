"""A request as handlers see it, and an answer that is more than JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from support.databricks_server.refusals import invalid


@dataclass(frozen=True)
class Request:
    """query: key -> list of strings. parts: values of the path. base: the address that the client reached."""

    verb: str
    path: str
    query: dict
    parts: dict
    body: dict
    raw: bytes
    user: object
    headers: dict
    base: str

    def option(self, name, default=None):
        """One value of the query."""
        return self.query.get(name, [default])[0]


@dataclass(frozen=True)
class Answer:
    """Bytes with a status and headers of their own."""

    body: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)


def page(items, *, token, size):
    """(items of this page, token of the next page or None). A made-up token is refused."""
    try:
        start = json.loads(base64.b64decode(token)) if token else 0
    except ValueError as error:
        raise invalid(f"Invalid page token {token!r}") from error
    after = start + size
    return items[start:after], base64.b64encode(json.dumps(after).encode()).decode() if after < len(items) else None
