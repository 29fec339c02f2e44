"""Keeps secrets out of messages. Driver and executors; imports nothing of ours."""

from __future__ import annotations

import os
import re

# Their values must not be told, whatever a client puts into its message.
_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET", "HF_TOKEN")
_SHAPES = re.compile(
    r"(?<=\?)[^\s'\"<>]+"  # the query of a URL: presigned ones carry a signature there
    r"|(?<=://)[^/\s@]+(?=@)"  # user and password of a URL
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bhf_\w{8,}|\bdapi\w{8,}|\bya29\.[\w.-]+"
    r"|(?i:(?<=bearer ))[\w.~+/=-]+"
)
_SHORTEST = 6  # a value as short as "test" would take ordinary words out of messages


def scrub(text: object) -> str:
    """A message of somebody else's without keys, tokens and signatures."""
    said = str(text)
    for value in (os.environ.get(name, "") for name in _VARIABLES):
        if len(value) >= _SHORTEST:
            said = said.replace(value, "***")
    return _SHAPES.sub("***", said)
