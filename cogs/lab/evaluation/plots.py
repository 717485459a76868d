"""Plots of an evaluation as PNG files."""

from __future__ import annotations

from pathlib import Path

import matplotlib

from cogs.lab.evaluation.metrics import Calibration
from cogs.lab.evaluation.report import Measured, headline
from cogs.lab.evaluation.run import STAGES

matplotlib.use("Agg")
from matplotlib import pyplot

SHOWN = ("MAP", "NDCG@10", "R@50", "accuracy@1")


def save_plots(measured: Measured, folder: Path) -> list[Path]:
    """Write the stages' plot, and the reliability plot where there is a reranker; return the files."""
    name = measured.run.dataset.name
    files = [folder / f"{name}-stages.png"]
    _stages(measured, files[0])
    if measured.run.probabilities:
        files.append(folder / f"{name}-reliability.png")
        reliability_plot(measured.calibration(), files[1], name)
    return files


def _stages(measured: Measured, file: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(7, 3.5))
    found = headline(measured)
    for place, metric in enumerate(SHOWN):
        left = [stage + (place - 1.5) * 0.2 for stage in range(len(STAGES))]
        axes.bar(left, [found[stage][metric] for stage in STAGES], width=0.2, label=metric)
    axes.set_xticks(range(len(STAGES)), STAGES)
    axes.set_ylim(0, 1)
    axes.set_title(measured.run.dataset.name)
    axes.legend(fontsize="small", ncols=len(SHOWN), loc="upper left")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def reliability_plot(found: Calibration, file: Path, title: str) -> None:
    """Draw how often messages of a probability are relevant; perfect calibration is the diagonal."""
    figure, axes = pyplot.subplots(figsize=(4, 4))
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey", linewidth=1)
    axes.plot(found.confidence, found.accuracy, marker="o")
    axes.set_xlabel("probability given")
    axes.set_ylabel("share that is relevant")
    axes.set_title(f"{title}: ECE {found.ece:.3f}")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
