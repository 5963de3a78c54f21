"""The metrics' values, kept by prometheus-client in a registry of our own, and their texts.

The library is imported when the first value comes or is asked for (`warm` does it beforehand, on a thread): the start
of the gateway does not wait for it. Safe from all threads.
"""

import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec

from router.telemetry.table import METRICS, Metric

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MAX_SERIES: Final = 10_000
"""Of one metric. What comes with labels beyond that is not kept; a bug elsewhere must not fill memory."""


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One time series as it stands.

    Attributes:
        value: Of a counter or gauge.
        count: Observations of a histogram.
        sum: Of all that was observed.
        buckets: Observations up to each bound, by the bound; `+Inf` has all.
    """

    labels: dict[str, str]
    value: float | None = None
    count: float | None = None
    sum: float | None = None
    buckets: dict[str, float] | None = None


class MetricFamily(msgspec.Struct, frozen=True, kw_only=True):
    """A metric and its series: the same facts that /metrics has.

    Attributes:
        type: `counter`, `gauge` or `histogram`.
    """

    name: str
    type: str
    help: str
    series: list[Series]


class MetricStore:
    """Holds a value for each metric of the table and all labels that came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._registry: CollectorRegistry | None = None
        self._made: dict[str, Any] = {}
        self._num_series: dict[str, int] = {}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._followed: dict[tuple[str, tuple[str, ...]], float] = {}

    def warm(self) -> "CollectorRegistry":
        """Import the library and make the metrics; a second call does nothing."""
        with self._lock:
            if self._registry is None:
                self._registry = self._make()
            return self._registry

    def count(self, metric: Metric, amount: float, *labels: str) -> None:
        """Add to a counter."""
        child = self._child(metric, labels)
        if child is not None:
            child.inc(amount)

    def observe(self, metric: Metric, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        child = self._child(metric, labels)
        if child is not None:
            child.observe(value)

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Set a gauge."""
        child = self._child(metric, labels)
        if child is not None:
            child.set(value)

    def follow(self, metric: Metric, total: float, *labels: str) -> None:
        """Let a counter follow a sum that somebody else keeps; where that falls, it stays."""
        key = metric.name, labels
        known = self._followed.get(key, 0.0)
        if total >= known:
            self.count(metric, total - known, *labels)
            self._followed[key] = total

    def clear(self, *metrics: Metric) -> None:
        """Forget all series of some gauges."""
        self.warm()
        for metric in metrics:
            self._made[metric.name].clear()
            self._num_series[metric.name] = 0
            for key in [key for key in self._children if key[0] == metric.name]:
                del self._children[key]

    def text(self, accept: str) -> tuple[bytes, str]:
        """Write everything as a scraper accepts it: Prometheus' format or OpenMetrics; return it with its type."""
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - see the module

        encode, media_type = choose_encoder(accept)
        return encode(self.warm()), media_type

    def families(self) -> list[MetricFamily]:
        """Return everything as data."""
        found = {family.name: family.samples for family in self.warm().collect()}
        return [
            MetricFamily(
                name=metric.name,
                type=metric.kind,
                help=metric.what,
                series=_series(metric, found[metric.name.removesuffix("_total")]),
            )
            for metric in METRICS
        ]

    def _child(self, metric: Metric, labels: tuple[str, ...]) -> Any:
        key = metric.name, labels
        child = self._children.get(key)
        if child is None:
            self.warm()
            if self._num_series.get(metric.name, 0) >= MAX_SERIES:
                return None
            made = self._made[metric.name]
            self._num_series[metric.name] = self._num_series.get(metric.name, 0) + 1
            child = self._children[key] = made.labels(*labels) if metric.labels else made
        return child

    def _make(self) -> "CollectorRegistry":
        import prometheus_client as library  # noqa: PLC0415 - see the module

        library.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody reads
        registry = library.CollectorRegistry()
        kinds = {"counter": library.Counter, "gauge": library.Gauge}
        for metric in METRICS:
            if metric.kind == "histogram":
                made: Any = library.Histogram(
                    metric.name, metric.what, metric.labels, buckets=metric.bounds, registry=registry
                )
            else:
                made = kinds[metric.kind](metric.name, metric.what, metric.labels, registry=registry)
            self._made[metric.name] = made
        return registry


def _series(metric: Metric, samples: list[Any]) -> list[Series]:
    if metric.kind != "histogram":
        return [Series(labels=dict(sample.labels), value=sample.value) for sample in samples]
    gathered: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        found = gathered.setdefault(tuple(sorted(labels.items())), {"labels": labels, "buckets": {}})
        match sample.name.removeprefix(metric.name):
            case "_bucket":
                found["buckets"][sample.labels["le"]] = sample.value
            case "_count":
                found["count"] = sample.value
            case "_sum":
                found["sum"] = sample.value
    return [Series(**each) for each in gathered.values()]
