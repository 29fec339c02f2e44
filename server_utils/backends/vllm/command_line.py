"""vLLM's command line from keyword arguments, checked against the engine's own parser.

Driver; starts no server. The engine renames and drops options from release to release, so none is listed here but those
that were renamed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server_utils.environments import builder
from server_utils.errors import ConfigurationError, EnvironmentMissingError
from server_utils.host import platform
from server_utils.servers.launch import literal
from server_utils.validation import nearest

logger = logging.getLogger(__name__)
_SCRIPT = Path(__file__).with_name("list_options.py")
OURS = {
    "host": "servers listen on loopback only",
    "port": "each server gets a port of its own; see host_to_http_url",
    "model": "it is the manager's model_path",
    "served_model_name": "it is the manager's model_name",
    "api_key": "say require_key=True: each start makes a key of its own, which never stands in a command line",
    "uds": "servers listen on a loopback port",
    "headless": "a server without its HTTP interface cannot be asked",
    "grpc": "servers are asked over HTTP",
}
_TASKS: dict[str, dict[str, Any]] = {
    "auto": {},
    "generate": {"runner": "generate"},
    "embed": {"runner": "pooling", "convert": "embed"},
    "embedding": {"runner": "pooling", "convert": "embed"},
    "classify": {"runner": "pooling", "convert": "classify"},
    "score": {"runner": "pooling"},
    "reward": {"runner": "pooling"},
}
# Older name -> the newer option that takes the same value; None for one that means nothing any more.
_RENAMED: dict[str, str | None] = {
    "override_pooler_config": "pooler_config",
    "disable_log_requests": None,
    "swap_space": None,
    "num_scheduler_steps": None,
    "use_v2_block_manager": None,
    "device": None,
    "disable_frontend_multiprocessing": None,
}
STOP_S = 5.0


@dataclass(frozen=True)
class Option:
    """One option of the engine. flag: it takes no value. many: it takes several words."""

    names: tuple[str, ...]
    flag: bool
    many: bool
    choices: tuple[str, ...]


Options = Mapping[str, Option]


def engine_options(environment: str) -> Options | None:
    """The options of an environment's engine by name, as `--max-model-len`; None where this machine has none to ask.

    Raises:
        EnvironmentMissingError: the engine is there, but its parser does not answer.
    """
    try:
        python = builder.find(environment).python
    except (ConfigurationError, EnvironmentMissingError) as error:
        logger.warning("vLLM's options are checked when the servers start, not before: %s", error)
        return None
    options = _described(python, environment, _cache(python))
    return {name: option for option in options for name in option.names}


def _cache(python: Path) -> Path:
    """One file per environment as it is now: a rebuilt one is another folder."""
    built = python.parents[1].stat()
    identity = hashlib.sha256(f"{python} {built.st_ino} {built.st_mtime_ns}".encode()).hexdigest()[:16]
    return platform.home() / "cache" / f"vllm-options-{identity}.json"


@functools.lru_cache(maxsize=8)
def _described(python: Path, environment: str, cache: Path) -> tuple[Option, ...]:
    """The engine's options: from the file, else from its parser, which takes seconds.

    The home may be another user's, or read-only: this process remembers them as well.
    """
    try:
        return _read(cache.read_text())
    except (OSError, ValueError, KeyError, TypeError):  # not there, not to be read, or cut short by a full disk
        text = _ask(python, environment)
    _keep(cache, text)
    return _read(text)


def _read(text: str) -> tuple[Option, ...]:
    options = [Option(tuple(e["names"]), e["flag"], e["many"], tuple(e["choices"])) for e in json.loads(text)]
    if not options:
        raise ValueError("an engine without options is none")
    return tuple(options)


def _keep(cache: Path, text: str) -> None:
    beside = cache.with_name(f".{cache.name}.{os.getpid()}")
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(cache)
    except OSError as error:
        logger.info("vLLM's options are not kept for the next process: %s", error)
        with suppress(OSError):
            beside.unlink()


def _ask(python: Path, environment: str) -> str:
    asked = subprocess.run([python, "-I", _SCRIPT, environment], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise EnvironmentMissingError(
            f"vLLM in {python.parents[1]} does not start: {asked.stderr.strip()[-800:]}\n"
            f"Run `spark-sidecar env build {environment}`."
        )
    return asked.stdout[asked.stdout.index("[{") :]  # whatever it says first


def arguments(options: Mapping[str, Any], available: Options | None, ours: Mapping[str, str] = OURS) -> list[str]:
    """The words of the command line for keyword arguments; a None is left to the engine.

    True gives `--x`, False `--no-x`, a mapping JSON, a sequence several words.

    Raises:
        ConfigurationError: an option is ours, or the engine does not know it; with the names that are near.
    """
    words: list[str] = []
    for name, value in _translated(options, available):
        if name in ours:
            raise ConfigurationError(f"{name} cannot be chosen: {ours[name]}")
        if value is not None:
            words += _words(name, value, available)
    return words


def _translated(options: Mapping[str, Any], available: Options | None) -> Iterator[tuple[str, Any]]:
    for given, value in options.items():
        name = given.replace("-", "_")
        if available is not None and _option(name) in available:
            yield name, value
        else:
            yield from _newer(name, value)


def _newer(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What an option of an older vLLM is called today."""
    replaced: Mapping[str, Any] | None = None
    if name == "task":
        if value not in _TASKS:
            raise ConfigurationError(f"task must be one of {', '.join(_TASKS)}; it is {value!r}")
        replaced = _TASKS[value]
    elif name == "guided_decoding_backend":
        replaced = {"structured_outputs_config": {"backend": value}}
    elif name == "rope_scaling":
        replaced = {"hf_overrides": {"rope_scaling": value}}
    elif name in _RENAMED:
        newer = _RENAMED[name]
        replaced = {newer: value} if newer else {}
    if replaced is None:
        yield name, value
        return
    today = ", ".join(f"{key}={each!r}" for key, each in replaced.items()) or "nothing, it has no effect any more"
    warnings.warn(f"vLLM has no option {name!r} any more; {name}={value!r} became {today}", stacklevel=2)
    yield from replaced.items()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _words(name: str, value: Any, available: Options | None) -> list[str]:
    option = _option(name)
    if available is not None and option not in available:
        raise ConfigurationError(_unknown(name, available))
    if isinstance(value, bool):
        return [_switch(name, value, available)]
    if isinstance(value, Mapping):
        return [option, json.dumps(value)]
    if isinstance(value, Sequence) and not isinstance(value, str):
        if available is not None and available[option].many:
            return [option, *map(str, value)]
        return [word for each in value for word in (option, str(each))]
    _check_choice(name, str(value), available)
    return [option, str(value)]


def _switch(name: str, value: bool, available: Options | None) -> str:  # noqa: FBT001 - the value of the option
    option, negated = _option(name), f"--no-{name.replace('_', '-')}"
    if available is not None and not available[option].flag and negated not in available:
        raise ConfigurationError(f"{name} takes a value, not {value}; vLLM knows no {negated}")
    if value:
        return option
    if available is not None and negated not in available:
        raise ConfigurationError(f"{name}=False cannot be said: vLLM knows no {negated}; leave {name} out")
    return negated


def _check_choice(name: str, value: str, available: Options | None) -> None:
    choices = available[_option(name)].choices if available is not None else ()
    if choices and value not in choices:
        raise ConfigurationError(f"{name} must be one of {', '.join(choices)}; it is {value!r}")


def _unknown(name: str, available: Options) -> str:
    names = [each.removeprefix("--").replace("-", "_") for each in available if each.startswith("--")]
    near = nearest(name, names)
    hint = f"; did you mean {near}?" if near else "; `vllm serve --help` lists what it takes"
    return f"vLLM has no option {name!r}{hint}"


def command_line(
    name: str, options: Mapping[str, Any], *, environment: str = "vllm", stop_grace_s: float = STOP_S
) -> tuple[str, ...]:
    """The command line of an engine of a sealed environment, which serves its model by this name.

    Raises ConfigurationError for an option that the engine does not have, or that is ours.
    """
    available = engine_options(environment)
    given = [literal(word) for word in arguments(options, available)]
    ours: dict[str, str] = {
        "--model": "{model}",
        "--served-model-name": literal(name),
        "--host": "127.0.0.1",
        "--port": "{port:http}",
    }
    defaults = {"--tensor-parallel-size": "{gpus}", "--disable-uvicorn-access-log": None}
    # A stop with requests in flight hangs without a limit (0.24 to 0.32).
    defaults["--shutdown-timeout"] = str(max(int(stop_grace_s) - 1, 1))
    for option, value in defaults.items():
        if option not in given and (available is None or option in available):
            given += [option, value] if value else [option]
    return (*(word for pair in ours.items() for word in pair), *given)
