"""A mock engine of Dynamo with a process below it, as vLLM has its EngineCore: runs where the other workers run."""

from __future__ import annotations

import runpy
import subprocess
import sys

LIFE_S = 600

if __name__ == "__main__":
    subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LIFE_S})", "EngineCore"])
    runpy.run_module("dynamo.mocker", run_name="__main__", alter_sys=True)
