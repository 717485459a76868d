"""``python bot.py bench …``. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from cogs.memory.bench.report import Bench

bench_app = typer.Typer(
    help="Measure Mneme against the published code and its peers, interleaved, on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app = bench_app

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Small sizes and one round: does it run, is it exact?")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Also write JSON, Markdown and plots into this folder.")]
RoundsOption = Annotated[int | None, typer.Option(min=1, help="How often each path runs.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of every path; all cores by default.")]
Progress = Console(stderr=True, highlight=False)


def _prepare(threads: int | None = None) -> int:
    """Set logging and threads; return the threads."""
    from cogs.memory.cli import prepared

    prepared()
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def _finish(bench: Bench, as_json: bool, out: Path | None) -> None:
    if out is not None:
        bench.write(out, "python bot.py " + shlex.join(sys.argv[1:]))
    if as_json:
        print(json.dumps(bench.as_json(), ensure_ascii=False))
    else:
        bench.print(Console() if sys.stdout.isatty() else Console(width=150))


@bench_app.command()
def embed(
    as_json: JsonFlag = False,
    quick: QuickFlag = False,
    out: OutOption = None,
    messages: Annotated[int | None, typer.Option(min=1, help="How many messages; 1,000 by default.")] = None,
    rounds: RoundsOption = None,
    threads: ThreadsOption = None,
) -> None:
    """SentenceTransformer.encode as it comes against the embedding service's paths."""
    used = _prepare(threads)
    from cogs.memory.bench import embed as bench

    count = messages or (40 if quick else 1000)
    sweep = () if quick else (10, 50, 200, 1000)
    _finish(bench.run(count, rounds or (1 if quick else 7), used, sweep=sweep), as_json, out)
