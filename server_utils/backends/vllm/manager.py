"""vLLM: `VLLMServerManager`, and the checks of a request's fields. Driver; the launch it makes runs on executors."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from server_utils.backends.base import MANAGER_OPTIONS, ServerManager
from server_utils.backends.payload import program_files
from server_utils.backends.vllm.command_line import PROGRAM, STALL_S, STOP_S, Engine, command_line
from server_utils.environments import builder
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.columns import text_column
from server_utils.inference.openai.request import Kind, OnError, Question
from server_utils.inference.openai.strict_json import plain
from server_utils.inference.openai.structured_output import answer_format
from server_utils.servers.launch import Launch
from server_utils.spark import session
from server_utils.validation import one_deadline

_ENVIRONMENTS = ("vllm", "vllm-latest")
_ARGUMENTS = ("on_error", "details", "timeout_s", "window")  # of the column functions
_OURS = {
    "model": "it is the manager's model_name",
    "prompt": "it is the column",
    "messages": "they are the column",
    "input": "it is the column",
    "stream": "answers come whole, one per row",
    "n": "a row has one answer",
    "echo": "join the two columns in Spark",
    "encoding_format": "vectors travel as bytes",
    "return_token_ids": "details=True counts tokens",
}
# vLLM 0.32: "CPU Generator does not use offset", once a prompt is read in several steps; under load any may be.
_DEADLY_ON_CPU = ("seed",)
# Fields of older releases, which the server ignores without a word.
_RENAMED = {
    "guided_json": "response_format={value}",
    "guided_choice": "structured_outputs={{'choice': {value}}}",
    "guided_regex": "structured_outputs={{'regex': {value}}}",
    "guided_grammar": "structured_outputs={{'grammar': {value}}}",
}


class VLLMServerManager(ServerManager):
    """One vLLM server per executor, or several, each with its OpenAI-compatible interface on loopback.

    Example:
        ::

            with VLLMServerManager("qwen", "/models/Qwen2.5-7B-Instruct") as servers:
                servers.start_servers(max_model_len=6600)
                df.withColumn("summary", servers.generate("prompt", max_tokens=128)).write.parquet("out")
    """

    environment: str = "vllm"
    key: str | None = None

    def __init__(
        self, model_name: str, model_path: str | Path | None = None, *, environment: str = "vllm", spark: Any = None
    ) -> None:
        """As any manager. environment: `vllm`, which every runtime's driver runs, or `vllm-latest` (driver 580)."""
        super().__init__(model_name, model_path, spark=spark)
        self.environment = builder.one_of(environment, _ENVIRONMENTS, engine="vLLM")

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
        ours = {"stop_grace_s": STOP_S} | {name: options.pop(name) for name in MANAGER_OPTIONS if name in options}
        words = command_line(self.model_name, options, environment=self.environment, stop_grace_s=ours["stop_grace_s"])
        self._engine = Engine(words, stall_timeout_s, dict(env or {}), require_key)
        self._start_engines(ours, one_deadline(timeout_s, wait_retries, wait_timeout), replicas)

    def _start_engines(self, ours: Mapping[str, Any], timeout_s: float, replicas: int) -> None:
        if self.model_path is None:
            raise ConfigurationError("vLLM needs a model; say VLLMServerManager(name, model_path)")
        if not isinstance(replicas, int) or replicas < 1:
            raise ConfigurationError(f"replicas must be a whole number, 1 or more; it is {replicas!r}")
        self._start(
            key=(replicas, self._engine, ours),
            files=program_files(PROGRAM),
            timeout_s=timeout_s,
            options=ours,
            replicas=replicas,
        )

    def generate(
        self, prompt: Any, *, max_tokens: int | None = 256, response_format: Any = None, **options: Any
    ) -> Any:
        """A column with the model's continuation of each prompt: `df.withColumn("a", servers.generate("prompt"))`.

        Args:
            prompt: name or column of text, sent as it is; `chat` puts the model's own template round it.
            max_tokens: of each answer; None leaves it to the engine, which stops after 16.
            response_format: a JSON schema, a pydantic model's class or a Spark type: the engine keeps every answer to
                it, and the column has its type; an answer that is not exactly a value of it is an error of its row.
            options: `on_error`, `details`, `timeout_s` and `window`, see below; any other is a field of the request as
                vLLM's OpenAI server takes it, such as `temperature=0` or `structured_outputs={"choice": [...]}`, made
                of what JSON can hold.

        Null gives null, without a request. Order is kept. With on_error="raise" (the default) the first row without
        an answer fails the job, named by its number in its partition; "null" leaves null in its place; "struct" gives
        struct<value, error> for every row. Rows in flight at two deaths of a server are asked one at a time and nothing
        else meanwhile: one that it dies of again has no answer. details=True gives a struct with finish_reason,
        prompt_tokens and completion_tokens beside the value. timeout_s: seconds for a request (default 600). window:
        rows in flight per task at most; by default as many as the server can use.
        """
        return self._column(Kind.GENERATE, prompt, response_format, {"max_tokens": max_tokens, **options})

    def chat(self, messages: Any, *, response_format: Any = None, **options: Any) -> Any:
        """A column with the model's reply to each conversation, by the chat template of the model's tokenizer.

        Args:
            messages: name or column of array<struct<role, content>>; a text is one message of the user. Content is
                text, or an array of parts such as struct<type, text, image_url: struct<url>>, where the null fields of
                a part are left out. Null for a content, a part or what a part shows gives null, without a request, but
                for an assistant's tool_calls. Messages in JSON are read first: by `from_json`, or by `parse_json`
                (Spark 4).
            response_format: as in `generate`.
            options: as in `generate`; without max_tokens an answer ends where the model ends it, or the context does.
        """
        return self._column(Kind.CHAT, messages, response_format, options)

    def embed(self, text: Any, **options: Any) -> Any:
        """A column with the vectors, array<float>, of a text column; needs `start_servers(runner="pooling")`.

        options: as in `generate`, but for what is about answers in words.
        """
        return self._column(Kind.EMBED, text, None, options)

    def _column(self, kind: Kind, column: Any, response_format: Any, options: Mapping[str, Any]) -> Any:
        question = self._question(kind, response_format, **options)
        return text_column(question, session.column(column))

    def _question(
        self,
        kind: Kind,
        response_format: Any = None,
        *,
        on_error: OnError = "raise",
        details: bool = False,
        timeout_s: float = 600.0,
        window: int | None = None,
        **fields: Any,
    ) -> Question:
        launch = self._running()
        offered = self.models[self.model_name]
        known = offered["fields"]
        said = plain_fields(fields)
        form = answer_format(response_format)
        check(said, known.get(kind.value), kind, device=offered["device"])
        return Question(
            launch,
            kind,
            self.model_name,
            said,
            form.schema,
            on_error,
            details,
            kind is not Kind.CHAT or (f"{kind.value}/batch" in known and not details),
            timeout_s,
            window,
            self.key,
            form.kind,
        )

    def _launch(self, **fields: Any) -> Launch:
        self.key = secrets.token_urlsafe(32) if self._engine.require_key else None
        return self._engine.launch(self.key, **fields)


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request in JSON's own types; what is None is not said.

    Raises:
        ConfigurationError: one holds what JSON cannot, such as a set or a column: it is the same for all rows.
    """
    return {name: plain(value, name) for name, value in fields.items() if value is not None}


def check(fields: Mapping[str, Any], known: Sequence[str] | None, kind: Kind, *, device: str | None = None) -> None:
    """Refuse what the server would refuse, ignore or die of.

    known: what the server says that a request may hold; None where it does not offer such requests.
    device: what it says that it runs on: "cpu" or "gpu".

    Raises:
        ConfigurationError: with the names that are near.
    """
    if known is None:
        wanted = {Kind.EMBED: 'start_servers(runner="pooling")'}.get(kind, 'start_servers(runner="generate")')
        raise ConfigurationError(f"these servers do not offer {kind.value}; start them with {wanted}")
    for name, value in fields.items():
        if name in _OURS:
            raise ConfigurationError(f"{name} cannot be chosen: {_OURS[name]}")
        if name in _DEADLY_ON_CPU and device == "cpu":
            raise ConfigurationError(
                f"{name} ends the engine of vLLM 0.32 on a CPU, and all requests with it, once a prompt is read in "
                "several steps; leave it out (temperature=0 needs none)"
            )
        if name in _RENAMED and name not in known:
            raise ConfigurationError(f"vLLM has no {name} any more; say {_RENAMED[name].format(value=repr(value))}")
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_ARGUMENTS], n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; it takes {', '.join(known)}"
            raise ConfigurationError(f"{kind.value} has no field {name!r}{hint}")
