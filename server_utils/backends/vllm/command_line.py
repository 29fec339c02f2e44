"""vLLM's command line from keyword arguments, checked against the engine's own parser.

Driver; starts no server. The engine renames and drops options from release to release, so none is listed here but those
that were renamed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from server_utils.backends.engine_options import CommandLine, Options, engine_options, option_of
from server_utils.errors import ConfigurationError
from server_utils.servers.launch import literal

OURS = {
    "host": "servers listen on loopback only",
    "port": "each server gets a port of its own; see host_to_http_url",
    "model": "it is the manager's model_path",
    "served_model_name": "it is the manager's model_name",
    "api_key": "say require_key=True: each start makes a key of its own, which never stands in a command line",
    "uds": "servers listen on a loopback port",
    "headless": "requests go to the HTTP interface of a server",
    "grpc": "requests go over HTTP",
    **dict.fromkeys(
        ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "enable_ssl_refresh", "ssl_cert_reqs"),
        "requests go over plain HTTP, on loopback only",
    ),
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


def arguments(options: Mapping[str, Any], available: Options | None, ours: Mapping[str, str] = OURS) -> list[str]:
    """The words of the command line for keyword arguments, see `CommandLine`; older names are translated."""
    return CommandLine("vLLM", "vllm serve", available, ours).words(_translated(options, available))


def _translated(options: Mapping[str, Any], available: Options | None) -> Iterator[tuple[str, Any]]:
    for given, value in options.items():
        name = given.replace("-", "_")
        if available is not None and option_of(name) in available:
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


def command_line(
    name: str, options: Mapping[str, Any], *, environment: str = "vllm", stop_grace_s: float = STOP_S
) -> tuple[str, ...]:
    """The command line of an engine of a sealed environment, which serves its model by this name.

    Raises ConfigurationError for an option that the engine does not have, or that is ours.
    """
    available = engine_options(environment, engine="vLLM")
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
