"""Our own words in the command line and the environment of a server, and the values that take their place. No Spark.

A backend writes `{model}` where only the executor knows the value. Text of the user's may hold the same characters: it
goes through `literal` first, and arrives as it was given. Imports nothing, and knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_BRACE = "{brace}"


def literal(text: str) -> str:
    """A text of the user's as part of a template: `fill` gives it back unchanged."""
    return text.replace("{", _BRACE)


def fill(template: str, values: Mapping[str, object]) -> str:
    """The template with a value in place of each word in braces that is among them; any other stays as it is.

    In one pass: a value that holds such a word, as a path may, is not filled in again.
    """
    known = {_BRACE: "{"} | {f"{{{word}}}": str(value) for word, value in values.items()}
    return re.sub("|".join(map(re.escape, known)), lambda found: known[found[0]], template)
