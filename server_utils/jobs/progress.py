"""The progress of a job on the servers, from two polls of them, as a line or a small table. Driver; no Spark."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from server_utils.servers.launch import ServerStatus, State


@dataclass(frozen=True)
class Snapshot:
    """The result of one poll.

    Attributes:
        at: seconds of a clock that only goes forward.
        servers: what `status()` gave.
        written: rows that are known to be done, whatever the servers counted.
    """

    at: float
    servers: tuple[ServerStatus, ...]
    written: int = 0


@dataclass(frozen=True)
class Progress:
    """What was done between two polls, and the state at the second. Plain data: `dataclasses.asdict` fits JSON.

    Attributes:
        seconds: between the polls.
        rows: answered, errors included; a row that Spark asked for again counts again, but never beyond the total.
        total: rows in all; None if unknown.
        left_s: seconds until all are answered, at this rate; None if unknown.
        tokens_in_per_s: of the prompts, in tokens per second; 0 for engines that count none, as all that follows.
        running: requests that the engines work on.
        waiting: requests in their queues.
        kv_cache_usage: of the fullest server, from 0 to 1.
        prefix_hits: share of the prompts' tokens that were found in the prefix cache, from 0 to 1.
        ready: servers that answer. servers: those there are; stopped ones do not count.
        restarts: of all servers.
        errors: rows that have an error, by kind.
    """

    seconds: float = 0.0
    rows: int = 0
    total: int | None = None
    rows_per_s: float = 0.0
    left_s: float | None = None
    tokens_in_per_s: float = 0.0
    tokens_out_per_s: float = 0.0
    running: int = 0
    waiting: int = 0
    kv_cache_usage: float = 0.0
    prefix_hits: float = 0.0
    ready: int = 0
    servers: int = 0
    restarts: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)


def between(
    first: Snapshot, last: Snapshot, *, total: int | None = None, columns: int = 1, recent: Snapshot | None = None
) -> Progress:
    """The progress from one poll to another.

    Args:
        first: the poll that counts begin with.
        last: the latest poll.
        total: rows there are.
        columns: of these servers, that each row passes through.
        recent: rates are those since then, where that is later than the first.
    """
    since, now = _Gains(recent or first, last), _Gains(first, last)
    rows = max(now.rows // columns, last.written)
    rate = since.rows / columns / since.seconds
    done = rows if total is None else min(rows, total)
    ready = [server.metrics for server in last.servers if server.state is State.READY]
    queries = since.metric("prefix_queries")
    return Progress(
        seconds=last.at - first.at,
        rows=done,
        total=total,
        rows_per_s=rate,
        left_s=(total - done) / rate if total is not None and rate else None,
        tokens_in_per_s=since.metric("tokens_in") / since.seconds,
        tokens_out_per_s=since.metric("tokens_out") / since.seconds,
        running=int(sum(each.get("running", 0) for each in ready)),
        waiting=int(sum(each.get("waiting", 0) for each in ready)),
        kv_cache_usage=max((each.get("kv_cache_usage", 0.0) for each in ready), default=0.0),
        prefix_hits=since.metric("prefix_hits") / queries if queries else 0.0,
        ready=len(ready),
        servers=sum(server.state is not State.STOPPED for server in last.servers),
        restarts=now.restarts,
        errors=now.errors(),
    )


class _Gains:
    """By how much the counters of all servers went up. One that is lower than before was counted from 0 again."""

    def __init__(self, before: Snapshot, after: Snapshot) -> None:
        self.seconds = max(after.at - before.at, 1e-6)
        earlier = {server.key: server for server in before.servers}
        nothing: dict[str, Any] = {"rows": 0, "restarts": 0, "errors": {}, "metrics": {}}
        self._pairs = [(earlier.get(now.key) or replace(now, **nothing), now) for now in after.servers]
        self.rows = sum(int(_gain(was.rows, now.rows)) for was, now in self._pairs)
        self.restarts = sum(int(_gain(was.restarts, now.restarts)) for was, now in self._pairs)

    def errors(self) -> dict[str, int]:
        gains = Counter[str]()
        for was, now in self._pairs:
            gains.update({kind: int(_gain(was.errors.get(kind, 0), number)) for kind, number in now.errors.items()})
        return {kind: gains[kind] for kind in sorted(gains) if gains[kind]}

    def metric(self, name: str) -> float:
        return sum(_gain(was.metrics.get(name, 0.0), now.metrics.get(name, 0.0)) for was, now in self._pairs)


def _gain(before: float, after: float) -> float:
    return after - before if after >= before else after


def line(progress: Progress) -> str:
    """All of it in one line; what there is none of is left out."""
    parts = [_rows(progress), f"{_short(progress.rows_per_s)} rows/s"]
    if progress.tokens_in_per_s or progress.tokens_out_per_s:
        parts.append(f"tokens/s {_short(progress.tokens_in_per_s)} in {_short(progress.tokens_out_per_s)} out")
    if progress.left_s is not None:
        parts.append(f"{_clock(progress.left_s)} left")
    if progress.running or progress.waiting:
        parts.append(f"{progress.running} running, {progress.waiting} waiting, KV cache {progress.kv_cache_usage:.0%}")
    parts.append(f"{progress.ready} of {progress.servers} servers")
    if progress.restarts:
        parts.append(f"{progress.restarts} restarts")
    if progress.errors:
        parts.append("errors: " + ", ".join(f"{number:,} {kind}" for kind, number in progress.errors.items()))
    return " | ".join(parts)


def table(progress: Progress, each: Mapping[str, Progress]) -> str:
    """The same as HTML: the line, and a row per server. each: by server, what it did."""
    head = ("server", "rows", "rows/s", "tokens/s in", "tokens/s out", "running", "waiting", "KV cache", "restarts")
    rows = "".join(_row("td", [name, *_cells(its)]) for name, its in each.items())
    return f"<div><p>{html.escape(line(progress))}</p><table>{_row('th', head)}{rows}</table></div>"


def _cells(progress: Progress) -> list[str]:
    rates = (progress.rows_per_s, progress.tokens_in_per_s, progress.tokens_out_per_s)
    state = "" if progress.ready else " (not ready)"
    return [
        f"{progress.rows:,}{state}",
        *map(_short, rates),
        str(progress.running),
        str(progress.waiting),
        f"{progress.kv_cache_usage:.0%}",
        str(progress.restarts),
    ]


def _row(tag: str, cells: Any) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _rows(progress: Progress) -> str:
    if progress.total is None:
        return f"{progress.rows:,} rows"
    share = progress.rows / progress.total if progress.total else 1.0
    return f"{progress.rows:,} of {progress.total:,} rows ({share:.0%})"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"  # noqa: PLR2004 - two digits say enough


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
