"""vLLM: `VLLMServerManager`, and the checks of a request's fields. Driver; the launch it makes runs on executors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from server_utils.backends.openai import STALL_S, Engine, OpenAIServerManager, check_fields
from server_utils.backends.vllm.command_line import STOP_S, command_line
from server_utils.environments import builder
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.dialect import Dialect, SchemaField
from server_utils.inference.openai.request import Endpoint
from server_utils.validation import one_deadline

_PORT = 7000  # a published notebook has it in its code; a second server of a host gets another
PROGRAM, SETTINGS = (Path(__file__).with_name(name) for name in ("program.py", "engine_settings.py"))
ENV = {
    "VLLM_HTTP_TIMEOUT_KEEP_ALIVE": "120",  # the engine closes idle connections after 5 s
    "VLLM_NO_USAGE_STATS": "1",
    **dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), "lo"),  # else that of the host's name
}
_ENVIRONMENTS = ("vllm", "vllm-latest")
START_FOR = {
    Endpoint.GENERATE: 'start_servers(runner="generate")',
    Endpoint.CHAT: 'start_servers(runner="generate")',
    Endpoint.EMBED: 'start_servers(runner="pooling")',
}
DIALECT = Dialect(
    schema_field=SchemaField.STRUCTURED_OUTPUTS,  # vLLM's own; it holds for both endpoints
    chat_batch_path="/v1/chat/completions/batch",
    token_ids_field="return_token_ids",  # noqa: S106 - the name of a field
    metrics_path="/metrics",
    metrics={
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "kv_cache_usage": "vllm:kv_cache_usage_perc",
        "tokens_in": "vllm:prompt_tokens_total",
        "tokens_out": "vllm:generation_tokens_total",
        "prefix_queries": "vllm:prefix_cache_queries_total",
        "prefix_hits": "vllm:prefix_cache_hits_total",
        "preemptions": "vllm:num_preemptions_total",
        "steps": "vllm:iteration_tokens_total_count",
    },
)
# vLLM 0.32: "CPU Generator does not use offset", once a prompt is read in several steps; under load any may be.
_DEADLY_ON_CPU = ("seed",)
# Fields of older releases, which the server ignores without a word.
_RENAMED = {
    "guided_json": "response_format={value}",
    "guided_choice": "structured_outputs={{'choice': {value}}}",
    "guided_regex": "structured_outputs={{'regex': {value}}}",
    "guided_grammar": "structured_outputs={{'grammar': {value}}}",
}


class VLLMServerManager(OpenAIServerManager):
    """One vLLM server per executor, or several, each with its OpenAI-compatible interface on loopback.

    Example:
        ::

            with VLLMServerManager("qwen", "/models/Qwen2.5-7B-Instruct") as servers:
                servers.start_servers(max_model_len=6600)
                df.withColumn("summary", servers.generate("prompt", max_tokens=128)).write.parquet("out")
    """

    engine_name = "vLLM"
    environment = "vllm"
    program = PROGRAM
    dialect = DIALECT
    start_for = START_FOR

    def __init__(
        self, model_name: str, model_path: str | Path | None = None, *, environment: str = "vllm", spark: Any = None
    ) -> None:
        """As any manager. environment: `vllm`, which every runtime's driver runs, or `vllm-latest` (driver 580)."""
        super().__init__(model_name, model_path, spark=spark)
        self.environment = builder.choose(environment, _ENVIRONMENTS, engine="vLLM")

    def start_servers(
        self,
        *,
        replicas: int = 1,
        require_key: bool = False,
        env: Mapping[str, str] | None = None,
        stall_timeout_s: float = STALL_S,
        timeout_s: float | None = None,
        wait_retries: int | None = None,
        wait_timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Start the servers of every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            replicas: servers per executor; its GPUs are dealt out among them in equal shares.
            require_key: whether requests on /v1 need a key of this start: `key`, which the column functions have.
            env: environment variables of the engine, such as `VLLM_*`; written nowhere, so they may be secrets.
            stall_timeout_s: seconds without a step of the engine, while requests wait, after which it counts as hung.
            timeout_s: seconds until all are healthy, model load included; default 600.
            wait_retries: with wait_timeout the older way to say the same: their product.
            wait_timeout: see wait_retries.
            options: any option of `vllm serve`, such as `max_model_len=6600`, checked against the engine's own parser:
                True and False become `--x` and `--no-x`, mappings JSON. `tensor_parallel_size` is the number of GPUs
                of a server unless given. Besides, `hang_timeout_s`, `stop_grace_s` and `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: the engine has no such option, or an option is ours; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """
        given = {"stop_grace_s": STOP_S} | options
        grace_s = given["stop_grace_s"]

        def make_engine(own: Mapping[str, Any]) -> Engine:
            words = command_line(self.model_name, own, environment=self.environment, stop_grace_s=grace_s)
            return engine(words, stall_s=stall_timeout_s, env=env, require_key=require_key)

        deadline_s = one_deadline(timeout_s, wait_retries, wait_timeout)
        self._start_servers(make_engine, given, timeout_s=deadline_s, replicas=replicas)

    def _check(self, endpoint: Endpoint, fields: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        check(endpoint, fields, description["fields"], device=description["device"])


def engine(
    words: tuple[str, ...],
    *,
    stall_s: float = STALL_S,
    env: Mapping[str, str] | None = None,
    require_key: bool = False,
) -> Engine:
    """An engine of vLLM with this command line, see `command_line`. env: the user's variables."""
    return Engine(
        words, ENV, dict(env or {}), stall_s, "VLLM_API_KEY", require_key, preferred_port=_PORT, modules=(SETTINGS,)
    )


def check(
    endpoint: Endpoint,
    fields: Mapping[str, Any],
    known: Mapping[str, Collection[str]] | None,
    *,
    device: str | None = None,
) -> None:
    """Refuse fields that the server would refuse or ignore, or that would crash it.

    known: path -> the fields that the server says it takes; None where it says nothing.
    device: what it says that it runs on: "cpu" or "gpu".

    Raises:
        ConfigurationError: with the names that are near.
    """
    refuse_deadly(fields, device)
    for name, value in fields.items():
        if name in _RENAMED and name not in (known or {}).get(endpoint.value, (name,)):
            raise ConfigurationError(f"vLLM has no {name} any more; say {_RENAMED[name].format(value=repr(value))}")
    check_fields(endpoint, fields, known, how=START_FOR)


def refuse_deadly(fields: Mapping[str, Any], device: str | None) -> None:
    """Refuse fields that end the engine on a CPU. Raises ConfigurationError."""
    for name in _DEADLY_ON_CPU:
        if name in fields and device == "cpu":
            raise ConfigurationError(
                f"{name} ends the engine of vLLM 0.32 on a CPU, and all requests with it, once a prompt is read in "
                "several steps; leave it out (temperature=0 needs none)"
            )
