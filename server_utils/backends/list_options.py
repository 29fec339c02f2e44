"""A script for the sealed environment of an engine: prints, as JSON, every option that the engine's own parser knows.

    python list_options.py ENVIRONMENT

For `dynamo` they are those of a worker, whose parser knows its own options and those of vLLM. Standard library and the
engine only. Importing an engine takes seconds, so who calls this keeps the answer.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

_VLLM_PARSER = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")  # 0.30 moved it
_VLLM_BASE = ("vllm.utils.argparse_utils", "vllm.utils")
_DYNAMO = {
    "dynamo.common.configuration.groups.runtime_args": "DynamoRuntimeArgGroup",
    "dynamo.vllm.backend_args": "DynamoVllmArgGroup",
}


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


def vllm_parser() -> argparse.ArgumentParser:
    """The parser of `vllm serve`."""
    parser: argparse.ArgumentParser = _first(_VLLM_PARSER).make_arg_parser(_first(_VLLM_BASE).FlexibleArgumentParser())
    return parser


def dynamo_parser() -> argparse.ArgumentParser:
    """Both parsers of `python -m dynamo.vllm` in one: an option of Dynamo's that the engine has too is Dynamo's."""
    parser: argparse.ArgumentParser = _first(_VLLM_BASE).FlexibleArgumentParser(conflict_handler="resolve")
    importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs.add_cli_args(parser)
    for module, group in _DYNAMO.items():
        getattr(importlib.import_module(module), group)().add_arguments(parser)
    return parser


def sglang_parser() -> argparse.ArgumentParser:
    """The parser of `python -m sglang.launch_server`."""
    parser = argparse.ArgumentParser()
    importlib.import_module("sglang.srt.server_args").ServerArgs.add_cli_args(parser)
    return parser


_PARSERS = {"dynamo": dynamo_parser, "sglang": sglang_parser, "vllm": vllm_parser, "vllm-latest": vllm_parser}


def main(environment: str) -> None:
    """Print one object per option."""
    if environment not in _PARSERS:
        raise SystemExit(f"list_options.py has no parser for {environment!r}, only for {', '.join(_PARSERS)}: add it")
    actions = _PARSERS[environment]()._actions  # noqa: SLF001 - argparse has no public list
    json.dump([describe(action) for action in actions if action.option_strings], sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
