"""How the benchmarks measure: paths in turns within one process, the machine's matrix rate, memory in fresh processes.

The machine may be shared, and what else runs on it slows all paths down alike. So the paths take turns, and a ratio
compares two times of the same round.
"""

from __future__ import annotations

import gc
import importlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import torch

from cogs.memory.errors import MnemeError
from config.settings import PROJECT_DIR

PROJECT: Final = PROJECT_DIR
Dtype = Literal["float32", "bfloat16", "int8"]
Config = dict[str, Any]
Run = Callable[[], Any]


class BenchError(MnemeError):
    """A benchmark cannot be run as asked; the message is one sentence."""


class BenchModule(Protocol):
    """What a module with paths offers, so that a fresh process can run one of them."""

    def build(self, path: str, config: Config) -> Run:
        """Load what a path needs and return what is timed."""


@dataclass(frozen=True, slots=True)
class PathPlan:
    """One path of a benchmark. ``baseline`` is the path that its ratio is against; ``dtype`` of its dense layers."""

    name: str
    baseline: str
    dtype: Dtype | None = None


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory that a process held, what its imports alone took, and what it held on a GPU, all in MiB."""

    rss: float
    imports: float
    gpu: float | None = None


@dataclass
class PathFigures:
    """What was measured of one path; times in seconds, memory in MiB, ``matrix_share`` in [0, 1].

    ``cpu_ratio`` is the ratio in processor time of all threads, which other programs on the machine hardly change.
    """

    seconds: float
    spread: tuple[float, float]
    ratio: float
    ratio_spread: tuple[float, float]
    max_difference: float | None = None
    peak_rss_mb: float | None = None
    matrix_share: float | None = None
    cpu_ratio: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def note_memory(self, peak: Peak) -> None:
        """Keep what the path's own process held."""
        self.peak_rss_mb, self.facts["imports_rss_mb"] = peak.rss, peak.imports
        if peak.gpu is not None:
            self.facts["peak_gpu_mb"] = peak.gpu

    def as_json(self) -> dict[str, Any]:
        """Return the figures under the names that ``--json`` prints."""
        values: dict[str, Any] = {
            "seconds": _short(self.seconds),
            "ratio": _short(self.ratio),
            "max_difference": None if self.max_difference is None else _short(self.max_difference),
            "peak_rss_mb": None if self.peak_rss_mb is None else round(self.peak_rss_mb),
            "seconds_spread": [_short(x) for x in self.spread],
            "ratio_spread": [_short(x) for x in self.ratio_spread],
        }
        if self.cpu_ratio is not None:
            values["cpu_ratio"] = _short(self.cpu_ratio)
        if self.matrix_share is not None:
            values["matrix_share"] = _short(self.matrix_share)
        return {**values, **self.facts}


@dataclass
class Timings:
    """Times by path and round (on the clock, and of the processor), and the matrix rate of each round by precision."""

    seconds: dict[str, list[float]]
    cpu: dict[str, list[float]]
    rates: dict[Dtype, list[float]]
    results: dict[str, Any]

    def figures(self, plan: PathPlan, operations: float | None = None, device: str = "cpu") -> PathFigures:
        """Return a path's figures. ``operations`` is the least that the task takes, for the share of the rate."""
        own, base = self.seconds[plan.name], self.seconds[plan.baseline]
        rounds = min(len(own), len(base))
        ratios = [base[i] / own[i] for i in range(rounds)]
        share = None
        if operations is not None and plan.dtype in self.rates:
            rates = self.rates[plan.dtype]
            # In processor time: what other programs take of the clock is no fault of the path.
            times, threads = (self.cpu[plan.name], torch.get_num_threads()) if device == "cpu" else (own, 1)
            share = statistics.median(operations * threads / (rates[i % len(rates)] * s) for i, s in enumerate(times))
        return PathFigures(
            seconds=statistics.median(own),
            spread=(min(own), max(own)),
            ratio=statistics.median(ratios),
            ratio_spread=(min(ratios), max(ratios)),
            matrix_share=share,
            cpu_ratio=self.ratio(plan.name, plan.baseline, cpu=True),
        )

    def ratio(self, path: str, baseline: str, *, cpu: bool = False) -> float:
        """Return the median over rounds of how many times as fast ``path`` is as ``baseline``."""
        times = self.cpu if cpu else self.seconds
        pairs = zip(times[baseline], times[path], strict=False)
        return statistics.median(base / own for base, own in pairs)


def interleave(
    runs: Mapping[str, Run],
    rounds: int,
    *,
    rates: Sequence[Dtype] = (),
    warm_up: bool = True,
    device: str = "cpu",
    say: Callable[[str], None] = lambda _: None,
) -> Timings:
    """Run every path once in each round, the order turned round every time, and keep the last results.

    A first, untimed turn warms caches and compiled kernels. What is run has to wait for its ``device``; the matrix rate
    is that device's.

    Args:
        runs: what to run, by the name of its path.
        rounds: how often each path is timed.
        rates: the types whose matrix rate is measured in each round.
        warm_up: whether a first, untimed turn warms caches and compiled kernels.
        device: what the runs wait for, and whose matrix rate is measured.
        say: called with one sentence for each step, for a progress line.
    """
    names = list(runs)
    timings = Timings({name: [] for name in names}, {name: [] for name in names}, {dtype: [] for dtype in rates}, {})
    gc.collect()
    gc.freeze()  # what is there already needs no walk before each run
    try:
        for number in range(-1 if warm_up else 0, rounds):
            if number >= 0:
                for dtype in rates:
                    timings.rates[dtype].append(matrix_rate(dtype, device=device))
            for name in names if number % 2 == 0 else reversed(names):
                gc.collect()
                cpu, start = time.process_time(), time.perf_counter()
                timings.results[name] = runs[name]()
                passed, used = time.perf_counter() - start, time.process_time() - cpu
                if number >= 0:
                    timings.seconds[name].append(passed)
                    timings.cpu[name].append(max(used, 1e-9))
                say(f"{'warm-up' if number < 0 else f'round {number + 1} of {rounds}'}: {name}: {passed:.3f} s")
    finally:
        gc.unfreeze()
    return timings


@torch.inference_mode()
def matrix_rate(dtype: Dtype, seconds: float = 0.25, device: str = "cpu") -> float:
    """Return the machine's rate of dense products in operations a second.

    The best of several runs: what the dense layers could reach at most. On a processor of (1024, 1024) × (1024, 3072),
    a reranker's shapes; on a GPU of (8192, 4096) × (4096, 4096), which fill it.
    """
    shape = (1024, 1024, 3072) if device == "cpu" else (8192, 4096, 4096)
    if dtype == "int8":
        left = torch.randint(-127, 127, (shape[0], shape[1]), dtype=torch.int8, device=device)
        right = torch.randint(-127, 127, (shape[2], shape[1]), dtype=torch.int8, device=device).t()

        def product() -> None:
            torch._int_mm(left, right)
    else:
        precision = torch.float32 if dtype == "float32" else torch.bfloat16
        a = torch.randn(shape[0], shape[1], device=device).to(precision)
        b = torch.randn(shape[2], shape[1], device=device).to(precision)

        def product() -> None:
            torch.nn.functional.linear(a, b)

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    product()
    wait()
    best = math.inf
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        product()
        wait()
        now = time.perf_counter()
        best = min(best, now - start)
        if now >= end:
            return 2.0 * shape[0] * shape[1] * shape[2] / best


def peak_memory(module: str, path: str, config: Config) -> Peak:
    """Run a path once in a process of its own and return its peaks.

    Raises:
        BenchError: the process failed; the sentence holds its last line.
    """
    task = json.dumps({"module": module, "path": path, "config": config})
    done = subprocess.run(
        [sys.executable, "-m", "cogs.bench.measure"],
        input=task,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"The path {path} failed in its own process: {(done.stderr.strip() or '?').splitlines()[-1]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return Peak(**figures)


def own_peak_mb() -> float:
    """Return this process's peak of resident memory in MiB.

    Not ``ru_maxrss``: that a child inherits from whoever started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on; the load says whether the machine was shared."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return {
        **gpu,
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": [round(x, 1) for x in os.getloadavg()],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _child() -> None:
    task = json.loads(sys.stdin.read())
    module: BenchModule = importlib.import_module(task["module"])
    torch.set_num_threads(int(task["config"].get("threads") or torch.get_num_threads()))
    imports = own_peak_mb()
    module.build(task["path"], task["config"])()
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    print(json.dumps({"rss": own_peak_mb(), "imports": imports, "gpu": gpu}))


if __name__ == "__main__":
    _child()
