"""``python bot.py bench …``. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cogs.bench.families import FAMILIES
from cogs.commands.options import one_of

if TYPE_CHECKING:
    from cogs.bench.report import Bench

bench_app = typer.Typer(
    help="Measure Mneme against the published code and its peers, interleaved, on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app = bench_app

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Small sizes and one round: does it run, is it exact?")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Also write JSON, Markdown and plots into this folder.")]
RoundsOption = Annotated[int | None, typer.Option(min=1, max=1_000, help="How often each path runs.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, max=1_024, help="Threads of every path; all cores by default.")
]
MemoryOption = Annotated[bool, typer.Option(help="Measure each path's peak memory in a process of its own.")]
SweepOption = Annotated[bool, typer.Option(help="Also measure other sizes, for the plots; never with --quick.")]
Progress = Console(stderr=True, highlight=False)


def _prepare(threads: int | None = None) -> int:
    """Set logging and threads; return the threads."""
    from cogs.shell.startup import prepared

    prepared()
    # The exporters speak at length on the root logger.
    logging.getLogger().setLevel(logging.WARNING)
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def _finish(bench: Bench, as_json: bool, out: Path | None, quick: bool) -> None:
    if quick:
        bench.leave_open()
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
    messages: Annotated[
        int | None, typer.Option(min=1, max=2_000_000, help="How many messages; 1,000 by default.")
    ] = None,
    rounds: RoundsOption = None,
    threads: ThreadsOption = None,
    memory: MemoryOption = True,
) -> None:
    """SentenceTransformer.encode with its defaults against the embedding service's paths."""
    used = _prepare(threads)
    from cogs.bench import embed as bench

    count = messages or (40 if quick else 1000)
    sweep = () if quick else (10, 50, 200, 1000)
    _finish(bench.run(count, rounds or (1 if quick else 7), used, sweep=sweep, memory=memory), as_json, out, quick)


@bench_app.command()
def rerank(
    as_json: JsonFlag = False,
    quick: QuickFlag = False,
    out: OutOption = None,
    layers: Annotated[
        int | None, typer.Option(min=2, max=128, help="Layers of the Qwen3 shape; 28 by default.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, max=1_000, help="Candidates of a call; 50 by default.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, max=8_000, help="Words of a document in the median.")] = 25,
    family: Annotated[list[str] | None, typer.Option(help="qwen3, lycheemem, minilm-l6, minilm-l12; all.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Narrow layers: shows exactness, not speed.")] = False,
    published_batch: Annotated[
        int, typer.Option(min=1, max=1_000, help="Documents of a batch of the cards' code.")
    ] = 16,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    sweep: SweepOption = True,
    rounds: RoundsOption = None,
    threads: ThreadsOption = None,
    memory: MemoryOption = True,
) -> None:
    """The cards' code, sentence-transformers' CrossEncoder and Mneme's paths, on random weights of the right shape."""
    chosen_device = one_of("--device", device, ("cpu", "cuda"))
    names = tuple(one_of("--family", name, FAMILIES) for name in family or ())
    used = _prepare(threads)
    import torch

    from cogs.bench import rerank as bench
    from cogs.bench.measure import BenchError

    if chosen_device == "cuda" and not torch.cuda.is_available():
        raise BenchError("There is no NVIDIA GPU here, or this PyTorch was built without CUDA.")
    families = names or (FAMILIES if chosen_device == "cpu" else bench.GPU_FAMILIES)
    config = bench.settings(
        layers=layers or (2 if quick else 28),
        candidates=candidates or (8 if quick else 50),
        words=words,
        threads=used,
        size="tiny" if tiny else "full",
        published_batch=published_batch,
        device=chosen_device,
    )
    found = bench.run(
        config,
        families,
        rounds=rounds or (1 if quick else 3),
        candidate_sweep=(5, 10, 20, 50) if sweep and not quick else (),
        length_sweep=(5, 25, 100) if sweep and not quick else (),
        memory=memory,
        say=lambda line: Progress.print(line, style="dim"),
    )
    _finish(found, as_json, out, quick)


@bench_app.command()
def search(
    as_json: JsonFlag = False,
    quick: QuickFlag = False,
    out: OutOption = None,
    messages: Annotated[
        int | None, typer.Option(min=100, max=2_000_000, help="How many vectors; 100,000 by default.")
    ] = None,
    database: Annotated[bool, typer.Option(help="Also measure starts and the keyword search on a database.")] = True,
    sweep: SweepOption = True,
    rounds: RoundsOption = None,
    threads: ThreadsOption = None,
    memory: MemoryOption = True,
) -> None:
    """The exact index against plain NumPy by scope; start from a snapshot against a rebuild; keywords."""
    used = _prepare(threads)
    from cogs.bench import search as bench

    count = messages or (2_000 if quick else 100_000)
    found = bench.run(
        count,
        rounds or (1 if quick else 7),
        used,
        database=database,
        sweep=tuple(n for n in (1_000, 10_000, 100_000, 300_000) if n <= 3 * count) if sweep and not quick else (),
        memory=memory,
        say=lambda line: Progress.print(line, style="dim"),
    )
    _finish(found, as_json, out, quick)


@bench_app.command("import")
def import_(
    as_json: JsonFlag = False,
    quick: QuickFlag = False,
    out: OutOption = None,
    messages: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="How many messages; 100,000 by default.")
    ] = None,
    threads: ThreadsOption = None,
    memory: MemoryOption = True,
) -> None:
    """Messages a second until all are embedded and indexed, with the time by stage."""
    used = _prepare(threads)
    from cogs.bench import ingest as bench

    count = messages or (200 if quick else 100_000)
    found = bench.run(count, used, memory=memory, say=lambda line: Progress.print(line, style="dim"))
    _finish(found, as_json, out, quick)


@bench_app.command()
def soak(
    as_json: JsonFlag = False,
    quick: QuickFlag = False,
    out: OutOption = None,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Messages a second.")] = 500,
    recalls: Annotated[float, typer.Option(min=0.1, max=10_000, help="Recalls a second.")] = 20,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=604_800, help="How long; 300 by default, 10 with --quick.")
    ] = None,
    profile: Annotated[str, typer.Option(help="The hardware profile.")] = "minimal",
    direct: Annotated[
        bool, typer.Option(help="Without Discord: straight into the memory, in this process, with the loop's lag.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """The real bot on a loopback Discord under a stream of messages and recalls: losses, latencies, memory."""
    _prepare(threads)
    from cogs.bench import soak as straight
    from cogs.bench import soak_gateway as through

    length = seconds or (10.0 if quick else 300.0)
    run = straight.run if direct else through.run
    found = run(profile, rate, recalls, length, say=lambda line: Progress.print(line, style="dim"))
    _finish(found, as_json, out, quick)


@bench_app.command()
def keywords(
    quick: QuickFlag = False,
    messages: Annotated[
        int | None, typer.Option(min=200, max=10_000_000, help="How many messages; 50,000 by default.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="An empty PostgreSQL database to compare with, as in DATABASE_URL.")
    ] = None,
) -> None:
    """Known-item search by words: the share of messages found again among the first ten, and the time it takes."""
    _prepare()
    from cogs.bench import keywords as bench
    from config.settings import load_settings

    parsed = None if url is None else load_settings(database_url=url).sqlalchemy_url
    print(json.dumps(bench.run(messages or (2_000 if quick else 50_000), parsed, Progress.print), indent=2))
