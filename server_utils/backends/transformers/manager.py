"""`transformers serve`: the small server of Hugging Face's library. Driver; the launch it makes runs on executors.

The smallest backend, and the pattern for the next: a dialect, an environment, and a command.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from server_utils.backends.engine_options import CommandLine, listed_options
from server_utils.backends.openai import Engine, OpenAIServerManager
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.request import Endpoint
from server_utils.servers.launch import literal
from server_utils.validation import one_deadline

_COMMAND = ("{python}", "-m", "transformers.cli.transformers", "serve", "{model}", "--host", "127.0.0.1")
_OPTIONS = listed_options(
    values=(
        "attn_implementation",
        "chat_template_kwargs",
        "default_seed",
        "device",
        "dtype",
        "quantization",
        "reasoning",
    ),
    switches=("compile", "trust_remote_code"),
)
# What it heeds (5.24). It reads a dozen other fields of OpenAI's and ignores them; unknown ones it refuses row by row.
_FIELDS = ("frequency_penalty", "generation_config", "max_tokens", "stop", "temperature", "top_p")


class TransformersServerManager(OpenAIServerManager):
    """One `transformers serve` per executor: for models that no faster engine has, and for machines without a GPU.

    It answers one prompt per request, and one request at a time. It has no JSON schemas, no embeddings and no metrics.
    Without max_tokens it stops after 1024. A temperature above 0 has an effect for a model only whose own
    generation_config.json samples (`do_sample`).

    Example:
        ::

            with TransformersServerManager("smol", "/models/SmolLM2-135M-Instruct") as servers:
                servers.start_servers()
                df.withColumn("reply", servers.chat("question", max_tokens=64))
    """

    engine_name = "transformers serve"
    environment = "transformers"
    dialect = Dialect(
        schema_field=None,
        rows_per_request=1,
        sends_model=False,  # it knows its model by the path, which only the executor has
        fields={
            Endpoint.GENERATE.value: (*_FIELDS, "suffix"),
            Endpoint.CHAT.value: (*_FIELDS, "chat_template_kwargs", "logit_bias", "max_completion_tokens", "tools"),
        },
        first_limit=8,
    )

    def start_servers(
        self,
        *,
        replicas: int = 1,
        env: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> None:
        """Start the servers of every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            replicas: servers per executor; its GPUs are dealt out among them in equal shares.
            env: environment variables of the engine; written nowhere, so they may be secrets.
            timeout_s: seconds until all are healthy, model load included; default 600.
            options: of `transformers serve`, such as `dtype="float32"`. Besides, `hang_timeout_s`, `stop_grace_s` and
                `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: there is no such option; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """
        make_engine = functools.partial(serve, env=env)
        deadline_s = one_deadline(timeout_s, None, None)
        self._start_servers(make_engine, options, timeout_s=deadline_s, replicas=replicas)


def serve(options: Mapping[str, Any], *, env: Mapping[str, str] | None = None) -> Engine:
    """The command `transformers serve` with these options. env: the user's variables.

    Raises ConfigurationError for an option that it does not have.
    """
    words = CommandLine("transformers serve", "", _OPTIONS).words(options.items())
    return Engine((*_COMMAND, "--port", "{port:http}", *map(literal, words)), user_env=dict(env or {}))
