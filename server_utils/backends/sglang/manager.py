"""SGLang: `SGLangServerManager`. Driver; the launch it makes runs on executors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server_utils.backends.engine_options import CommandLine, Options, engine_options
from server_utils.backends.openai import STALL_S, Engine, OpenAIServerManager
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.request import Endpoint
from server_utils.servers.launch import literal
from server_utils.validation import one_deadline

_COMMAND = ("{python}", "-m", "sglang.launch_server", "--model-path", "{model}", "--host", "127.0.0.1")
ENV = {
    "SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION": "0",  # else /health takes a second, and generates a token
    "SGLANG_TIMEOUT_KEEP_ALIVE": "120",  # the engine closes idle connections after 5 s
    "SGLANG_DISTRIBUTED_INIT_METHOD_OVERRIDE": "file://{scratch}/meet",  # else a port that is open on every interface
    "TORCHINDUCTOR_COMPILE_THREADS": "1",  # else processes that end when idle, as if the engine had died
    **dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), "lo"),  # else that of the host's name
}
_NO_KEY = (
    "SGLang takes a key only where others can read it, and writes it into its log; servers listen on loopback only"
)
_PLAIN_HTTP = "requests go over plain HTTP, on loopback only"
_TLS = ("ssl_keyfile", "ssl_certfile", "ssl_ca_certs", "ssl_keyfile_password", "enable_ssl_refresh")
_STALL_AT_LEAST_S = 60.0  # its gauge of what waits may be half a minute late (0.5.23)
OURS = {
    "host": "servers listen on loopback only",
    "port": "each server gets a port of its own; see host_to_http_url",
    "model": "it is the manager's model_path",
    "model_path": "it is the manager's",
    "served_model_name": "it is the manager's model_name",
    "enable_metrics": "the columns need them: they are always on",
    "config": "say its options here",
    "gpu_memory_utilization": "say mem_fraction_static: the share of the GPU's memory for weights and cache",
    **dict.fromkeys(("require_key", "api_key", "admin_api_key"), _NO_KEY),
    **dict.fromkeys(
        ("grpc_mode", "grpc_port", "smg_grpc_mode", "sidecar", "encoder_only", "use_ray", *_TLS), _PLAIN_HTTP
    ),
    **dict.fromkeys(("dp_size", "data_parallel_size"), "say replicas: servers that divide the GPUs of an executor"),
    **dict.fromkeys(("pp_size", "pipeline_parallel_size"), "say tensor_parallel_size: stages would count rows twice"),
    "enable_priority_scheduling": "its metrics count each row twice, and so would the columns",
    **dict.fromkeys(
        ("nnodes", "node_rank", "dist_init_addr", "nccl_init_addr"), "a server is on one executor, on its host"
    ),
}
START_FOR = {
    **dict.fromkeys((Endpoint.GENERATE, Endpoint.CHAT), "start_servers()"),
    Endpoint.EMBED: "start_servers(is_embedding=True)",
}
# What the managers of other engines call it, and what SGLang's users do.
_OTHER_NAMES = {"max_model_len": "context_length", "tp": "tp_size", "dp": "dp_size", "pp": "pp_size"}


class SGLangServerManager(OpenAIServerManager):
    """One SGLang server per executor, or several, for machines with NVIDIA GPUs and driver 580 or newer.

    Example:
        ::

            with SGLangServerManager("qwen", "/models/Qwen2.5-7B-Instruct") as servers:
                servers.start_servers(max_model_len=6600)
                df.withColumn("summary", servers.generate("prompt", max_tokens=128)).write.parquet("out")
    """

    engine_name = "SGLang"
    environment = "sglang"
    start_for = START_FOR
    dialect = Dialect(
        token_ids_field="return_token_ids",  # noqa: S106 - the name of a field
        metrics_path="/metrics",
        metrics={
            "running": "sglang:num_running_reqs",
            "waiting": "sglang:num_queue_reqs",
            "kv_cache_usage": "sglang:token_usage",
            "tokens_in": "sglang:prompt_tokens_total",
            "tokens_out": "sglang:generation_tokens_total",
            "steps": "sglang:realtime_tokens_total",
        },
    )

    def start_servers(
        self,
        *,
        replicas: int = 1,
        env: Mapping[str, str] | None = None,
        stall_timeout_s: float = STALL_S,
        timeout_s: float | None = None,
        **options: Any,
    ) -> None:
        """Start the servers of every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            replicas: servers per executor; its GPUs are dealt out among them in equal shares.
            env: environment variables of the engine, such as `SGLANG_*`; written nowhere, so they may be secrets.
            stall_timeout_s: seconds without a token of the engine, while requests wait, after which it counts as hung;
                60 or more. SGLang's own `watchdog_timeout` covers vectors, and the first prompt after a rest.
            timeout_s: seconds until all are healthy, model load included; default 600.
            options: of `python -m sglang.launch_server`, such as `context_length=6600` (or `max_model_len`) and
                `mem_fraction_static=0.8`, checked against its own parser. `tensor_parallel_size` is the number of GPUs
                of a server unless given. Besides, `hang_timeout_s`, `stop_grace_s` and `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: there is no such option, or an option is ours; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """
        if stall_timeout_s < _STALL_AT_LEAST_S:
            raise ConfigurationError(
                f"stall_timeout_s must be {_STALL_AT_LEAST_S:g} or more, as SGLang tells late what waits; "
                f"it is {stall_timeout_s:g}"
            )

        def make_engine(own: Mapping[str, Any]) -> Engine:
            words = command_line(self.model_name, own, engine_options("sglang", engine="SGLang"))
            return Engine(words, ENV, dict(env or {}), stall_timeout_s)

        deadline_s = one_deadline(timeout_s, None, None)
        self._start_servers(make_engine, options, timeout_s=deadline_s, replicas=replicas)

    def _check(self, endpoint: Endpoint, fields: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        """A server has all paths, and refuses every row of those that it was not started for."""
        embeds = "--is-embedding" in self._engine.words
        every = description.get("fields") or dict.fromkeys((each.value for each in Endpoint), ())
        offered = {path: names for path, names in every.items() if (path == Endpoint.EMBED.value) == embeds}
        super()._check(endpoint, fields, {**description, "fields": offered})


def command_line(name: str, options: Mapping[str, Any], available: Options | None) -> tuple[str, ...]:
    """The command of a server that serves its model by this name.

    available: the options of the engine, None where this machine has no engine that lists them.

    Raises ConfigurationError for an option that the engine does not have, or that is ours, and for a name with a colon.
    """
    if ":" in name:
        raise ConfigurationError(f"SGLang takes no model name with a colon; it is {name!r}")
    line = CommandLine("SGLang", "python -m sglang.launch_server", available, OURS)
    given = [literal(word) for word in line.words(_named(options))]
    gpus = () if {"--tp-size", "--tensor-parallel-size"} & set(given) else ("--tensor-parallel-size", "{gpus}")
    ours = ("--port", "{port:http}", "--served-model-name", literal(name), "--enable-metrics")
    return (*_COMMAND, *ours, *gpus, *given)


def _named(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The options by SGLang's own names. Raises ConfigurationError for one that is given twice."""
    named: dict[str, Any] = {}
    for given, value in options.items():
        plain = given.replace("-", "_")
        name = _OTHER_NAMES.get(plain, plain)
        if name in named:
            raise ConfigurationError(f"{given} is SGLang's {name}, which is given as well; say one of them")
        named[name] = value
    return list(named.items())
