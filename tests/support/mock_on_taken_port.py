"""A mock engine of Dynamo whose status port a stranger takes before it can: runs where the other workers run.

It says which port it was told, and waits until a test has taken that port. A second start waits for nothing.
"""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path

FOLDER = "MOCK_FOLDER"
LIFE_S = 60

if __name__ == "__main__":
    wanted, taken = (Path(os.environ[FOLDER], name) for name in ("wanted", "taken"))
    if not wanted.exists():
        beside = wanted.with_suffix(".new")
        beside.write_text(os.environ["DYN_SYSTEM_PORT"])
        beside.replace(wanted)
    end = time.monotonic() + LIFE_S
    while not taken.exists() and time.monotonic() < end:
        time.sleep(0.05)
    runpy.run_module("dynamo.mocker", run_name="__main__", alter_sys=True)
