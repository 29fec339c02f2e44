"""What all engines with an OpenAI-compatible server share: the columns, their checks, and the launch. Driver.

An engine's manager says its `dialect`, its `environment` and its command; `OpenAIServerManager` does the rest.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from server_utils.backends.payload import program_files
from server_utils.backends.server_manager import MANAGER_OPTIONS, ServerManager
from server_utils.errors import ConfigurationError
from server_utils.inference.openai.columns import text_column
from server_utils.inference.openai.dialect import Dialect
from server_utils.inference.openai.request import CompletionRequest, Endpoint
from server_utils.inference.openai.strict_json import plain
from server_utils.inference.openai.structured_output import answer_format
from server_utils.inference.row_errors import OnError
from server_utils.servers.launch import Launch, literal
from server_utils.spark import session
from server_utils.storage.urls import is_elsewhere
from server_utils.validation import did_you_mean

STALL_S = 300.0
PROGRAM = Path(__file__).with_name("openai_program.py")
_ARGUMENTS = ("on_error", "details", "timeout_s", "window")  # of the column functions
_RESERVED_FIELDS = {
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


@dataclass(frozen=True)
class Engine:
    """What to start, checked; equal for two that are run alike.

    Attributes:
        words: what the program gets after its own three arguments: by default the command of the engine. What only the
            executor knows is filled in there, see `Launch`.
        env: the engine's variables as the backend sets them.
        user_env: the user's; they win, and may be secrets.
        stall_s: seconds without a step, while requests wait, after which the engine counts as hung.
        key_variable: the environment variable by which the engine is told its API key; None where it takes none.
        require_key: whether each start has a key that requests need.
        health: path that answers 200 once the model takes requests.
        preferred_port: the port of the server where it is free; None for any.
        modules: files of the backend that its program imports.
    """

    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    user_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    stall_s: float = STALL_S
    key_variable: str | None = None
    require_key: bool = False
    health: str = "/health"
    preferred_port: int | None = None
    modules: tuple[Path, ...] = ()

    def launch(self, key: str | None, *, model: str | None, **fields: Any) -> Launch:
        """What to run. key: what requests must have, None for none. fields: the rest of the launch."""
        is_local = model is not None and (Path(model).exists() or is_elsewhere(model))
        own = {variable: literal(str(value)) for variable, value in self.user_env.items()}
        secret = {self.key_variable: key} if key and self.key_variable else {}
        program = ("{python}", "{folder}/program.py", "{folder}/ready.json", "{port:http}", f"{self.stall_s:g}")
        return Launch(
            argv=(*program, *self.words),
            ports=("http",),
            preferred_ports={"http": self.preferred_port} if self.preferred_port else {},
            health=self.health,
            env={"HF_HUB_OFFLINE": "1" if is_local else "0"} | dict(self.env) | secret | own,
            model=model,
            has_readiness_file=True,
            **fields,
        )

    def files(self, model_name: str, dialect: Dialect, program: Path = PROGRAM) -> dict[str, bytes]:
        """The program and what it reads. program: the backend's own, which calls `openai_program.run`."""
        settings = {
            "model": model_name,
            "health": self.health,
            "metrics": dict(dialect.metrics),
            "metrics_path": dialect.metrics_path,
            "key_variable": self.key_variable,
        }
        modules = () if program == PROGRAM else (PROGRAM, *self.modules)
        return program_files(program, *modules) | {"engine.json": json.dumps(settings).encode()}


class OpenAIServerManager(ServerManager):
    """One server per executor, or several, each with an OpenAI-compatible interface on loopback.

    The base of the engines' managers; it is not used by itself.
    """

    engine_name: ClassVar[str]
    needs_model: ClassVar[bool] = True
    program: ClassVar[Path] = PROGRAM
    dialect: ClassVar[Dialect] = Dialect()
    start_for: ClassVar[Mapping[Endpoint, str]] = {}  # how servers are started that offer an endpoint
    key: str | None = None
    _engine: Engine

    def generate(
        self, prompt: Any, *, max_tokens: int | None = 256, response_format: Any = None, **options: Any
    ) -> Any:
        """A column with the model's continuation of each prompt: `df.withColumn("a", servers.generate("prompt"))`.

        Args:
            prompt: name or column of text, sent as it is; `chat` puts the model's own template round it.
            max_tokens: of each answer; None leaves it to the engine: vLLM stops after 16 tokens, `transformers serve`
                after 1024.
            response_format: a JSON schema, a pydantic model's class or a Spark type: the engine keeps every answer to
                it, and the column has its type; an answer that is not exactly a value of it is an error of its row.
            options: `on_error`, `details`, `timeout_s` and `window`, see below; any other is a field of the request as
                the engine's server takes it, such as `temperature=0` or, for vLLM,
                `structured_outputs={"choice": [...]}`, made of what JSON can hold.

        Null gives null, without a request. Order is kept. With on_error="raise" (the default) the first row without
        an answer fails the job, named by its number in its partition; "null" leaves null in its place; "struct" gives
        struct<value, error> for every row. If requests in flight crash a server twice, their rows are retried one by
        one; the row that crashes it again becomes an error. details=True gives a struct with finish_reason,
        prompt_tokens and completion_tokens beside the value. timeout_s: seconds for a request (default 600). window:
        rows in flight per task at most; by default as many as the server can use.
        """
        return self._column(Endpoint.GENERATE, prompt, response_format, {"max_tokens": max_tokens, **options})

    def chat(self, messages: Any, *, response_format: Any = None, **options: Any) -> Any:
        """A column with the model's reply to each conversation, by the chat template of the model's tokenizer.

        Args:
            messages: name or column of array<struct<role, content>>; a text is one message of the user. Content is
                text, or an array of parts such as struct<type, text, image_url: struct<url>>, where the null fields of
                a part are left out. Null for a content, a part or what a part shows gives null, without a request, but
                for an assistant's tool_calls. Messages in JSON are read first: by `from_json`, or by `parse_json`
                (Spark 4).
            response_format: as in `generate`.
            options: as in `generate`; without max_tokens an answer ends where the model ends it, or the context does
                (`transformers serve`: after 1024).
        """
        return self._column(Endpoint.CHAT, messages, response_format, options)

    def embed(self, text: Any, **options: Any) -> Any:
        """A column with the vectors, array<float>, of a text column; needs servers that are started for it.

        For vLLM that is `start_servers(runner="pooling")`.

        options: as in `generate`, but for what is about answers in words.
        """
        return self._column(Endpoint.EMBED, text, None, options)

    def _column(self, endpoint: Endpoint, column: Any, response_format: Any, options: Mapping[str, Any]) -> Any:
        return text_column(self._request(endpoint, response_format, **options), session.column(column))

    def _request(
        self,
        endpoint: Endpoint,
        response_format: Any = None,
        *,
        on_error: OnError = "raise",
        details: bool = False,
        timeout_s: float = 600.0,
        window: int | None = None,
        **fields: Any,
    ) -> CompletionRequest:
        launch = self._running()
        description = self.models[self.model_name]
        given = plain_fields(fields)
        answer = answer_format(response_format)
        self._check(endpoint, given, description)
        return CompletionRequest(
            launch,
            endpoint,
            self.model_name,
            given,
            answer.schema,
            on_error,
            details,
            timeout_s,
            window,
            self.key,
            answer.kind,
            offered(self.dialect, description.get("fields")),
        )

    def _check(self, endpoint: Endpoint, fields: Mapping[str, Any], description: Mapping[str, Any]) -> None:
        """Refuse fields that the server refuses or ignores, or that crash it. description: its own of the model."""
        accepted = description.get("fields")
        if accepted is not None:
            accepted = {path: names or self.dialect.fields.get(path, ()) for path, names in accepted.items()}
        check_fields(endpoint, fields, accepted, how=self.start_for)

    def _start_servers(
        self,
        make_engine: Callable[[Mapping[str, Any]], Engine],
        options: Mapping[str, Any],
        *,
        timeout_s: float,
        replicas: int = 1,
    ) -> None:
        """Start the servers of the engine that `make_engine` makes of its own options.

        options: all that the user gave. The manager takes those of `MANAGER_OPTIONS`, the engine gets the others.

        Raises:
            ConfigurationError: an option is unknown or wrong; nothing was started.
        """
        ours = {name: value for name, value in options.items() if name in MANAGER_OPTIONS}
        engine = make_engine({name: value for name, value in options.items() if name not in ours})
        self._start_engine(engine, timeout_s=timeout_s, options=ours, replicas=replicas)

    def _start_engine(self, engine: Engine, *, timeout_s: float, options: Mapping[str, Any], replicas: int = 1) -> None:
        """Start the servers. options: of `MANAGER_OPTIONS`. Raises ConfigurationError for what cannot be started."""
        if self.model_path is None and self.needs_model:
            raise ConfigurationError(f"{self.engine_name} needs a model; say {type(self).__name__}(name, model_path)")
        if not isinstance(replicas, int) or replicas < 1:
            raise ConfigurationError(f"replicas must be a whole number, 1 or more; it is {replicas!r}")
        if engine.require_key and engine.key_variable is None:
            raise ConfigurationError(f"{self.engine_name} takes no key; leave require_key out")
        self._engine = engine
        self._start(
            key=(replicas, engine, options),
            files=engine.files(self.model_name, self.dialect, self.program),
            timeout_s=timeout_s,
            options=options,
            replicas=replicas,
        )

    def _launch(self, **fields: Any) -> Launch:
        self.key = secrets.token_urlsafe(32) if self._engine.require_key else None
        return self._engine.launch(self.key, **fields)


def plain_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a request in JSON's own types; what is None is left out.

    Raises:
        ConfigurationError: one holds what JSON cannot, such as a set or a column: it is the same for all rows.
    """
    return {name: plain(value, name) for name, value in fields.items() if value is not None}


def offered(dialect: Dialect, fields: Mapping[str, Any] | None) -> Dialect:
    """The dialect of a server that offers these endpoints: an older release may lack the batch path of chats."""
    batch = dialect.chat_batch_path
    return replace(dialect, chat_batch_path=None) if batch and fields is not None and batch not in fields else dialect


def check_fields(
    endpoint: Endpoint,
    fields: Mapping[str, Any],
    accepted: Mapping[str, Collection[str]] | None,
    *,
    how: Mapping[Endpoint, str] | None = None,
) -> None:
    """Refuse fields that the server does not take.

    accepted: path -> the fields that the server says it takes, none where it does not say; None where it says nothing.
    how: endpoint -> how servers are started that offer it.

    Raises:
        ConfigurationError: with the names that are near.
    """
    if accepted is not None and endpoint.value not in accepted:
        start = (how or {}).get(endpoint)
        raise ConfigurationError(
            f"these servers do not offer {endpoint.value}" + (f"; start them with {start}" if start else "")
        )
    names = accepted[endpoint.value] if accepted is not None else ()
    for name in fields:
        if name in _RESERVED_FIELDS:
            raise ConfigurationError(f"{name} cannot be chosen: {_RESERVED_FIELDS[name]}")
        if names and name not in names:
            hint = did_you_mean(name, [*names, *_ARGUMENTS], otherwise=f"it takes {', '.join(names)}")
            raise ConfigurationError(f"{endpoint.value} has no field {name!r}{hint}")
