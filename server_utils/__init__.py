"""Inference servers as sidecars of Apache Spark executors. The public names; each is loaded on first use.

Loading late keeps the supervisor, which runs beside every server, small.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server_utils.backends.dynamo.manager import DynamoServerManager
    from server_utils.backends.nim.manager import NIMServerManager
    from server_utils.backends.server_manager import ServerManager
    from server_utils.backends.sglang.manager import SGLangServerManager
    from server_utils.backends.transformers.manager import TransformersServerManager
    from server_utils.backends.triton.manager import TritonServerManager
    from server_utils.backends.vllm.manager import VLLMServerManager
    from server_utils.environments.builder import add_to_path
    from server_utils.errors import (
        ConfigurationError,
        DeploymentError,
        EnvironmentMissingError,
        InferenceError,
        ModelCorruptError,
        ModelExistsError,
        ModelNotFoundError,
        OutputError,
        PlacementError,
        ServerStartError,
        ServerStopError,
        ServerUnavailableError,
        SidecarError,
        StorageError,
    )
    from server_utils.notebooks.session import open_notebook
    from server_utils.spark.partitioning import by_prefix
    from server_utils.storage.load import local_model
    from server_utils.storage.locations import data_url, model_url
    from server_utils.storage.save import save_model

_HOME = {
    "DynamoServerManager": "server_utils.backends.dynamo.manager",
    "add_to_path": "server_utils.environments.builder",
    "by_prefix": "server_utils.spark.partitioning",
    "NIMServerManager": "server_utils.backends.nim.manager",
    "SGLangServerManager": "server_utils.backends.sglang.manager",
    "ServerManager": "server_utils.backends.server_manager",
    "TransformersServerManager": "server_utils.backends.transformers.manager",
    "TritonServerManager": "server_utils.backends.triton.manager",
    "VLLMServerManager": "server_utils.backends.vllm.manager",
    "data_url": "server_utils.storage.locations",
    "local_model": "server_utils.storage.load",
    "model_url": "server_utils.storage.locations",
    "open_notebook": "server_utils.notebooks.session",
    "save_model": "server_utils.storage.save",
}

__all__ = [
    "ConfigurationError",
    "DeploymentError",
    "DynamoServerManager",
    "EnvironmentMissingError",
    "InferenceError",
    "ModelCorruptError",
    "ModelExistsError",
    "ModelNotFoundError",
    "NIMServerManager",
    "OutputError",
    "PlacementError",
    "SGLangServerManager",
    "ServerManager",
    "ServerStartError",
    "ServerStopError",
    "ServerUnavailableError",
    "SidecarError",
    "StorageError",
    "TransformersServerManager",
    "TritonServerManager",
    "VLLMServerManager",
    "add_to_path",
    "by_prefix",
    "data_url",
    "local_model",
    "model_url",
    "open_notebook",
    "save_model",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it exports {', '.join(__all__)}")
    return getattr(import_module(_HOME.get(name, "server_utils.errors")), name)
