"""What the commands `databricks` and `dataproc` print: a plan, a cluster, a run and logs. Laptop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from server_utils.cli.output import Column, print_json, print_rows, print_tables, print_text

if TYPE_CHECKING:
    from csp.cloud import Check, ClusterState, Log, RunState
    from csp.deployer import Plan
    from csp.run import Result

_FACTS = (Column("what"), Column("value"))
# Fields of a request that a plan shows under other names, which every cloud shares.
_SHARED = {"cluster_name", "spark_version", "autotermination_minutes"}


def print_plan(plan: Plan, checks: Sequence[Check], price: str, *, as_json: bool) -> None:
    """What `up` would make, and the free checks where they were asked for."""
    if as_json:
        print_json(asdict(plan) | {"price": price, "checks": [_check_json(each) for each in checks]})
        return
    rows = {
        "deployment": plan.name,
        "place": plan.place,
        "nodes": plan.nodes,
        "framework": plan.framework,
        "runtime": plan.runtime,
        "ends without work": f"after {plan.idle_minutes} minutes" if plan.idle_minutes else "never",
        "price of an hour": price,
    }
    fields = {name: value for name, value in plan.request.items() if name not in _SHARED}
    rows |= {name: _text(value) for name, value in fields.items() if not isinstance(value, dict | list)}
    print_tables(_FACTS, {"": [each for each in rows.items() if each[1]]})
    print_text("--json shows the whole request, with Spark settings and variables.")
    print_text("")
    files = [(name, f"{size / 1024:,.1f}") for name, size in plan.files.items()]
    print_tables((Column("file"), Column("KiB", right=True)), {f"Files to {plan.folder}": files})
    if checks:
        print_text("")
    for each in checks:
        print_text(f"{_word(each)}: {each.name}: {each.detail}{each.fix and '; ' + each.fix}")


def print_cluster(state: ClusterState) -> None:
    """A cluster, for people."""
    print_text(f"{state.name} ({state.cluster_id}) of {state.owner or 'somebody'}")
    print_tables(_FACTS, {"": _rows_of(state)})
    if state.page:  # a row of its width would break the table
        print_text(f"Page: {state.page}")


def print_state(state: RunState, *, as_json: bool) -> None:
    """Where a run stands."""
    if as_json:
        print_json(asdict(state))
    else:
        detail = f": {state.detail}" if state.detail else ""
        print_text(f"Run {state.run_id} {state.phase}{detail}. {state.page}")


def print_result(result: Result, *, as_json: bool) -> None:
    """How a run ended, and its files; its error goes to standard error. Ends the command with its exit code."""
    if as_json:
        fetched = {"files": [str(each) for each in result.files], "unfetched": result.unfetched}
        print_json(asdict(result.state) | fetched | {"exit_code": int(result.exit_code)})
    else:
        print_state(result.state, as_json=False)
        for each in result.files:
            print_text(str(each))
    if result.state.error:
        typer.echo(result.state.error, err=True)
    if result.exit_code:
        raise typer.Exit(int(result.exit_code))


def print_logs(logs: Sequence[Log], kinds: Sequence[str], *, as_json: bool) -> None:
    """The logs of these kinds."""
    if as_json:
        print_rows(logs)
        return
    for each in logs:
        print_text(f"{each.kind}: {each.name}", style="bold")
        typer.echo(each.text)
    if not logs:
        print_text(f"There are no logs yet of {', '.join(kinds)}.")


def _check_json(check: Check) -> dict[str, str | bool]:
    """Return a check as JSON, whose keys stay as they are when fields of `Check` get other names."""
    return {"name": check.name, "found": check.detail, "fix": check.fix, "looked": check.was_checked}


def _word(check: Check) -> str:
    return "failed" if not check.passed else "ok" if check.was_checked else "not sure"


def _rows_of(state: ClusterState) -> list[tuple[str, str]]:
    return [
        ("state", state.phase),
        ("detail", state.detail),
        ("nodes", state.nodes),
        ("workers", f"{state.ready} of {state.workers}"),
        ("files", state.root),
    ]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
