"""``python bot.py train RECIPE``: heavy imports stand inside the command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from config.settings import PROJECT_DIR

out = Console(highlight=False)


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or the path of its YAML file.")],
    output: Annotated[
        Path | None, typer.Option(help="Where the model and its checkpoints go [data/runtime/training/RECIPE].")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Another base: a local folder, or a model of the hub's cache.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="The folder that relative data paths of the recipe begin at.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Stop each phase after so many steps.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Train a reranker by a recipe, for example: python bot.py train mneme-reranker-chat --sources DIR."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from cogs.memory.lab.recipe import load_recipe
    from cogs.memory.lab.train_run import run_recipe

    chosen = load_recipe(recipe)
    root = sources or Path()
    changes: dict[str, Any] = {
        "data": tuple(
            entry.model_copy(update={"path": root / entry.path}) if entry.path is not None else entry
            for entry in chosen.data
        )
    }
    if base is not None:
        changes |= {"base": base, "revision": None}
    chosen = chosen.model_copy(update=changes)
    folder = output or PROJECT_DIR / "data" / "runtime" / "training" / chosen.name
    models = PROJECT_DIR / "data" / "runtime" / "models"
    report = run_recipe(chosen, folder, resume=resume, max_steps=max_steps, models_dir=models)
    if as_json:
        print(
            json.dumps(
                {
                    "recipe": report.recipe,
                    "folder": str(report.folder),
                    "lists": report.lists,
                    "held_out": report.held_out,
                    "phases": report.phases,
                }
            )
        )
        return
    for phase, row in report.phases.items():
        out.print(f"{phase}: " + ", ".join(f"{name} {value:.4g}" for name, value in row.items()), markup=False)
    out.print(f"The model, its card and its learning curve are in {report.folder}.", markup=False)


def mount(app: typer.Typer) -> None:
    """Add the command to the program's command line."""
    app.command("train")(train)
