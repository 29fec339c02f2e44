"""The commands `models push`, `pull`, `list` and `verify`. Laptop and driver."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from server_utils.cli.output import AsJson, Column, print_tables, print_text, screen_width

if TYPE_CHECKING:
    from server_utils.storage.transfer import Progress
    from server_utils.storage.verify import Saved

app = typer.Typer(no_args_is_help=True, help="Save models in cloud storage, load and verify them.")

Url = Annotated[str, typer.Argument(help="s3://..., gs://..., /Volumes/..., dbfs:/..., file://... or a path.")]


@app.command()
def push(
    source: Annotated[str, typer.Argument(help="A folder, a file, or hf://ORG/NAME@REVISION to copy from a hub.")],
    url: Url,
    *,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing model, in one step.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save a model where every node can load it, and print its URL."""
    from server_utils.storage.save import save_model

    with _bar("saving", shown=not as_json) as progress:
        saved = save_model(source, url, overwrite=overwrite, progress=progress)
    typer.echo(json.dumps({"url": saved}) if as_json else saved)


@app.command()
def pull(url: Url, *, as_json: AsJson = False) -> None:
    """Download a model to this machine, and print its folder."""
    from server_utils.storage.load import local_model

    with _bar("fetching", shown=not as_json) as progress:
        path = local_model(url, progress=progress)
    typer.echo(json.dumps({"path": str(path)}) if as_json else path)


@app.command("list")
def list_models(
    url: Annotated[str | None, typer.Argument(help="The folder to list; default: SPARK_SIDECAR_MODELS.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the models below a URL."""
    from server_utils.storage import locations
    from server_utils.storage.verify import saved_models

    models = saved_models(url or locations.models_root())
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in models], indent=2))
        return
    (_print_models if screen_width() is None else _print_table)(models)


def _print_models(models: Sequence[Saved]) -> None:
    """Print one line per model, with its units: a script needs no heading to read it."""
    width = max((len(each.name) for each in models), default=0)
    for each in models:
        size = each.problem or f"{each.size / 1e6:12,.1f} MB  {each.files:6} files  {each.saved}"
        typer.echo(f"{each.name:<{width}}  {size}")


def _print_table(models: Sequence[Saved]) -> None:
    """Print a table for a terminal, and below it what is wrong with the models that cannot be loaded."""
    columns = Column("name"), Column("MB", right=True), Column("files", right=True), Column("saved (UTC)")
    whole = [each for each in models if not each.problem]
    rows = [(each.name, f"{each.size / 1e6:,.1f}", f"{each.files:,}", _minute(each.saved)) for each in whole]
    if rows:
        print_tables(columns, {"": rows})
    for each in models:
        if each.problem:
            print_text(f"{each.name}: {each.problem}", indent=2)


def _minute(saved: str) -> str:
    """Of 2026-01-31T12:34:56+00:00 what a person reads."""
    return saved[:16].replace("T", " ")


@app.command()
def verify(url: Url, *, as_json: AsJson = False) -> None:
    """Compare every file of a saved model with its checksum. Exit status 1 if one differs."""
    from server_utils.storage import verify as storage_verify

    with _bar("verifying", shown=not as_json) as progress:
        problems = storage_verify.verify(url, progress=progress)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in problems], indent=2))
    else:
        for each in problems:
            typer.echo(f"{each.file}: {each.problem}")
        typer.echo(f"{url}: {len(problems)} damaged or missing" if problems else f"{url} is whole")
    if problems:
        raise typer.Exit(1)


@contextmanager
def _bar(what: str, *, shown: bool) -> Iterator[Progress | None]:
    """Show a progress bar on standard error: standard output is for the result."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.table import Column as Part

    def whole() -> Part:
        return Part(no_wrap=True)

    columns = (
        TextColumn("{task.description}", table_column=whole()),
        BarColumn(None),  # the only part that gives way on a narrow screen
        DownloadColumn(table_column=whole()),
        TransferSpeedColumn(table_column=whole()),
        TimeRemainingColumn(table_column=whole()),
    )
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
