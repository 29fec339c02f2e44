"""Resumable jobs: rows in, rows with answers out, each key exactly once. Driver.

A hash of the keys splits the rows into parts. Each part is a Spark job: it leaves out the rows that are already
written, sends the others to the servers, and appends them by Spark's own writer. There is no other state: what is at
the path says what is done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from server_utils.errors import ConfigurationError
from server_utils.jobs import monitor
from server_utils.jobs.output import Count, Output, part
from server_utils.spark import session
from server_utils.spark.partitioning import evenly
from server_utils.validation import did_you_mean

logger = logging.getLogger(__name__)

Format = Literal["parquet", "orc", "delta"]  # those that keep every type


@dataclass(frozen=True)
class Run:
    """The result of a run.

    Attributes:
        rows: of the input.
        already_written: rows that were at the path before.
        written: by this run; the sum of both is `rows`.
        errors: of the servers' answers in this run, by kind, as last counted: rows that hold null or an error.
    """

    rows: int
    already_written: int
    written: int
    errors: Mapping[str, int] = field(default_factory=dict)


def run(
    servers: monitor.Servers,
    frame: Any,
    columns: Mapping[str, Any],
    path: str | Path,
    *,
    key: str | Sequence[str],
    parts: int = 20,
    format: Format = "parquet",  # noqa: A002 - Spark's own word for it
    arrange: Callable[[Any], Any] = evenly,
) -> Run:
    """Write a frame with columns of these servers to a path; after a kill or an interrupt, the same call resumes.

    `servers.run(df, {"summary": servers.generate("prompt")}, "s3a://bucket/out", key="id")`. Shows its progress as
    `progress()` does.

    Args:
        servers: the manager; `servers.run(...)` is how it is called.
        frame: the rows. It is read once per part and thrice besides, and must hold the same rows with the same keys
            each time: write down first what is random, or expensive to compute.
        columns: what is added, by name.
        path: any that Spark can write to, every character as it is. What is there already counts as done, errors
            included.
        key: the column or columns that tell rows apart, by their very names: never null, never twice.
        parts: jobs. A kill costs the part that is at work; between parts the servers have less to do for a moment.
        format: how it is written.
        arrange: what lays the rows of a part out over tasks; `functools.partial(by_prefix, column="prompt")` brings
            prompts with the same beginning together.

    Raises:
        ConfigurationError: an argument, a key, or what is at the path does not fit. Nothing was sent or written.
        OutputError: in the end the rows at the path are not those of the input: something else wrote there too.
            Nothing locks a path: two runs at once on one path disturb each other, and this is how it shows.
    """
    keys = [key] if isinstance(key, str) else list(dict.fromkeys(key))
    _check(frame, columns, keys, parts, format)
    output = Output(frame.withColumns(dict(columns)), path, format, keys)
    before = Count.of(frame, output, parts)
    before.check(output)
    written = 0
    spark = frame.sparkSession
    with session.cancelled_on_error(spark), monitor.progress(servers, before.left, columns=len(columns)) as display:
        for rows in _append_parts(frame, columns, output, before.left_by_part, parts=parts, arrange=arrange):
            written += rows
            display.written(written)
    if written:
        Count.of(frame, output, parts).check_whole(output)
    return Run(before.rows, before.rows - before.left, written, display.latest.errors)


def _append_parts(
    frame: Any,
    columns: Mapping[str, Any],
    output: Output,
    left_by_part: Mapping[int, int],
    *,
    parts: int,
    arrange: Callable[[Any], Any],
) -> Iterator[int]:
    """Append what is left of one part after the other. Gives the number of rows after each."""
    keys = list(output.key_names)
    part_of_row = part([*map(session.named, keys)], parts)
    for number, rows in sorted(left_by_part.items()):
        logger.info("part %d of %d: %d rows", number + 1, parts, rows)
        left = frame.where(part_of_row == number).join(output.keys(), keys, "left_anti")
        left = left.select(*map(session.named, frame.columns))
        # The columns come last: rows that are left out above must not be sent.
        output.append(arrange(left).withColumns(dict(columns)))
        yield rows


def _check(frame: Any, columns: Mapping[str, Any], keys: Sequence[str], parts: int, kind: str) -> None:
    """Refuse arguments that Spark would refuse late, or not at all."""
    if kind not in get_args(Format):
        raise ConfigurationError(f"format must be one that keeps types: {', '.join(get_args(Format))}; it is {kind!r}")
    if not isinstance(parts, int) or parts < 1:
        raise ConfigurationError(f"parts must be a whole number, 1 or more; it is {parts!r}")
    if frame.isStreaming:
        raise ConfigurationError("run() reads its input several times; write the stream to a table first")
    if not columns or not keys:
        raise ConfigurationError("run() needs a column to add and a key to tell rows apart; one of them is empty")
    for name in keys:
        if name not in frame.columns:
            near = did_you_mean(name, frame.columns)
            raise ConfigurationError(f"the input has no column {name!r} to be its key{near}")
    _check_new(frame, columns)


def _check_new(frame: Any, columns: Mapping[str, Any]) -> None:
    """No two columns may have one name; Spark says whether `a` and `A` are one."""
    fold = str if session.is_case_sensitive(frame.sparkSession) else str.lower
    existing = [fold(name) for name in frame.columns]
    if twice := [name for name, folded in zip(frame.columns, existing, strict=True) if existing.count(folded) > 1]:
        raise ConfigurationError(f"the input has several columns {twice[0]!r}; drop or rename one, such as with toDF()")
    new = [fold(name) for name in columns]
    if taken := [name for name in new if name in existing]:
        raise ConfigurationError(f"the input has a column {taken[0]!r} already; give the new one another name")
    if len(set(new)) < len(new):
        raise ConfigurationError(f"to Spark two of the new columns have one name: {', '.join(columns)}; rename one")
