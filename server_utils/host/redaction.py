"""Which settings are secret, and how messages and logs lose keys, tokens and passwords. Standard library only.

The one place with these rules. Terraform has the patterns of names and addresses too, and a test compares them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

SECRET_NAME = re.compile(
    r"passw|passphrase|(secret|token|(api|access|private|secret|account|storage)[._-]?key)($|\.)"
    r"|azure\.sas\.|connection[._-]?string|jaas\.config",
    re.IGNORECASE,
)
# The user and password, or the token, of an address: https://user:password@host, https://token@host. The @ of
# abfss://container@account is none.
SECRET_ADDRESS = re.compile(r"://[^/?#\s:@]*:[^/?#\s@]+@|(?i:https?)://[^/?#\s@]+@")
_IN_TEXT = re.compile(
    r"(?<=\?)[^\s'\"<>]+"  # the query of a URL: presigned ones carry a signature there
    r"|(?<=://)[^/\s@]+(?=@)"  # user and password of a URL
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bhf_\w{8,}|\bnvapi-[\w-]{8,}|\bdapi\w{8,}|\bya29\.[\w.-]+"
    r"|(?i:(?<=bearer ))[\w.~+/=-]+"
)
_SHORTEST = 6  # a value as short as "test" would take ordinary words out of messages


def is_secret(name: str) -> bool:
    """Whether a setting or a variable of this name holds a secret."""
    return bool(SECRET_NAME.search(name))


def has_password(value: str) -> bool:
    """Whether a value has an address with a password or a token in it."""
    return bool(SECRET_ADDRESS.search(value))


def scrub(text: object, *, secrets: Iterable[str] = ()) -> str:
    """A message or a log without keys, tokens and signatures, nor the values of this process's secret variables.

    secrets: further values to leave out.
    """
    message = str(text)
    of_variables = (value for name, value in os.environ.items() if is_secret(name))
    for value in sorted({*secrets, *of_variables}, key=len, reverse=True):  # one may begin as a longer one does
        if len(value) >= _SHORTEST:
            message = message.replace(value, "***")
    return _IN_TEXT.sub("***", message)
