"""What a person reads of an evaluation: one JSON object, and tables as text and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cogs.lab.datasets.dataset import DatasetError
from cogs.lab.evaluation.metrics import (
    CAPPED,
    HEADLINE,
    MEASURES,
    Calibration,
    Comparison,
    PerQuery,
    bootstrap,
    calibration,
    compare,
    ece_by_chance,
    means,
    per_query,
)
from cogs.lab.evaluation.run import STAGES, Run

Table = list[list[str]]
LATENCY = "seconds_per_query"


@dataclass(frozen=True)
class Measured:
    """A run with the metrics of every query, by stage."""

    run: Run
    values: Mapping[str, PerQuery]

    @classmethod
    def of(cls, run: Run) -> Measured:
        """Measure every stage of a run."""
        return cls(run, {stage: per_query(run.qrels, run.rankings[stage]) for stage in STAGES})

    def calibration(self) -> Calibration:
        """Measure the calibration of the reranker; only for a run that had one."""
        return calibration([p for p, _ in self.run.probabilities], [label for _, label in self.run.probabilities])


def headline(measured: Measured, stages: Sequence[str] = STAGES) -> dict[str, dict[str, float]]:
    """Return ``{stage: {metric: mean}}`` with the mean seconds of a query."""
    return {
        stage: {**means(measured.values[stage]), LATENCY: float(np.mean(measured.run.seconds[stage]))}
        for stage in stages
    }


def full(measured: Measured) -> dict[str, Any]:
    """Return everything that was measured, for a file: intervals, categories, calibration, every query's values."""
    run = measured.run
    found: dict[str, Any] = {
        "dataset": run.dataset.name,
        "profile": run.profile,
        "embedder": run.embedder,
        "reranker": run.reranker,
        "messages": len(run.dataset.messages),
        "queries": len(run.queries),
        "degraded_queries": run.degraded,
        "ingest_seconds": run.ingest_seconds,
        "stages": {},
    }
    for stage in STAGES:
        values = measured.values[stage]
        spent = np.array(run.seconds[stage])
        found["stages"][stage] = {
            "metrics": {
                metric: asdict(bootstrap([row[metric] for row in values.values()])) for metric in (*MEASURES, CAPPED)
            },
            "categories": {name: means(rows) | {"queries": len(rows)} for name, rows in _by_category(run, values)},
            "seconds": {"mean": float(spent.mean())} | {f"p{p}": float(np.percentile(spent, p)) for p in (50, 95, 99)},
            "per_query": values,
        }
    if run.probabilities:
        mean, most = ece_by_chance([p for p, _ in run.probabilities])
        found["calibration"] = asdict(measured.calibration()) | {"ece_by_chance": mean, "ece_by_chance_95": most}
    return found


def _by_category(run: Run, values: PerQuery) -> list[tuple[str, PerQuery]]:
    groups: dict[str, PerQuery] = {}
    for query in run.queries:
        groups.setdefault(query.category or "none", {})[query.id] = values[query.id]
    return sorted(groups.items())


def stage_table(measured: Measured, stages: Sequence[str] = STAGES) -> Table:
    """Return a table with one row per stage; MAP with its 95 % interval."""
    rows = [["stage", *HEADLINE, "MAP 95 %", "ms/query"]]
    for stage, metrics in headline(measured, stages).items():
        span = bootstrap([row["MAP"] for row in measured.values[stage].values()])
        rows.append(
            [
                stage,
                *(f"{metrics[metric]:.3f}" for metric in HEADLINE),
                f"{span.low:.3f}–{span.high:.3f}",
                f"{1000 * metrics[LATENCY]:.0f}",
            ]
        )
    return rows


def category_table(measured: Measured, stage: str = "reranked") -> Table:
    """Return a table of one stage with one row per category of queries."""
    rows = [["category", "queries", *HEADLINE]]
    for name, values in _by_category(measured.run, measured.values[stage]):
        found = means(values)
        rows.append([name, str(len(values)), *(f"{found[metric]:.3f}" for metric in HEADLINE)])
    return rows


def as_text(table: Table) -> str:
    """Return a table in columns, numbers to the right."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(pairs))
        for pairs in ([*zip(row, widths, strict=True)] for row in table)
    ]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(table: Table) -> str:
    """Return a table in Markdown."""
    head, *rows = ([cell.replace("|", "\\|") for cell in row] for row in table)
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def describe(measured: Measured) -> str:
    """Return one sentence on what was measured and with what."""
    run = measured.run
    sentence = (
        f"{run.dataset.name}: {len(run.queries):,} queries over {len(run.dataset.messages):,} messages, "
        f"profile {run.profile}, reranker {run.reranker or 'none'}."
    )
    if run.degraded:
        sentence += f" {run.degraded:,} queries are in fused order because the reranker failed on them."
    return sentence


def gain(measured: Measured) -> str | None:
    """Return one sentence on what reranking adds to the fused order, question by question; None without a reranker."""
    if measured.run.reranker is None:
        return None
    before, after = (
        {query: row["MAP"] for query, row in measured.values[stage].items()} for stage in ("fused", "reranked")
    )
    found = compare(before, after)
    return (
        f"Reranking changes MAP by {found.difference.mean:+.3f} (95 %: {found.difference.low:+.3f} to "
        f"{found.difference.high:+.3f}; paired test p = {found.p_value:.4f}); better for {found.wins:,} questions, "
        f"worse for {found.losses:,} of {found.queries:,}."
    )


def calibrated(measured: Sequence[Measured]) -> str | None:
    """Return one sentence on the reranker's probabilities over all these sets; None without a reranker.

    It compares the calibration error with the one that perfectly calibrated probabilities would show by chance.
    """
    pairs = [pair for row in measured for pair in row.run.probabilities]
    if not pairs:
        return None
    found = calibration([p for p, _ in pairs], [label for _, label in pairs])
    mean, most = ece_by_chance([p for p, _ in pairs])
    return (
        f"Calibration of the reranker over {len(pairs):,} scored messages: ECE {found.ece:.3f} (perfectly calibrated "
        f"probabilities would show {mean:.3f} by chance, and less than {most:.3f} in 95 % of draws)."
    )


def markdown(measured: Measured) -> str:
    """Return the report of one data set in Markdown."""
    parts = [f"## {measured.run.dataset.name}", describe(measured), as_markdown(stage_table(measured))]
    if (sentence := gain(measured)) is not None:
        parts.append(sentence)
    if len(_by_category(measured.run, measured.values["reranked"])) > 1:
        parts += ["By category, the final order:", as_markdown(category_table(measured))]
    if (sentence := calibrated([measured])) is not None:
        parts.append(sentence)
    parts += [f"- {warning}" for warning in measured.run.dataset.warnings]
    return "\n\n".join(parts) + "\n"


def earlier_values(file: Path) -> dict[str, dict[str, PerQuery]]:
    """Read ``{dataset: {stage: {query: {metric: value}}}}`` of a run that ``--out`` wrote.

    Raises:
        DatasetError: the file is no such run.
    """
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return {
            row["dataset"]: {stage: found["per_query"] for stage, found in row["stages"].items()}
            for row in rows["runs"]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{file} is no run.json of an earlier evaluation ({type(error).__name__}).") from error


def comparisons(
    measured: Measured, earlier: Mapping[str, Mapping[str, PerQuery]], metrics: Sequence[str] = HEADLINE
) -> dict[str, Comparison]:
    """Compare the final order with an earlier run's on the same data set, metric by metric; empty if it has none."""
    before = earlier.get(measured.run.dataset.name, {}).get("reranked")
    if before is None:
        return {}
    now = measured.values["reranked"]
    return {
        metric: compare(
            {query: row[metric] for query, row in before.items()}, {query: row[metric] for query, row in now.items()}
        )
        for metric in metrics
    }


def comparison_table(found: Mapping[str, Comparison]) -> Table:
    """Return a table of what changed since an earlier run."""
    rows = [["metric", "change", "95 %", "p", "better", "worse", "queries"]]
    for metric, row in found.items():
        rows.append(
            [
                metric,
                f"{row.difference.mean:+.3f}",
                f"{row.difference.low:+.3f} … {row.difference.high:+.3f}",
                f"{row.p_value:.4f}",
                str(row.wins),
                str(row.losses),
                str(row.queries),
            ]
        )
    return rows
