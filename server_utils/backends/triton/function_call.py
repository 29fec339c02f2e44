"""The arguments with which a server calls the user's function. Driver; calls nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from server_utils.errors import ConfigurationError

_WANTED = "f(ports) or f(ports, model_path)"
_PATH = "model_path"


@dataclass(frozen=True)
class Call:
    """Which of `ports` and `model_path` a function gets by position, in this order, and which by name."""

    by_position: tuple[str, ...]
    by_name: tuple[str, ...]


def call_of(function: Callable[..., Any], model_path: str | None) -> Call:
    """How to call a function. If the manager has no model_path, the function's own default is used.

    Raises ConfigurationError for a function that cannot be called so: on the driver, rather than on ten hosts.
    """
    if not callable(function):
        raise ConfigurationError(f"triton_server must be a function {_WANTED}; it is {function!r}")
    name = getattr(function, "__name__", repr(function))
    signature = _signature(function, name)
    call = _call(signature, model_path)
    try:
        signature.bind(*call.by_position, **dict.fromkeys(call.by_name))
    except TypeError as error:
        wanted = signature.parameters.get(_PATH)
        if model_path is None and wanted is not None and wanted.default is wanted.empty:
            raise ConfigurationError(
                f"{name} takes a model_path but the manager has none; say TritonServerManager(name, model_path)"
            ) from error
        raise ConfigurationError(
            f"triton_server must be callable as {_WANTED}; {name}{signature} is not: {error}"
        ) from error
    return call


def _signature(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError) as error:  # some of those written in C have none
        raise ConfigurationError(f"triton_server must be a function {_WANTED}; what {name} takes is unknown") from error


def _call(signature: inspect.Signature, model_path: str | None) -> Call:
    """Pass arguments by name where the function allows it, else by position."""
    parameters = list(signature.parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY]
    named = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    given = ("ports",) if model_path is None else ("ports", _PATH)
    if inspect.Parameter.VAR_POSITIONAL in kinds and not named and inspect.Parameter.VAR_KEYWORD not in kinds:
        return Call(given, ())
    takes = {"ports"} | (set(given) if inspect.Parameter.VAR_KEYWORD in kinds else named)
    by_position, others = given[: len(positional)], given[len(positional) :]
    return Call(by_position, tuple(each for each in others if each in takes))
