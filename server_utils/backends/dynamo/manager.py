"""NVIDIA Dynamo: one frontend and several workers per executor. Driver; the launch it makes runs on executors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from server_utils.backends.engine_options import engine_options
from server_utils.backends.openai import STALL_S, Engine, OpenAIServerManager
from server_utils.backends.vllm.command_line import OURS, arguments
from server_utils.backends.vllm.manager import DIALECT as VLLM_DIALECT
from server_utils.backends.vllm.manager import ENV, SETTINGS, START_FOR, refuse_deadly
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.dialect import Dialect, SchemaField
from server_utils.inference.openai.request import Endpoint
from server_utils.servers.launch import literal
from server_utils.validation import one_deadline

PROGRAM = Path(__file__).with_name("program.py")
_MODULES = (*(Path(__file__).with_name(f"{name}.py") for name in ("deployment", "worker")), SETTINGS)
_WORKER = "dynamo.vllm"
_STOP_S = 5.0
_EMBED_WINDOW = 256  # rows in flight per task: a worker for vectors does not say how many of them wait (1.6.1)
_ROUTERS = ("round-robin", "kv")
_ROLES = {"prefill", "decode"}
_OURS = {name: OURS[name] for name in ("model", "served_model_name", "host", "port", "api_key", "uds")} | {
    "disaggregation_mode": 'say disaggregated={"prefill": 1, "decode": 1}',
    "kv_events_config": 'router="kv" has workers publish what is in their caches',
    "kv_transfer_config": "disaggregated= sets it",
    **dict.fromkeys(("embedding_worker", "embedding_worker_processes"), 'for vectors say runner="pooling"'),
    "classify_worker": "there is no column for its answers",
    "headless": "the frontend sends requests only to workers that it knows",
    **dict.fromkeys(
        ("namespace", "endpoint", "discovery_backend", "request_plane", "response_plane", "event_plane"),
        "the processes of a server find one another on their host",
    ),
}
# Those of OpenAI's that vLLM heeds, and Dynamo's own (1.6.1); it refuses any other, but does not say which it takes.
_COMMON = (
    "frequency_penalty",
    "guided_choice",
    "guided_grammar",
    "guided_json",
    "guided_regex",
    "ignore_eos",
    "include_stop_str_in_output",
    "logit_bias",
    "max_tokens",
    "min_p",
    "min_tokens",
    "nvext",
    "presence_penalty",
    "repetition_penalty",
    "seed",
    "skip_special_tokens",
    "stop",
    "stop_token_ids",
    "temperature",
    "top_k",
    "top_p",
    "user",
)
_CHAT = (
    "chat_template_args",
    "chat_template_kwargs",
    "max_completion_tokens",
    "parallel_tool_calls",
    "reasoning_effort",
    "tool_choice",
    "tools",
)
DIALECT = Dialect(
    schema_field=SchemaField.GUIDED_JSON,  # response_format is for chats only
    fields={
        Endpoint.GENERATE.value: _COMMON,
        Endpoint.CHAT.value: (*_COMMON, *_CHAT),
        Endpoint.EMBED.value: ("add_special_tokens", "dimensions", "truncate_prompt_tokens", "user"),
    },
    worker_died=frozenset({503}),
    transient=frozenset({404}),  # while workers change: the model and its name are ours, and never wrong
    metrics=VLLM_DIALECT.metrics,
    metrics_path=VLLM_DIALECT.metrics_path,
)


class DynamoServerManager(OpenAIServerManager):
    """One Dynamo server per executor: a frontend, and vLLM workers behind it that share its rows.

    With several workers the router may send a prompt to the worker whose cache holds its beginning. With one GPU per
    executor `VLLMServerManager` does the same with one process less.

    Example:
        ::

            with DynamoServerManager("qwen", "/models/Qwen2.5-7B-Instruct") as servers:
                servers.start_servers(workers=2, router="kv", max_model_len=6600)
                df.withColumn("summary", servers.generate("prompt", max_tokens=128)).write.parquet("out")
    """

    engine_name = "Dynamo"
    environment = "dynamo"
    program = PROGRAM
    dialect = DIALECT
    start_for = START_FOR

    def start_servers(
        self,
        *,
        workers: int = 1,
        router: Literal["round-robin", "kv"] = "round-robin",
        migration_limit: int = 0,
        disaggregated: Mapping[str, int] | None = None,
        env: Mapping[str, str] | None = None,
        stall_timeout_s: float = STALL_S,
        timeout_s: float | None = None,
        **options: Any,
    ) -> None:
        """Start the servers of every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            workers: engines behind the frontend of each executor; its GPUs are dealt out among them in equal shares.
            router: `round-robin`, or `kv`: a prompt goes to the worker that has most of it in its cache.
            migration_limit: how often a request may go on at another worker when its own has died; that one is then
                replaced alone. With 0 all processes of the server start again, and its requests are repeated.
            disaggregated: workers for prompts and for answers in place of `workers`, such as {"prefill": 1,
                "decode": 1}. They hand over caches from GPU to GPU.
            env: environment variables of the engines, such as `VLLM_*`; written nowhere, so they may be secrets.
            stall_timeout_s: seconds without a step of any engine, while requests wait, after which the server counts
                as hung.
            timeout_s: seconds until all are healthy, model load included; default 600.
            options: of `python -m dynamo.vllm`, such as `max_model_len=6600`, checked against its own parser. With
                `runner="pooling"` the servers have `embed`, and neither `generate` nor `chat`.
                `tensor_parallel_size` is the number of GPUs of a worker unless given. Besides, `hang_timeout_s`,
                `stop_grace_s` and `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: there is no such option, or an option is ours; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """

        def make_engine(own: Mapping[str, Any]) -> Engine:
            worker = worker_options(self.model_name, own)
            pooling = ("--runner", "pooling") in pairwise(worker)
            if pooling and (router == "kv" or disaggregated is not None):
                raise ConfigurationError('servers for vectors keep no caches: leave router="kv" and disaggregated out')
            roles, frontend = _roles(workers, disaggregated), _frontend(router, migration_limit)
            made = engine(worker, roles=roles, frontend=frontend, events=router == "kv", pooling=pooling)
            return replace(made, user_env=dict(env or {}), stall_s=stall_timeout_s)

        deadline_s = one_deadline(timeout_s, None, None)
        self._start_servers(make_engine, {"stop_grace_s": _STOP_S} | options, timeout_s=deadline_s)

    def embed(self, text: Any, **options: Any) -> Any:
        """A column with the vectors, array<float>, of a text column; needs `start_servers(runner="pooling")`.

        options: as in `generate`, but for what is about answers in words. For a text that is too long
            the error gives no reason (1.6.1); with `truncate_prompt_tokens=-1` it is cut. window: 256 by default.
        """
        return super().embed(text, **({"window": _EMBED_WINDOW} | options))

    def _check(self, endpoint: Endpoint, fields: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        super()._check(endpoint, fields, description)
        refuse_deadly(fields, description["device"])


def engine(
    worker: tuple[str, ...],
    *,
    roles: Mapping[str, int],
    frontend: tuple[str, ...] = (),
    events: bool = False,
    pooling: bool = False,
    module: str = _WORKER,
) -> Engine:
    """A server of Dynamo.

    Args:
        worker: options of each worker.
        roles: how many workers of each kind, see `_roles`.
        frontend: options of the frontend.
        events: whether workers publish what is in their caches.
        pooling: whether they answer with vectors.
        module: what runs as a worker.
    """
    plan = {
        "module": module,
        "roles": dict(roles),
        "events": events,
        "pooling": pooling,
        "replaces": "--migration-limit" in frontend,
        "gpus": "{gpus}",
    }
    words = (*worker, "--embedding-worker") if pooling else worker
    return Engine((json.dumps(plan), *frontend, "--", *words), ENV, health="/live", modules=_MODULES)


def worker_options(name: str, options: Mapping[str, Any], *, environment: str = "dynamo") -> tuple[str, ...]:
    """The options of a worker that serves its model by this name. Raises ConfigurationError as `arguments` does."""
    given = map(literal, arguments(options, engine_options(environment, engine="Dynamo"), _OURS))
    return ("--model", "{model}", "--served-model-name", literal(name), *given)


def _roles(workers: int, disaggregated: Mapping[str, int] | None) -> dict[str, int]:
    """How many workers of each kind. Raises ConfigurationError for values that make no deployment."""
    roles = {"agg": workers} if disaggregated is None else dict(disaggregated)
    for role, count in roles.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            what = "workers" if role == "agg" else f"disaggregated[{role!r}]"
            raise ConfigurationError(f"{what} must be a whole number, 1 or more; it is {count!r}")
    if disaggregated is None:
        return roles
    if set(roles) != _ROLES:
        raise ConfigurationError(f'disaggregated must be {{"prefill": n, "decode": m}}; it is {disaggregated!r}')
    if workers != 1:
        raise ConfigurationError(f"workers is {workers}, and disaggregated says how many there are: give one of them")
    return roles


def _frontend(router: str, migration_limit: int) -> tuple[str, ...]:
    """The options of the frontend. Raises ConfigurationError for a value that it does not have."""
    if router not in _ROUTERS:
        raise ConfigurationError(f"router must be one of {', '.join(_ROUTERS)}; it is {router!r}")
    if not isinstance(migration_limit, int) or isinstance(migration_limit, bool) or migration_limit < 0:
        raise ConfigurationError(f"migration_limit must be a whole number, 0 or more; it is {migration_limit!r}")
    limit = ("--migration-limit", str(migration_limit)) if migration_limit else ()
    return ("--router-mode", router, *limit)
