"""Rows of results, and the one vocabulary of metrics: a name means one thing and says its unit. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

SUFFIX_UNITS = {"_mm": "mm", "_ml": "ml", "_percent": "%", "_s": "s", "_mib": "MiB"}
OTHER_UNITS = {
    "mag_grad_det_j": "1/voxel",
    "rmse_image": "intensity",
    "label_nll": "nat",
    "label_entropy": "nat",
    "code_kl": "nat",
}


@dataclass(frozen=True)
class MetricRow:
    """One measured number of one case; the caller adds run, pair and method."""

    structure: str  # a structure's name, "mean" over structures, or "all" for the whole image
    metric: str
    value: float
    unit: str


def unit_of(metric: str) -> str:
    """Return the unit that the name of a metric says, "1" for none."""
    suffixed = (unit for suffix, unit in SUFFIX_UNITS.items() if metric.endswith(suffix))
    return OTHER_UNITS.get(metric) or next(suffixed, "1")


def row(structure: str, metric: str, value: float) -> MetricRow:
    """Return a row with the unit of its metric."""
    return MetricRow(structure, metric, value, unit_of(metric))


def rows_with_mean(metric: str, values: Mapping[str, float]) -> Iterator[MetricRow]:
    """Yield a row for each structure and one for the mean of those that could be scored."""
    for name, value in values.items():
        yield row(name, metric, value)
    yield row("mean", metric, mean_of_numbers(values.values()))


def mean_of_numbers(values: Iterable[float]) -> float:
    """Return the mean without the NaNs; NaN when nothing else is left."""
    numbers = [value for value in values if not math.isnan(value)]
    return math.fsum(numbers) / len(numbers) if numbers else math.nan
