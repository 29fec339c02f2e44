"""How the OpenAI-compatible server of one engine differs from the others'. Pure data: it travels to the tasks.

A backend has one `Dialect`. Requests, retries, row errors and concurrency limits read it: none of them depends on an
engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from server_utils.errors import ConfigurationError

# Of OpenAI's errors and of all engines': a server may stand before any of them.
TOO_LONG = (
    "maximum context length",
    "model's context length",
    "context_length",
    "too long",
    "longer than the maximum",
    "max_model_len",
)


class SchemaField(Enum):
    """The field of a request that holds the JSON schema of its answer."""

    STRUCTURED_OUTPUTS = "structured_outputs"  # vLLM, NIM 2
    GUIDED_JSON = "guided_json"  # Dynamo
    RESPONSE_FORMAT = "response_format"  # OpenAI, SGLang
    NVEXT = "nvext"  # NIM 1

    def holding(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The field with this schema, as a part of a request."""
        value: Any = {
            SchemaField.STRUCTURED_OUTPUTS: {"json": schema},
            SchemaField.GUIDED_JSON: schema,
            SchemaField.RESPONSE_FORMAT: {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
            SchemaField.NVEXT: {"guided_json": schema},
        }[self]
        return {self.value: value}


@dataclass(frozen=True)
class Dialect:
    """What the server of an engine takes, and what its answers mean.

    Attributes:
        schema_field: how a request says its JSON schema; None where the server ignores schemas: they are then refused.
        rows_per_request: prompts, or texts to embed, in one request at most; 1 where it takes no lists.
        chat_batch_path: where it takes several conversations at once; None where it does not.
        token_ids_field: the field that makes it list the tokens of each row; None where a request with several rows
            only has the sum, so that `details=True` sends rows one by one.
        sends_model: whether a request names the model; a server may know it by another name than the user does.
        fields: path -> the fields that requests may hold, for a server that does not say so itself: others would be
            ignored, or refused for each row.
        base64_vectors: whether it can send vectors as base64 of little-endian float32.
        first_limit: rows in flight per task until the metrics tell. Where there are none, rows in flight for good, in
            equal shares for all tasks.
        worker_died: HTTP statuses by which a front end says that its worker died with the request.
        transient: HTTP statuses, besides those of every server, after which the same request may succeed.
        too_long: parts of its messages, in lower case, any of which says that a row is too long for the model.
        metrics: what the package follows -> the name of the engine's Prometheus sample. `running` and `waiting` are
            requests, `steps` counts the engine's steps, `tokens_in` and `tokens_out` tokens. Samples of one name are
            added up.
        metrics_path: where they are; None where the server has none.
    """

    schema_field: SchemaField | None = SchemaField.RESPONSE_FORMAT
    rows_per_request: int = 32  # more gain nothing over HTTP, fewer cost (measured)
    chat_batch_path: str | None = None
    token_ids_field: str | None = None
    sends_model: bool = True
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base64_vectors: bool = True
    first_limit: int = 128
    worker_died: frozenset[int] = frozenset()
    transient: frozenset[int] = frozenset()
    too_long: tuple[str, ...] = TOO_LONG
    metrics: Mapping[str, str] = field(default_factory=dict)
    metrics_path: str | None = None

    def __post_init__(self) -> None:
        """Refuse a path without the metrics that limits and heartbeats need."""
        if self.metrics_path and not {"running", "waiting"} <= set(self.metrics):
            raise ConfigurationError(
                f"metrics must name running and waiting, as there is a metrics_path; they name {sorted(self.metrics)}"
            )
