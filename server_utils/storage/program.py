"""Fetches a model in a process of its own: `python -m server_utils.storage.program URL ANSWER`. Executors.

A supervisor starts it, so that a download can be watched, timed and ended like a server. What happens is logged on
standard error; ANSWER is a file that says {"path": …} or {"error": …} in the end.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from server_utils.errors import SidecarError
from server_utils.storage.load import local_model


def main(url: str, answer: str) -> None:
    """Fetch, and leave word. A fault of ours is not caught: its trace belongs into the log."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        said = {"path": str(local_model(url))}
    except SidecarError as error:
        said = {"error": str(error)}
    Path(answer).write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
