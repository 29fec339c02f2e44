"""Triton Inference Server through PyTriton: `TritonServerManager`. Driver; the launch it makes runs on executors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from server_utils.backends.payload import by_reference, by_value, imported_modules, program_files
from server_utils.backends.server_manager import ServerManager
from server_utils.backends.triton.function_call import Call, call_of
from server_utils.environments import builder
from server_utils.errors import ConfigurationError
from server_utils.inference.row_errors import OnError
from server_utils.inference.triton.columns import column_function, predict_function
from server_utils.inference.triton.connections import Request
from server_utils.inference.triton.model import choose
from server_utils.servers.launch import Launch
from server_utils.spark import session
from server_utils.validation import one_deadline

_PROGRAM, *_MODULES = (
    Path(__file__).with_name(f"{name}.py") for name in ("program", "pytriton_patches", "task_context")
)
_PORTS = ("http", "grpc", "metrics")
_ENVIRONMENTS = ("triton", "torch", "tf")


class TritonServerManager(ServerManager):
    """One Triton server per executor, each running the user's function in a sealed environment.

    Example:
        ::

            def triton_server(ports, model_path):
                from pytriton.triton import Triton, TritonConfig
                config = TritonConfig(http_port=ports[0], grpc_port=ports[1], metrics_port=ports[2])
                with Triton(config=config) as triton:
                    triton.bind(...)
                    triton.serve()

            with TritonServerManager("my-model", "/models/my-model") as servers:
                servers.start_servers(triton_server)
                df.withColumn("vector", servers.embed("text")).write.parquet("out")
    """

    environment: str = "triton"

    def __init__(
        self, model_name: str, model_path: str | Path | None = None, *, environment: str = "triton", spark: Any = None
    ) -> None:
        """As any manager. environment: the sealed one that has what the function imports: triton, torch or tf."""
        super().__init__(model_name, model_path, spark=spark)
        self.environment = builder.choose(environment, _ENVIRONMENTS, engine="Triton")

    def start_servers(
        self,
        triton_server: Callable[..., None],
        *,
        timeout_s: float | None = None,
        wait_retries: int | None = None,
        wait_timeout: float | None = None,
        **options: Any,
    ) -> None:
        """Start a server on every executor and wait until all are healthy. A second call with the same is a no-op.

        Args:
            triton_server: `f(ports)` or `f(ports, model_path)`; ports are [http, grpc, metrics]. It is sent by value,
                with the modules of yours that it uses, and called in a process of the sealed environment, so import
                what it needs inside it. It serves until SIGTERM, as `Triton.serve` does. If the manager has no
                model_path, the function's default is used.
            timeout_s: seconds until all are healthy, model load included; default 600.
            wait_retries: with wait_timeout, the older form of timeout_s: their product.
            wait_timeout: see wait_retries.
            options: `hang_timeout_s`, `stop_grace_s` and `max_restarts` of `Launch`.

        Raises:
            ConfigurationError: the function, the model path or an option cannot work; nothing was started.
            ServerStartError: a server failed; names each host with its log's last lines. The others are stopped.
        """
        call = call_of(triton_server, self.model_path)
        self._start(
            key=(triton_server, call, self.model_path, options),
            files=files_for(triton_server, call, environment=self.environment),
            timeout_s=one_deadline(timeout_s, wait_retries, wait_timeout),
            options=options,
        )

    @property
    def host_to_grpc_url(self) -> dict[str, str]:
        """The gRPC address by host name; for clients of your own. See `host_to_http_url`."""
        return self._host_to_url("grpc", "grpc")

    def tensors(self, *columns: Any, output: str | None = None, **options: Any) -> Any:
        """A column with a model's answers: `df.withColumn("score", servers.tensors("features"))`.

        Args:
            columns: columns, or names as Spark's `col()` reads them, one per input of the model, in its order: arrays,
                plain numbers, text, or binary holding little-endian elements (the fastest). A row has the input's
                shape, flat in row-major order.
            output: name of the output that becomes the column; optional for a model with one output.
            options: `model`, required if the servers have several; `on_error`, see below; `timeout_s`, seconds for a
                request (default 300); `window`, requests in flight per task (default 2); `batch_rows`, rows per
                request at most (default: 1,024 at first, twice as many as long as answers take less than a tenth of a
                second, half as many after more than a second), within the model's max_batch_size and 16 MB;
                `as_type="binary"`, a column of the bytes that the model answers, which are text (UTF-8) otherwise.

        Null in any input gives null, without a request. Order is kept. An output of one element per row becomes a
        plain column, any other a flat array.

        With on_error="raise" (the default) the first refused row fails the job, named by its number in its
        partition; "null" leaves null in its place; "struct" gives struct<value, error> for every row.
        """
        return self._column("tensors", columns, self._request(output, **options))

    def embed(self, column: Any, *, output: str | None = None, **options: Any) -> Any:
        """A column with the vectors of a text column: `df.withColumn("vector", servers.embed("text"))`.

        The model takes one input of text and gives one vector per row. Options as in `tensors`.
        """
        request = self._request(output, **options)
        inputs = request.model.inputs
        if len(inputs) != 1 or inputs[0].kind != "bytes" or request.output.kind == "bytes":
            taken = ", ".join(map(str, inputs))
            raise ConfigurationError(
                f"embed() wants a model from one text to one vector; {request.model.name!r} takes {taken} and gives "
                f"{request.output}; use tensors()"
            )
        return self._column("embed", [column], request)

    def make_predict_fn(self, *, output: str | None = None, **options: Any) -> Callable[[], Callable[..., Any]]:
        """The function that Spark's `predict_batch_udf` takes, for code that uses it.

        Options as in `tensors`, but on_error can only be "raise", and as_type "string". A null answer among vectors
        fails the job too.

        Example:
            ::

                predict_batch_udf(servers.make_predict_fn(), return_type=ArrayType(FloatType()), batch_size=1000,
                                  input_tensor_shapes=[[784]])
        """
        request = self._request(output, **options)
        if request.on_error != "raise":
            raise ConfigurationError(
                f"predict_batch_udf has no place for errors: leave out on_error={request.on_error!r}, or use tensors()"
            )
        if request.output.binary:
            raise ConfigurationError("predict_batch_udf has no binary columns: leave out as_type, or use tensors()")
        return functools.partial(predict_function, request)

    def _request(
        self,
        output: str | None,
        *,
        model: str | None = None,
        on_error: OnError = "raise",
        timeout_s: float = 300.0,
        window: int = 2,
        batch_rows: int | None = None,
        as_type: Literal["string", "binary"] | None = None,
    ) -> Request:
        launch, chosen = self._running(), choose(self.models, model)
        answer = chosen.output(output).as_type(as_type)
        return Request(launch, chosen, answer, on_error, timeout_s, window, batch_rows)

    def _column(self, name: str, columns: Sequence[Any], request: Request) -> Any:
        inputs = request.model.inputs
        if len(columns) != len(inputs):
            wants = ", ".join(map(str, inputs))
            raise ConfigurationError(
                f"model {request.model.name!r} takes {len(inputs)} columns ({wants}); got {len(columns)}"
            )
        return column_function(request, name)(*map(session.column, columns))

    def _launch(self, **fields: Any) -> Launch:
        ports = (f"--{name}-port={{port:{name}}}" for name in _PORTS)
        return Launch(
            argv=("{python}", "{folder}/program.py", "--folder={folder}", "--model={model}", *ports),
            ports=_PORTS,
            health="/v2/health/ready",
            env={"PYTRITON_HOME": "{scratch}"},
            has_readiness_file=True,
            needs_libpython=True,
            executes_scratch=True,
            **fields,
        )


def files_for(function: Callable[..., None], call: Call, *, environment: str) -> dict[str, bytes]:
    """The files of the program, with the function and the user's own code that it needs.

    Raises ConfigurationError when something in it cannot be sent, or the environment lacks what it refers to.
    """
    pickled = by_value((function, call.by_position, call.by_name), what="triton_server")
    needed = by_reference(pickled)
    if missing := builder.lacks(environment, needed):
        raise ConfigurationError(
            f"triton_server cannot be sent to the servers: it holds {needed[missing[0]]}, and the sealed environment "
            f"{environment!r} has no {missing[0]}. Make it inside the function from what the environment has, or hand "
            "it over as plain numbers and text"
        )
    return program_files(_PROGRAM, *_MODULES) | {"function.pickle": pickled, "modules.zip": imported_modules(function)}
