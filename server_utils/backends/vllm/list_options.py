"""A script for the sealed environment `vllm`: prints, as JSON, every option that the engine's own parser knows.

Standard library and vLLM only. Importing vLLM takes seconds, so who calls this keeps the answer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

_PARSERS = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # 0.30 moved it
_FLEXIBLE = ("vllm.utils.argparse_utils", "vllm.utils")


def _first(names: tuple[str, ...]) -> Any:
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return importlib.import_module(names[-1])


def describe(action: argparse.Action) -> dict[str, Any]:
    """How values of an option are written: as a flag, once, or as several words."""
    return {
        "names": list(action.option_strings),
        "flag": action.nargs == 0,
        "many": action.nargs in ("+", "*"),
        "choices": [str(choice) for choice in action.choices] if action.choices else [],
    }


def main() -> None:
    """One object per option."""
    parser = _first(_PARSERS).make_arg_parser(_first(_FLEXIBLE).FlexibleArgumentParser())
    json.dump([describe(action) for action in parser._actions if action.option_strings], sys.stdout)  # noqa: SLF001 - argparse has no public list


if __name__ == "__main__":
    main()
