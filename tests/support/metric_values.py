"""Reads /v1/metrics and gives single values."""

from typing import Any

import httpx


class MetricValues:
    """One look at all metrics; of histograms only `_count` and `_sum`."""

    def __init__(self, families: list[dict[str, Any]]) -> None:
        self._series: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in families:
            for series in family["series"]:
                if family["type"] == "histogram":
                    self._add(family["name"] + "_count", series["labels"], series["count"])
                    self._add(family["name"] + "_sum", series["labels"], series["sum"])
                else:
                    self._add(family["name"], series["labels"], series["value"])

    def _add(self, name: str, labels: dict[str, str], value: float) -> None:
        self._series.setdefault(name, []).append((labels, value))

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """All series that have these labels, by the values of all their labels in the table's order; zeros left out."""
        return {
            tuple(own.values()): value
            for own, value in self._series.get(name, [])
            if value and labels.items() <= own.items()
        }

    def one(self, name: str, **labels: str) -> float:
        """The sum over the series that have these labels."""
        return sum(self.of(name, **labels).values())


async def values(client: httpx.AsyncClient) -> MetricValues:
    return MetricValues((await client.get("/v1/metrics")).raise_for_status().json()["metrics"])
