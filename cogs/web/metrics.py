"""The memory's state as Prometheus reads it, collected when it asks; nothing here names a person or a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from cogs.memory.recall.latency import BUCKETS, Histogram


@dataclass(frozen=True, slots=True)
class Reading:
    """What is measured at one moment. Bytes, seconds and counts; ``stages`` maps a stage to its histogram.

    ``gateway_seconds`` and ``reconnects`` are of the connection to Discord, ``None`` where there is none.
    """

    ready: bool
    messages: int
    queue: int
    vectors: int
    index_bytes: int
    database_bytes: int
    process_bytes: int
    profile: str
    embedder: str
    reranker: str
    uptime: float
    stages: Mapping[str, Histogram] = field(default_factory=dict)
    degraded: Mapping[str, int] = field(default_factory=dict)
    gateway_seconds: float | None = None
    reconnects: int | None = None
    feed_lag_seconds: float | None = None


class MemoryCollector:
    """Turns a :class:`Reading` into Prometheus's families; ``latest`` returns the newest one."""

    def __init__(self, latest: Callable[[], Reading | None]) -> None:
        self._latest = latest

    def collect(self) -> Iterator[Metric]:
        """Yield every family that the reading has a figure of."""
        reading = self._latest()
        if reading is None:
            return
        gauges = {
            "mneme_ready": ("Whether questions can be answered now.", float(reading.ready)),
            "mneme_messages": ("Messages that are remembered.", reading.messages),
            "mneme_queue_messages": ("Messages that wait for their vector.", reading.queue),
            "mneme_index_vectors": ("Vectors in memory.", reading.vectors),
            "mneme_index_bytes": ("Size of the vectors in memory.", reading.index_bytes),
            "mneme_database_bytes": ("Size of the database.", reading.database_bytes),
            "mneme_process_resident_bytes": ("Memory of the process, models included.", reading.process_bytes),
            "mneme_uptime_seconds": ("Time since the start.", reading.uptime),
            "mneme_gateway_latency_seconds": ("Discord's answer to the last heartbeat.", reading.gateway_seconds),
            "mneme_feed_lag_seconds": ("How far this process is behind the others' changes.", reading.feed_lag_seconds),
        }
        for name, (text, value) in gauges.items():
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)
        if reading.reconnects is not None:
            yield CounterMetricFamily(
                "mneme_gateway_reconnects", "Connections to Discord after the first.", value=reading.reconnects
            )
        degraded = CounterMetricFamily(
            "mneme_degraded_answers", "Answers that were not in the reranker's order.", labels=["reason"]
        )
        for reason, count in reading.degraded.items():
            degraded.add_metric([reason], count)
        yield degraded
        stages = HistogramMetricFamily("mneme_stage_seconds", "Time of a recall by stage.", labels=["stage"])
        for stage, histogram in reading.stages.items():
            stages.add_metric([stage], buckets=_cumulative(histogram), sum_value=histogram.seconds)
        yield stages
        yield InfoMetricFamily(
            "mneme_models",
            "The models in use.",
            value={"profile": reading.profile, "embedder": reading.embedder, "reranker": reading.reranker},
        )


def exposition(latest: Callable[[], Reading | None]) -> Callable[[], bytes]:
    """Return a function that writes the newest reading in Prometheus's text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MemoryCollector(latest))
    return lambda: generate_latest(registry)


def _cumulative(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(str, BUCKETS), "+Inf"]
    total, buckets = 0, []
    for bound, count in zip(bounds, histogram.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
