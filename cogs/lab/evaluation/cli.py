"""``python bot.py evaluate``: how good the product's own search and rerank are, on data sets with judgements."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cogs.memory.errors import BadRequest
from cogs.shell.startup import JsonFlag, prepared, run_async
from config.settings import Settings

errors = Console(stderr=True, highlight=False)


def evaluate(
    datasets: Annotated[
        list[Path],
        typer.Argument(metavar="DATASET…", help="Folders in BEIR's layout, or files as published."),
    ],
    profile: Annotated[str | None, typer.Option(help="The profile to measure; default: this machine's.")] = None,
    reranker: Annotated[
        str | None, typer.Option(help="Instead of the profile's: a name of rerankers.yaml, or none.")
    ] = None,
    stages: Annotated[bool, typer.Option("--stages", help="Show what each stage adds.")] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="Ask only that many queries, evenly spread.")
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, max=50, help="How many hits each query asks for; it matters to an early exit.")
    ] = 50,
    turns: Annotated[bool, typer.Option(help="Pass on the conversation that a query stands in.")] = True,
    out: Annotated[Path | None, typer.Option(help="Write run.json, report.md and plots into this folder.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="RUN.json", help="Compare with the run.json of an earlier evaluation.")
    ] = None,
    as_json: JsonFlag = False,
) -> int:
    """Measure recall on data sets: MAP, NDCG, R@50 and more, by stage.

    Example: python bot.py evaluate data/evaluation/sample --stages
    """
    options = {"profile": profile, "reranker": reranker, "turns": turns, "limit": limit, "top": top}
    return run_async(_evaluate(prepared(), datasets, options, stages, out, compare, as_json))


async def _evaluate(
    settings: Settings,
    paths: list[Path],
    given: dict[str, Any],
    stages: bool,
    out: Path | None,
    compare: Path | None,
    as_json: bool,
) -> int:
    from cogs.lab.datasets.loaders import load_dataset, load_labelled

    labelled = {path: texts for path in paths if (texts := load_labelled(path)) is not None}
    loaded = [load_dataset(path) for path in paths if path not in labelled]
    names = [dataset.name for dataset in loaded] + [texts.name for texts in labelled.values()]
    if len(set(names)) < len(names):
        raise BadRequest("Two data sets have the same name; rename one of the folders.")
    # What measures them takes seconds to import, and the data sets are known to be good only now.
    from cogs.lab.evaluation import report
    from cogs.lab.evaluation.run import STAGES, Options
    from cogs.lab.evaluation.run import evaluate as measure

    options = Options(**given)
    earlier = None if compare is None else report.earlier_values(compare)
    shown = STAGES if stages else ("reranked",)
    found: dict[str, dict[str, dict[str, float]]] = {}
    measured = []
    for dataset in loaded:
        for warning in dataset.warnings:
            errors.print(f"{dataset.name}: {warning}", style="dim", markup=False)
        with Bar(dataset.name) as bar:
            measured.append(report.Measured.of(await measure(settings, dataset, options, bar)))
        found[dataset.name] = report.headline(measured[-1], shown)
        if measured[-1].run.degraded:
            errors.print(report.describe(measured[-1]), style="yellow", markup=False)
        if not as_json:
            print(_text(measured[-1], shown, earlier))
    for texts in labelled.values():
        found[texts.name] = {"reranked": _classified(settings, texts, options, as_json)}
    if len(measured) > 1 and not as_json and (sentence := report.calibrated(measured)) is not None:
        print(f"All these sets together. {sentence}")
    if out is not None:
        _write(measured, out, earlier)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    return 0


def _classified(settings: Settings, texts: Any, options: Any, as_json: bool) -> dict[str, float]:
    from cogs.lab.evaluation.classification import evaluate_classification
    from cogs.lab.evaluation.zero_shot import ZeroShot

    with ZeroShot.open(settings, options.profile, options.reranker) as classifier:
        started = time.perf_counter()
        result = evaluate_classification(texts, classifier.score)
        spent = (time.perf_counter() - started) / len(texts.texts)
    if not as_json:
        print(
            f"{texts.name}: {len(texts.texts):,} texts under {len(texts.labels)} labels with {classifier.name}: "
            f"macro F1 {result.macro_f1:.3f}, accuracy {result.accuracy:.3f}, ECE {result.calibration.ece:.3f}.\n"
        )
    return {
        "macro F1": result.macro_f1,
        "accuracy@1": result.accuracy,
        "ECE": result.calibration.ece,
        "seconds_per_query": spent,
    }


def classify(
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]…", help="Texts; standard input if none.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A label, or NAME=the sentence that says what it means; repeat it.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Read texts from this file, one a line.")] = None,
    profile: Annotated[str | None, typer.Option(help="The profile whose reranker is used.")] = None,
    reranker: Annotated[str | None, typer.Option(help="A name of rerankers.yaml instead of the profile's.")] = None,
    as_json: JsonFlag = False,
) -> int:
    """Sort texts under labels with the reranker, without training.

    Example: python bot.py classify "Where is my parcel?" --label delivery --label "payment=It is about money."
    """
    from cogs.lab.datasets.labelled_texts import parsed_labels, read_texts

    settings = prepared()
    labels = parsed_labels(label or [])
    given = [*(texts or []), *(read_texts(file) if file is not None else [])]
    if not given and file is None and not sys.stdin.isatty():
        given = [line.strip() for line in sys.stdin if line.strip()]
    if not given:
        raise BadRequest("Give texts to classify: as arguments, with --file, or on standard input.")
    from cogs.lab.evaluation.zero_shot import ZeroShot  # heavy, and needed only from here on

    with ZeroShot.open(settings, profile, reranker) as classifier:
        rows = [(text, classifier.score(text, list(labels.values()))) for text in given]
    names = list(labels)
    if as_json:
        results = [
            {
                "text": text,
                "label": names[max(range(len(names)), key=scores.__getitem__)],
                "scores": dict(zip(names, scores, strict=True)),
            }
            for text, scores in rows
        ]
        print(json.dumps({"reranker": classifier.name, "results": results}, ensure_ascii=False))
        return 0
    for text, scores in rows:
        best = max(range(len(names)), key=scores.__getitem__)
        print(f"{names[best]}  {scores[best]:.2f}  {text}")
    return 0


def _text(measured: Any, shown: Any, earlier: Any) -> str:
    from cogs.lab.evaluation import report

    parts = [report.describe(measured), report.as_text(report.stage_table(measured, shown))]
    if (sentence := report.gain(measured)) is not None:
        parts.append(sentence)
    if (sentence := report.calibrated([measured])) is not None:
        parts.append(sentence)
    categories = report.category_table(measured)
    if len(categories) > 2:
        parts.append(report.as_text(categories))
    if earlier is not None:
        changed = report.comparisons(measured, earlier)
        parts.append(
            report.as_text(report.comparison_table(changed)) if changed else "The earlier run has no such data set."
        )
    return "\n\n".join(parts) + "\n"


def _write(measured: Any, out: Path, earlier: Any) -> None:
    from cogs.lab.evaluation import report
    from cogs.lab.evaluation.plots import save_plots

    out.mkdir(parents=True, exist_ok=True)
    pages = []
    for row in measured:
        pages.append(report.markdown(row))
        changed = {} if earlier is None else report.comparisons(row, earlier)
        if changed:
            pages.append("Beside the earlier run:\n\n" + report.as_markdown(report.comparison_table(changed)) + "\n")
        save_plots(row, out)
    if len(measured) > 1 and (sentence := report.calibrated(measured)) is not None:
        pages.append(f"## All these sets together\n\n{sentence}\n")
    (out / "report.md").write_text("# Evaluation\n\n" + "\n".join(pages), encoding="utf-8")
    runs = {"runs": [report.full(row) for row in measured]}
    partial = out / "run.json.partial"
    partial.write_text(json.dumps(runs, ensure_ascii=False), encoding="utf-8")
    os.replace(partial, out / "run.json")


class Bar:
    """A progress bar on standard error, silent where that is no terminal."""

    def __init__(self, name: str) -> None:
        self._progress = Progress(
            TextColumn(name),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=errors,
            disable=not errors.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=total)
        self._progress.update(self._tasks[step], completed=done)
