"""What a benchmark found: JSON, a table for the terminal, Markdown and plots for the repository."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cogs.bench.measure import PathFigures

COLUMNS = (
    "path",
    "seconds (spread)",
    "ratio (spread)",
    "ratio in CPU time",
    "share of matrix rate",
    "largest difference",
    "peak MB",
)
ROWS_AT_MOST = 40
"""Rows of a series' table; its picture shows every point."""


@dataclass(frozen=True, slots=True)
class Target:
    """What was to be reached, what was measured, and whether it was; ``met`` is ``None`` where it was not measured.

    ``exact`` tells targets that a small size shows as well as a large one, because they are about results and not
    about time or memory.
    """

    target: str
    measured: str
    met: bool | None
    exact: bool = False

    @property
    def word(self) -> str:
        """Return ``yes``, ``no`` or ``not measured``."""
        return "not measured" if self.met is None else "yes" if self.met else "no"


@dataclass(frozen=True, slots=True)
class Series:
    """One plot: a line for each path over ``xs``; points that were not measured are ``None``."""

    title: str
    x_label: str
    y_label: str
    xs: tuple[float, ...]
    lines: Mapping[str, Sequence[float | None]]
    logarithmic: bool = True


@dataclass
class Bench:
    """One benchmark's outcome. ``notes`` are sentences that a reader of the figures must know."""

    name: str
    paths: dict[str, PathFigures]
    machine: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)

    def leave_open(self) -> None:
        """Say of every target about time or memory that it was not measured: the sizes were too small for it."""
        self.targets = [t if t.exact else Target(t.target, "too small a size", None) for t in self.targets]

    def as_json(self) -> dict[str, Any]:
        """Return ``{name: {"paths": …, facts}}``."""
        return {
            self.name: {
                "paths": {name: figures.as_json() for name, figures in self.paths.items()},
                "machine": self.machine,
                "notes": self.notes,
                "targets": [{"target": t.target, "measured": t.measured, "met": t.met} for t in self.targets],
                **self.facts,
            }
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table's rows under :data:`COLUMNS`."""
        return [(name, *_cells(figures)) for name, figures in self.paths.items()]

    def print(self, console: Console) -> None:
        """Print the table, the targets and the notes."""
        table = Table(title=f"bench {self.name}", title_justify="left")
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in self.rows():
            table.add_row(*row)
        console.print(table)
        if self.targets:
            reached = Table("target", "measured", "met", title="targets", title_justify="left")
            for target in self.targets:
                reached.add_row(target.target, target.measured, target.word)
            console.print(reached)
        for note in self.notes:
            console.print(f"- {note}", markup=False, highlight=False)

    def markdown(self, command: str) -> str:
        """Return the same as a Markdown page that says how it was made."""
        cpu = self.machine
        lines = [
            f"# bench {self.name}",
            "",
            f"`{command}`",
            "",
            f"{cpu['cpu']}, {cpu['cores']} cores, {cpu['threads']} threads, torch {cpu['torch']}; "
            f"load average at the start {', '.join(map(str, cpu['load_average']))}.",
            "",
            *[f"- {note}" for note in self.notes],
            "",
            *_markdown(COLUMNS, self.rows()),
        ]
        if self.targets:
            rows = [(target.target, target.measured, target.word) for target in self.targets]
            lines += ["", "## Targets", "", *_markdown(("target", "measured", "met"), rows)]
        for key, series in self.series.items():
            lines += ["", f"## {series.title}", "", f"![{series.title}]({self.name}-{key}.png)", ""]
            cells: list[tuple[str, ...]] = [
                (f"{series.xs[i]:g}", *(_number(line[i]) for line in series.lines.values()))
                for i in _some(len(series.xs))
            ]
            lines += _markdown((series.x_label, *series.lines), cells)
        return "\n".join(lines) + "\n"

    def write(self, folder: Path, command: str) -> None:
        """Write ``NAME.json``, ``NAME.md`` and a picture of each series into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        found = json.dumps({"command": command, **self.as_json()}, indent=1, ensure_ascii=False)
        (folder / f"{self.name}.json").write_text(found + "\n", encoding="utf-8")
        (folder / f"{self.name}.md").write_text(self.markdown(command), encoding="utf-8")
        for key, series in self.series.items():
            plot(series, folder / f"{self.name}-{key}.png")


def _some(count: int) -> list[int]:
    """Return the places that a table shows: all of a short series; of a long one the last and evenly spread ones."""
    return sorted({*range(0, count, -(-count // ROWS_AT_MOST)), count - 1}) if count else []


def plot(series: Series, path: Path) -> None:
    """Draw the lines of a series into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=90)
    for name, line in series.lines.items():
        points = [(x, y) for x, y in zip(series.xs, line, strict=True) if y is not None]
        marker = "o" if len(points) < 30 else None
        axes.plot([x for x, _ in points], [y for _, y in points], marker=marker, markersize=4, label=name)
    axes.set(title=series.title, xlabel=series.x_label, ylabel=series.y_label)
    if series.logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _cells(figures: PathFigures) -> tuple[str, ...]:
    low, high = figures.spread
    ratio_low, ratio_high = figures.ratio_spread
    return (
        f"{_seconds(figures.seconds)} ({_seconds(low)}–{_seconds(high)})",
        f"{figures.ratio:.2f}× ({ratio_low:.2f}–{ratio_high:.2f})",
        "" if figures.cpu_ratio is None else f"{figures.cpu_ratio:.2f}×",
        "" if figures.matrix_share is None else f"{figures.matrix_share:.0%}",
        "" if figures.max_difference is None else f"{figures.max_difference:.2g}",
        "" if figures.peak_rss_mb is None else f"{figures.peak_rss_mb:,.0f}",
    )


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 0.1 else f"{value * 1000:.3g} ms"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]
