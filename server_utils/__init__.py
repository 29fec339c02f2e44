"""Inference servers as sidecars of Apache Spark executors. The public names; each is loaded on first use.

Loading late keeps the supervisor, which runs beside every server, small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server_utils.backends.triton import TritonServerManager
    from server_utils.backends.vllm import VLLMServerManager
    from server_utils.errors import (
        ConfigurationError,
        EnvironmentMissingError,
        InferenceError,
        OutputError,
        PlacementError,
        ServerStartError,
        ServerStopError,
        ServerUnavailableError,
        SidecarError,
    )
    from server_utils.layout import by_prefix
    from server_utils.manager import ServerManager

_HOME = {
    "by_prefix": "server_utils.layout",
    "ServerManager": "server_utils.manager",
    "TritonServerManager": "server_utils.backends.triton",
    "VLLMServerManager": "server_utils.backends.vllm",
}

__all__ = [
    "ConfigurationError",
    "EnvironmentMissingError",
    "InferenceError",
    "OutputError",
    "PlacementError",
    "ServerManager",
    "ServerStartError",
    "ServerStopError",
    "ServerUnavailableError",
    "SidecarError",
    "TritonServerManager",
    "VLLMServerManager",
    "by_prefix",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(import_module(_HOME.get(name, "server_utils.errors")), name)
