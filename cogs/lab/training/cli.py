"""``python bot.py train RECIPE``: heavy imports stand inside the command."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cogs.memory.errors import BadRequest
from cogs.shell.startup import JsonFlag, prepared, run_async
from config.settings import PROJECT_DIR, Settings

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
    seed: Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Another seed than the recipe's.")] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="Steps of each phase, instead of its epochs.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the newest checkpoint in the output folder.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Train a reranker by a recipe, for example: python bot.py train mneme-reranker-chat --sources DIR."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from cogs.lab.training.recipe import load_recipe

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
    if seed is not None:
        changes["seed"] = seed
    chosen = chosen.model_copy(update=changes)
    folder = output or PROJECT_DIR / "data" / "runtime" / "training" / chosen.name
    models = PROJECT_DIR / "data" / "runtime" / "models"
    from cogs.lab.training.run import run_recipe  # PyTorch is imported once the recipe is known to be good

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


def calibrate(
    model: Annotated[Path, typer.Argument(help="The folder of a trained cross-encoder: model.onnx, mneme.json, …")],
    datasets: Annotated[list[Path], typer.Argument(metavar="DATASET…", help="Folders in BEIR's layout.")],
    limit: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="Ask only that many queries of each set.")
    ] = None,
    prior_weight: Annotated[float | None, typer.Option(min=0, max=1, help="Fix the weight of the first stage.")] = None,
    max_length: Annotated[
        int | None, typer.Option(min=16, max=32_768, help="Also change how many tokens a pair may have.")
    ] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show it, and leave the model as it is.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """Fit the probabilities of a trained cross-encoder on development sets, and write them into its mneme.json."""
    return run_async(_calibrate(prepared(), model, datasets, limit, prior_weight, max_length, dry, as_json))


async def _calibrate(
    settings: Settings,
    model: Path,
    paths: list[Path],
    limit: int | None,
    prior_weight: float | None,
    max_length: int | None,
    dry: bool,
    as_json: bool,
) -> int:
    from cogs.lab.datasets.loaders import load_dataset
    from cogs.lab.evaluation.cli import Bar

    if not (model / "mneme.json").is_file():
        raise BadRequest(f"{model} is no trained cross-encoder: it has no mneme.json.")
    loaded = [load_dataset(path) for path in paths]
    from cogs.lab.training.calibrate import ask, choose, elsewhere, write

    run, unanswered = {}, {}
    for dataset in loaded:
        with Bar(dataset.name) as bar:
            run[dataset.name] = await ask(settings, model, dataset, limit, bar)
        with Bar(f"{dataset.name}, asked elsewhere") as bar:
            unanswered[dataset.name] = await ask(settings, model, elsewhere(dataset), limit, bar)
    found = choose(run, prior_weight, unanswered)
    if not dry:
        write(model, found, max_length)
    if as_json:
        print(json.dumps(asdict(found)))
        return 0
    out.print(
        f"temperature {found.chosen.temperature:.3f}, bias {found.chosen.bias:.3f}, "
        f"weight of the prior {found.chosen.prior_weight:g}; among candidates scale {found.choice.scale:.3f}, nothing "
        f"{found.choice.nothing:.3f}; ECE of all sets on the other half {found.held_out_ece_together:.3f}"
        + (" (not written)" if dry else ""),
        markup=False,
    )
    for name, rows in run.items():
        by_weight = ", ".join(f"{weight:g}: {gains[name]:+.3f}" for weight, gains in found.gains.items())
        without = found.unanswered.get(name)
        out.print(
            f"{name}, {len(rows)} questions: ECE on the other half {found.held_out_ece[name]:.3f}; all candidates of a "
            f"question without an answer {'not asked' if without is None else f'{without:.3f}'}; gain of MAP at the "
            f"weight that the other sets choose {found.held_out_gains[name]:+.3f}; by weight {by_weight}",
            markup=False,
        )
    return 0


def mount(app: typer.Typer) -> None:
    """Add the commands to the program's command line."""
    app.command("train")(train)
    app.command("calibrate")(calibrate)
