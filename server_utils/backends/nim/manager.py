"""NVIDIA NIM: `NIMServerManager`. Driver; the launch it makes runs on executors.

A NIM is a container: an engine, with a model or for any model, behind NVIDIA's own front end. Three series are used
side by side, and their requests and metrics differ: `series` of an image is told by its tag.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from server_utils.backends.engine_options import CommandLine
from server_utils.backends.openai import STALL_S, Engine, OpenAIServerManager
from server_utils.backends.vllm.manager import DIALECT as VLLM_DIALECT
from server_utils.clusters.cluster import refusal
from server_utils.errors import ConfigurationError
from server_utils.host import platform
from server_utils.inference.openai.dialect import Dialect, SchemaField
from server_utils.node import containers
from server_utils.node.containers import ENGINES, series_of
from server_utils.servers.launch import literal
from server_utils.storage.urls import is_elsewhere
from server_utils.validation import one_deadline

PROGRAM = Path(__file__).with_name("program.py")
_MODULES = (Path(containers.__file__),)
_START_S = 1800.0  # with the pull of an image and the download of a model
_STOP_S = 10.0
_OUR_OPTIONS = {
    *("--network", "--net", "--publish", "-p", "--publish-all", "-P", "--pid", "--ipc"),
    *("--detach", "-d", "--entrypoint", "--name", "--interactive", "-i", "--rm"),
}
_OUR_VARIABLES = ("NIM_SERVER_PORT", "NIM_HTTP_API_PORT", "NIM_SERVED_MODEL_NAME")
_MODEL = "/model"  # where the model's folder is mounted
_DIED = frozenset({502})  # the front end lives on, and says so of what was in flight
# Not the batch path of chats: the front end may not pass it on.
DIALECT = replace(VLLM_DIALECT, chat_batch_path=None, metrics_path="/v1/metrics", worker_died=_DIED)
# Series 1 has an API of its own round several engines. Its counters move only when a request ends: no `steps`.
DIALECT_1 = Dialect(
    schema_field=SchemaField.NVEXT,
    rows_per_request=1,
    worker_died=_DIED,
    metrics_path="/v1/metrics",
    metrics={
        "running": "num_requests_running",
        "waiting": "num_requests_waiting",
        "kv_cache_usage": "gpu_cache_usage_perc",
        "tokens_in": "prompt_tokens_total",
        "tokens_out": "generation_tokens_total",
    },
)
DIALECTS = {1: DIALECT_1, 2: DIALECT, 3: DIALECT}


class NIMServerManager(OpenAIServerManager):
    """One NIM container per executor, or several, each published on loopback only.

    It needs Docker or podman on every node, and a GPU the NVIDIA Container Toolkit. Databricks has no container engine
    for executors. Production use needs a licence of NVIDIA AI Enterprise per GPU.

    Example:
        ::

            with NIMServerManager("llama", image="nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4") as servers:
                servers.start_servers(env={"NGC_API_KEY": key})
                df.withColumn("reply", servers.chat("messages", max_tokens=128))
    """

    engine_name = "NIM"
    needs_model = False
    program = PROGRAM
    dialect = DIALECT

    def __init__(
        self,
        model_name: str,
        model_path: str | Path | None = None,
        *,
        image: str,
        series: int | None = None,
        spark: Any = None,
    ) -> None:
        """As any manager.

        Args:
            model_name: the name of the servers, and of the model in them.
            model_path: for an image without a model of its own: a folder or a URL, as for any manager. The folder is
                mounted read-only, so the container needs neither key nor network for it.
            image: the container image, with its tag.
            series: 1, 2 or 3; by default the first number of the tag.
            spark: the session, by default the active one.

        Raises:
            ConfigurationError: the tag does not tell the series, or `model_path` is no folder and no URL.
        """
        super().__init__(model_name, model_path, spark=spark)
        if self.model_path is not None and not (is_elsewhere(self.model_path) or self.model_path.startswith("/")):
            raise ConfigurationError(
                f"model_path is mounted into the container, so it is a folder or a URL; it is {self.model_path!r}. For "
                f'a model of a hub say "hf://{self.model_path}", or leave it out and set NIM_MODEL_PATH by env'
            )
        self.image, self.series = image, _series(image, series)
        self.dialect = DIALECTS[self.series]  # type: ignore[misc]  # of this image

    def start_servers(
        self,
        *,
        replicas: int = 1,
        container_engine: str | None = None,
        container_options: Sequence[str] = (),
        command: Sequence[str] = (),
        shm_size: str = "16g",
        env: Mapping[str, str] | None = None,
        stall_timeout_s: float = STALL_S,
        timeout_s: float | None = None,
        profile: str | None = None,
        max_model_len: int | None = None,
        tensor_parallel_size: int | None = None,
        **options: Any,
    ) -> None:
        """Start the servers of every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            replicas: servers per executor; its GPUs are dealt out among them in equal shares.
            container_engine: "docker" or "podman"; by default the first of them that a host has.
            container_options: more options of its `run`, after ours, such as `["--user", "0"]`; none that would open
                the container to the network, or keep it after its executor.
            command: what the container runs, in place of the image's own command.
            shm_size: shared memory of the container, which engines need with several GPUs.
            env: variables of the container, such as `NGC_API_KEY` or `NIM_*`. They are passed by name,
                so no command line and no file of ours holds them; whoever may use the container engine can read them.
            stall_timeout_s: seconds without a step of the engine, while requests wait, after which it counts as hung;
                series 1 counts no steps.
            timeout_s: seconds until all are healthy, the pull of the image included; default 1800.
            profile: id of the image's profile; by default the image chooses one by the GPUs.
            max_model_len: tokens of a prompt and its answer.
            tensor_parallel_size: GPUs per model; by default the image's choice.
            options: of the image's engine, such as `gpu_memory_utilization=0.8`; not for series 1. Besides,
                `hang_timeout_s`, `stop_grace_s` and `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: the platform runs no containers, or an option is none; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """
        _check_platform()
        _check_ours(container_options, env or {})
        variables = {
            "NIM_SERVED_MODEL_NAME": self.model_name,
            "NIM_MODEL_PROFILE": profile,
            "NIM_MAX_MODEL_LEN": max_model_len,
            "NIM_TENSOR_PARALLEL_SIZE": tensor_parallel_size,
            "NIM_MODEL_PATH": _MODEL if self.model_path else None,
        }

        def make_engine(own: Mapping[str, Any]) -> Engine:
            values = variables | {"NIM_PASSTHROUGH_ARGS": self._passthrough(own)}
            ours = {name: literal(str(value)) for name, value in values.items() if value is not None}
            run = [*_container_words(self.model_path, {**ours, **(env or {})}), "--shm-size", literal(shm_size)]
            run += map(literal, container_options)
            words = (_engine(container_engine), literal(self.image), *run, "--", *map(literal, command))
            return Engine(words, ours, dict(env or {}), stall_timeout_s, health="/v1/health/ready", modules=_MODULES)

        deadline_s = _START_S if timeout_s is None else one_deadline(timeout_s, None, None)
        self._start_servers(make_engine, {"stop_grace_s": _STOP_S} | options, timeout_s=deadline_s, replicas=replicas)

    def _passthrough(self, options: Mapping[str, Any]) -> str | None:
        """The options of the image's engine as one text. Raises ConfigurationError for series 1, which takes none."""
        if options and self.series == 1:
            raise ConfigurationError(
                f"NIM of series 1 takes no options of its engine ({', '.join(options)}): use its variables, "
                "env={'NIM_…': …}, or a profile"
            )
        return shlex.join(CommandLine("NIM", "vllm serve", available=None).words(options.items())) or None


def _series(image: str, series: int | None) -> int:
    """The series of an image: the first number of its tag, unless it is given."""
    series = series_of(image) if series is None else series
    if series not in DIALECTS:
        reason = "its tag does not tell" if series is None else f"it is {series}"
        raise ConfigurationError(
            f"the series of a NIM must be 1, 2 or 3, and {reason} (image {image!r}): name an image with a tag such as "
            "1.8.4, or say series=2"
        )
    return series


def _engine(name: str | None) -> str:
    """The container engines that will do, the first that a host has. Raises ConfigurationError."""
    if name is not None and name not in ENGINES:
        raise ConfigurationError(f"container_engine must be {' or '.join(ENGINES)}; it is {name!r}")
    return name or ",".join(ENGINES)


def _container_words(model: str | None, variables: Mapping[str, str]) -> list[str]:
    """Options of `run`: the variables by name, their values are in the program's environment; and the model."""
    named = [word for name in variables for word in ("--env", literal(name))]
    return named + (["--mount", f"type=bind,source={{model}},target={_MODEL},readonly"] if model else [])


def _check_ours(options: Sequence[str], variables: Mapping[str, str]) -> None:
    """Refuse what would undo the port on loopback, or the end of the container with its executor."""
    for option in options:
        if option.partition("=")[0] in _OUR_OPTIONS or re.match(r"-[pP]\d", option):
            raise ConfigurationError(
                f"container_options cannot hold {option}: the container is published on loopback and ends with its "
                "executor, by options of ours; leave it out"
            )
    for name in _OUR_VARIABLES:
        if name in variables:
            raise ConfigurationError(f"env cannot hold {name}: the container's port and its model's name are ours")


def _check_platform() -> None:
    if platform.current() is platform.Platform.DATABRICKS and (reason := refusal("nim", "databricks")):
        raise ConfigurationError(reason)
