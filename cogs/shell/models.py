"""``python bot.py models``: which models there are, whether they are whole, and the only command that downloads."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cogs.memory.errors import BadRequest
from config.settings import load_settings

if TYPE_CHECKING:
    from cogs.memory.models.catalogue import ModelSpec

app = typer.Typer(help="List, check and fetch the models that rerankers.yaml and embedders.yaml name.")
Name = Annotated[str, typer.Argument(help="A name that `models list` shows, for example qwen3-reranker-0.6b.")]


def _specs() -> tuple[dict[str, ModelSpec], Path]:
    """Return every model by name, and where fetched ones lie."""
    from cogs.memory.embedding.specs import load_embedders
    from cogs.memory.rerankers.registry import load_specs

    settings = load_settings()
    specs: dict[str, ModelSpec] = {**load_embedders()}
    specs.update(load_specs(settings.rerankers_file))
    return specs, settings.models_folder


def _named(name: str) -> tuple[ModelSpec, Path]:
    specs, folder = _specs()
    if name not in specs:
        raise BadRequest(f"There is no model {name!r}; `python bot.py models list` shows them.")
    return specs[name], folder


@app.command("list")
def list_models(as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False) -> None:
    """Show the models by name, and which are on this machine."""
    from cogs.memory.inference.profiles import Machine
    from cogs.memory.models.catalogue import describe

    specs, folder = _specs()
    machine = Machine.detect()
    reports = [describe(spec, folder, machine.memory_gb, machine.cuda_gb) for spec in specs.values()]
    if as_json:
        typer.echo(json.dumps([report.as_json() for report in reports], ensure_ascii=False, indent=1))
        return
    for report in reports:
        mark = "✓" if report.present else "·"
        typer.echo(f"{mark} {report.name}: {report.format}, {report.id}; {report.sentence}")


@app.command()
def check(name: Name) -> None:
    """Check a model's files: complete, readable, and unchanged since they were fetched."""
    from cogs.memory.inference.model_specs import RerankerUnavailable
    from cogs.memory.models import catalogue as model_files

    spec, folder = _named(name)
    try:
        typer.echo(model_files.check(spec, folder))
    except RerankerUnavailable as error:
        raise BadRequest(str(error)) from error


@app.command()
def fetch(
    name: Name,
    revision: Annotated[str | None, typer.Option(help="The commit to take, where the entry pins none.")] = None,
) -> None:
    """Download a model at its pinned revision, with its checksums compared."""
    # The rest of the program keeps the hub offline; this command was asked to go there.
    os.environ["HF_HUB_OFFLINE"] = "0"
    from cogs.memory.models import download

    spec, folder = _named(name)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(name, total=None)

        def show(file: str, done: int, total: int) -> None:
            bar.update(task, description=file or name, completed=done, total=total)

        folders = download.fetch(spec, folder, revision=revision, progress=show)
    for path in folders:
        typer.echo(str(path))
