"""`spark-sidecar models`: push, pull, list and verify. Laptop and driver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from server_utils.cli.output import AsJson

if TYPE_CHECKING:
    from server_utils.storage.transfer import Progress

app = typer.Typer(no_args_is_help=True, help="Models in cloud storage: saved once, loaded fast, never half.")

Url = Annotated[str, typer.Argument(help="s3://…, gs://…, /Volumes/…, dbfs:/…, file://… or a path.")]


@app.command()
def push(
    source: Annotated[str, typer.Argument(help="A folder, a file, or hf://org/name[@revision] to copy from a hub.")],
    url: Url,
    *,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model that is there, in one step.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Save a model where every node can load it."""
    from server_utils.storage.save import save_model

    with _bar("saving", shown=not as_json) as progress:
        saved = save_model(source, url, overwrite=overwrite, progress=progress)
    typer.echo(json.dumps({"url": saved}) if as_json else saved)


@app.command()
def pull(url: Url, *, as_json: AsJson = False) -> None:
    """Fetch a model onto this machine, and print its folder."""
    from server_utils.storage.load import local_model

    with _bar("fetching", shown=not as_json) as progress:
        path = local_model(url, progress=progress)
    typer.echo(json.dumps({"path": str(path)}) if as_json else path)


@app.command("list")
def list_models(
    url: Annotated[str | None, typer.Argument(help="Where to look; by default where models belong here.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the models below a URL."""
    from server_utils.storage import locations
    from server_utils.storage.verify import saved_models

    found = saved_models(url or locations.models_root())
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    width = max((len(each.name) for each in found), default=0)
    for each in found:
        size = each.problem or f"{each.size / 1e6:12,.1f} MB  {each.files:6} files  {each.saved}"
        typer.echo(f"{each.name:<{width}}  {size}")


@app.command()
def verify(url: Url, *, as_json: AsJson = False) -> None:
    """Read every file of a saved model and compare it with what was saved. Exit status 1 if one differs."""
    from server_utils.storage import verify as storage_verify

    with _bar("verifying", shown=not as_json) as progress:
        problems = storage_verify.verify(url, progress=progress)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in problems], indent=2))
    else:
        for each in problems:
            typer.echo(f"{each.file}: {each.problem}")
        typer.echo(f"{url}: {len(problems)} files are not as they were saved" if problems else f"{url} is whole")
    if problems:
        raise typer.Exit(1)


@contextmanager
def _bar(what: str, *, shown: bool) -> Iterator[Progress | None]:
    """A progress bar on standard error: standard output is for the answer."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
