from __future__ import annotations

import dataclasses
import json

from server_utils.host.processes import ProcessId
from server_utils.jobs.progress import Progress, Snapshot, between, line, table
from server_utils.servers import state_dir
from server_utils.servers.launch import ServerStatus, State

OWNERS = {name: ProcessId(number, 7) for number, name in enumerate("abc", 1)}


def server(name="a", *, state=State.READY, **fields):
    owner = OWNERS[name]
    return ServerStatus("id", "llm", "host", owner, owner, state, **fields)


def look(at, *servers, written=0):
    return Snapshot(float(at), servers, written)


def engine(tokens_in=0, tokens_out=0, *, running=0, waiting=0, cache=0.0, queries=0, hits=0):
    return {
        "tokens_in": tokens_in,
        "tokens_out": tokens_out,
        "running": running,
        "waiting": waiting,
        "kv_cache_usage": cache,
        "prefix_queries": queries,
        "prefix_hits": hits,
    }


def test_rows_tokens_and_time_left_are_those_since_the_first_look():
    before = look(100, server("a", rows=50, metrics=engine(1000, 500)), server("b", rows=0, metrics=engine()))
    after = look(110, server("a", rows=90, metrics=engine(1400, 700)), server("b", rows=60, metrics=engine(600, 300)))

    shown = between(before, after, total=300)

    assert (shown.seconds, shown.rows, shown.total) == (10.0, 100, 300)
    assert shown.rows_per_s == 10.0
    assert (shown.tokens_in_per_s, shown.tokens_out_per_s) == (100.0, 50.0)
    assert shown.left_s == 20.0
    assert (shown.ready, shown.servers) == (2, 2)


def test_rates_may_be_those_of_late_while_rows_are_all():
    looks = [look(at, server(rows=rows)) for at, rows in ((0, 0), (90, 90), (100, 200))]

    shown = between(looks[0], looks[2], total=420, recent=looks[1])

    assert (shown.rows, shown.rows_per_s, shown.left_s) == (200, 11.0, 20.0)


def test_what_the_engines_do_is_that_of_the_last_look_and_of_ready_servers():
    shown = between(
        look(0),
        look(
            1,
            server("a", metrics=engine(running=5, waiting=2, cache=0.25)),
            server("b", metrics=engine(running=3, waiting=0, cache=0.5)),
            server("c", state=State.RESTARTING, metrics=engine(running=9, waiting=9, cache=0.9)),
        ),
    )

    assert (shown.running, shown.waiting, shown.kv_cache_usage) == (8, 2, 0.5)
    assert (shown.ready, shown.servers) == (2, 3)


def test_a_restarted_engine_counts_from_zero_and_nothing_becomes_negative():
    before = look(0, server(rows=10, metrics=engine(1000, 1000)))
    after = look(10, server(rows=20, restarts=1, metrics=engine(50, 20)))

    shown = between(before, after)

    assert (shown.tokens_in_per_s, shown.tokens_out_per_s) == (5.0, 2.0)
    assert (shown.rows, shown.restarts) == (10, 1)


def test_a_server_that_came_later_counts_from_its_beginning_and_a_stopped_one_keeps_its_rows():
    before = look(0, server("a", rows=5))
    after = look(1, server("a", state=State.STOPPED, rows=8), server("b", rows=7, errors={"refused": 2}))

    shown = between(before, after)

    assert (shown.rows, shown.ready, shown.servers, shown.errors) == (10, 1, 1, {"refused": 2})


def test_errors_are_those_since_the_first_look_by_kind():
    before = look(0, server("a", errors={"refused": 1, "too_long": 4}))
    after = look(1, server("a", errors={"refused": 3, "too_long": 4}), server("b", errors={"invalid": 1}))

    assert between(before, after).errors == {"invalid": 1, "refused": 2}


def test_prefix_hits_are_a_share_of_the_tokens_that_were_looked_up():
    before, after = (
        look(0, server(metrics=engine(queries=100, hits=0))),
        look(1, server(metrics=engine(queries=300, hits=150))),
    )

    assert between(before, after).prefix_hits == 0.75
    assert between(after, after).prefix_hits == 0.0


def test_a_row_that_passes_two_columns_is_one_row_and_written_rows_are_done_whatever_was_counted():
    before, after = look(0, server(rows=0)), look(10, server(rows=80), written=30)

    assert between(before, after, columns=2).rows == 40
    assert between(before, look(10, server(rows=10), written=30), total=60).rows == 30
    assert between(before, after, total=60).rows == 60  # asked again, after a failed task


def test_time_left_is_not_told_without_a_total_or_while_nothing_happens():
    still = look(0, server(rows=5))

    assert between(still, look(10, server(rows=50))).left_s is None
    assert between(still, look(10, server(rows=5)), total=10).left_s is None
    assert between(still, still, total=10).left_s is None


FULL = Progress(
    seconds=60,
    rows=1234,
    total=10_000,
    rows_per_s=250.4,
    left_s=3700,
    tokens_in_per_s=1800,
    tokens_out_per_s=3500,
    running=12,
    waiting=30,
    kv_cache_usage=0.344,
    ready=2,
    servers=3,
    restarts=1,
    errors={"refused": 3, "too_long": 1200},
)


def test_the_line_has_all_of_it_and_leaves_out_what_there_is_none_of():
    assert line(FULL) == (
        "1,234 of 10,000 rows (12%) | 250 rows/s | tokens/s 1,800 in 3,500 out | 1:01:40 left | "
        "12 running, 30 waiting, KV cache 34% | 2 of 3 servers | 1 restarts | errors: 3 refused, 1,200 too_long"
    )
    assert line(Progress(rows=7, rows_per_s=1.25, ready=1, servers=1)) == "7 rows | 1.2 rows/s | 1 of 1 servers"
    assert line(Progress(total=0)).startswith("0 of 0 rows (100%)")


def test_the_table_has_a_row_per_server_and_escapes_what_it_shows():
    shown = table(FULL, {"host/1-7": dataclasses.replace(FULL, ready=0), "<b>": Progress(ready=1)})

    assert shown.count("<tr>") == 3
    assert "<td>host/1-7</td><td>1,234 (not ready)</td>" in shown
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown


def test_progress_is_plain_data_for_json():
    assert json.loads(json.dumps(dataclasses.asdict(FULL)))["errors"] == {"refused": 3, "too_long": 1200}


def test_servers_as_json_hold_everything_that_status_tells():
    (shown,) = json.loads(state_dir.to_json([server(rows=3, metrics=engine(running=1))]))

    assert shown["state"] == "ready"
    assert shown["rows"] == 3
    assert shown["metrics"]["running"] == 1
    assert shown["owner"] == {"pid": 1, "started": 7}
