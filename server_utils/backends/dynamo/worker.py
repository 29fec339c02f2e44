"""Runs one worker of Dynamo: `worker.py MODULE ARGUMENTS...` runs the module as `python -m` would.

Its import for pictures needs torchvision (1.6.1), which the package index has for CUDA only. Where it is missing, a
module without it takes its place: such a worker has no pictures, and serves text.
"""

from __future__ import annotations

import importlib.util
import runpy
import sys
import types
from typing import Any

_PICTURES = "transformers.models.qwen2_vl.image_processing_qwen2_vl"


def replace_pictures() -> None:
    """Have the worker's import of a picture's size succeed where torchvision is missing."""
    if importlib.util.find_spec("torchvision") is None:
        stub: Any = types.ModuleType(_PICTURES)
        stub.smart_resize = None
        sys.modules[_PICTURES] = stub


if __name__ == "__main__":  # engines start processes that import this file again
    replace_pictures()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
