"""The card of a trained model (data, settings, seeds, metrics) and its learning curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from cogs.lab.training.recipe import DataEntry, Phase, Recipe


def write_curve(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the training loss over the steps of all phases, one after the other, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=120)
    offset = 0.0
    for phase in dict.fromkeys(row["phase"] for row in history):
        points = [(row["step"], row["loss"]) for row in history if row["phase"] == phase and "loss" in row]
        if points:
            axes.plot([offset + step for step, _ in points], [loss for _, loss in points], label=str(phase))
            offset += points[-1][0]
    axes.set_xlabel("step")
    axes.set_ylabel("training loss")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def write_card(recipe: Recipe, lists: int, held_out: int, metrics: Mapping[str, float], path: Path) -> None:
    """Write the card. It states only what this run knows; nothing is copied from a published card.

    Args:
        recipe: what was trained.
        lists: the number of lists trained on.
        held_out: the number of lists kept for validation.
        metrics: the figures of this run by name.
        path: the file.
    """
    settings = [
        f"- base: `{recipe.base}`{f' at `{recipe.revision}`' if recipe.revision else ''}; family `{recipe.family}`; "
        f"at most {recipe.max_length} tokens",
        f"- seed {recipe.seed}; {'bfloat16 autocast' if recipe.bf16 else 'float32'}; "
        f"PyTorch {torch.__version__}, transformers {transformers.__version__}",
        f"- labels: {recipe.labels.source}"
        + (
            f" of the teacher `{recipe.labels.model or recipe.labels.teacher}`, {recipe.labels.levels} levels"
            if recipe.labels.source != "gold"
            else ""
        ),
    ]
    if recipe.lora is not None:
        settings.append(f"- LoRA r={recipe.lora.r}, alpha={recipe.lora.alpha}, on {recipe.lora.target}")
    settings += [_phase(phase) for phase in recipe.phases]
    lines = [
        f"# {recipe.name}",
        "",
        recipe.description.strip(),
        "",
        f"Licence: {recipe.license}.",
        "",
        "## Data",
        "",
        *(_entry(entry) for entry in recipe.data),
        "",
        f"{lists:,} lists were trained on; {held_out:,} were held out, split by query.",
        "",
        "## Settings",
        "",
        *settings,
        "",
        "## Held-out metrics",
        "",
        "| what | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in metrics.items()),
        "",
        *(["## Notes", "", *(f"- {note}" for note in recipe.notes), ""] if recipe.notes else []),
        "![learning curve](curve.png)",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def _entry(entry: DataEntry) -> str:
    what = {
        "sources": f"public conversations: {', '.join(entry.names) or 'all sources'} ({entry.part})",
        "folder": f"a folder of questions: `{entry.path.name if entry.path else ''}`",
        "generated": f"{entry.chats:,} conversations from the grammar, seed {entry.seed}",
        "made": f"questions by rule over `{entry.path.name if entry.path else ''}`, seed {entry.seed}",
        "lists": f"labelled lists: `{entry.path.name if entry.path else ''}`",
        "triplets": "Hindsight's training triplets",
        "export": f"a server's export, with its owner's consent: “{entry.consent}”; "
        f"{len(entry.opted_out)} people who opted out were left out",
    }[entry.kind]
    return f"- {what}; task `{entry.task}`; licence: {entry.license}"


def _phase(phase: Phase) -> str:
    if phase.merge:
        return f"- phase `{phase.name}`: merge of {', '.join(phase.merge.of)}, {phase.merge.steps} steps of search"
    return (
        f"- phase `{phase.name}`: loss `{phase.loss}`, {phase.epochs:g} epochs, {phase.batch} lists a step, "
        f"learning rate {phase.learning_rate:g} ({phase.scheduler})"
    )
