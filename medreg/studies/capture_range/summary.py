"""What the rows say: success, capture range, accuracy, and the shape of landscapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medreg.metrics.landscape import far_field_fraction, lowest
from medreg.reporting.statistics import Interval, bootstrap_mean

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Criterion:
    """When a registration counts as successful, and a bin as captured.

    Attributes:
        final: largest residual of a success, pixels or mm.
        share: least share of successes in a captured bin.
        resamples: of the bootstrap.
        level: of its intervals, such as 0.95.
        seed: of its draws.
    """

    final: float
    share: float
    resamples: int
    level: float
    seed: int

    def interval(self, values: Curve) -> Interval:
        """Mean of values, one a case, with its bootstrap interval; NaN ends for fewer than two."""
        return bootstrap_mean(values, confidence=self.level, seed=self.seed, resamples=self.resamples)


def bins_table(starts: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    """One row per measure, family and bin: count, success with its interval, median and mean residual, M17.

    Intervals are percentiles of a bootstrap over cases, since starts of one case are not independent.
    """
    found = []
    for keys, group in starts.groupby(["measure", "title", "family", "low", "high"], sort=False):
        success = criterion.interval(success_by_case(group, criterion))
        found.append(
            {
                **dict(zip(("measure", "title", "family", "low", "high"), keys, strict=True)),
                "starts": len(group),
                "success": float((group["final"] <= criterion.final).mean()),
                "success_low": success.low,
                "success_high": success.high,
                "median_final": float(group["final"].median()),
                "mean_final": float(group["final"].mean()),
                "median_start": float(group["start"].median()),
                "energy_fell": float((group["energy_final"] <= group["energy_start"]).mean()),
                "inside": float(group["inside"].mean()),
                "cpu_seconds": float(group["cpu_seconds"].mean()),
            }
        )
    return pd.DataFrame(found)


def capture_ranges(bins: pd.DataFrame, criterion: Criterion) -> pd.DataFrame:
    """Upper edge of the largest bin such that it and every smaller one is captured; 0 where none is.

    One row per measure and family, with the pooled success of all bins, and the median residual where the
    measure captures.
    """
    found = []
    for (measure, title, family), group in bins.groupby(["measure", "title", "family"], sort=False):
        ordered = group.sort_values("low")
        captured = (ordered["success"] >= criterion.share).to_numpy()
        held = int(np.argmin(captured)) if not captured.all() else len(captured)
        found.append(
            {
                "measure": measure,
                "title": title,
                "family": family,
                "capture_range": float(ordered["high"].iloc[held - 1]) if held else 0.0,
                "success": float(np.average(ordered["success"], weights=ordered["starts"])),
                "median_final_first_bin": float(ordered["median_final"].iloc[0]),
                "largest_bin": float(ordered["high"].iloc[-1]),
            }
        )
    return pd.DataFrame(found)


def success_by_case(group: pd.DataFrame, criterion: Criterion) -> Curve:
    """(cases,) share of successes of each case."""
    success = (group["final"] <= criterion.final).astype(float)
    return np.asarray(success.groupby(group["case"]).mean(), dtype=np.float64)


def differences(starts: pd.DataFrame, reference: str, criterion: Criterion) -> pd.DataFrame:
    """Success of each measure minus that of a reference, bin by bin, with intervals paired by case (M14).

    Only starts that both measures have are compared.
    """
    found = []
    keys = ["family", "low", "high"]
    start = [*keys, "case", "draw", "start"]
    base = starts[starts["measure"] == reference][[*start, "final"]]
    for measure in starts["measure"].unique():
        if measure == reference:
            continue
        pairs = starts[starts["measure"] == measure].merge(base, on=start, suffixes=("", "_reference"))
        good, other = (pairs[name] <= criterion.final for name in ("final", "final_reference"))
        pairs = pairs.assign(gain=good.astype(float) - other.astype(float))
        for key, group in pairs.groupby(keys, sort=False):
            gains = np.asarray(group.groupby("case")["gain"].mean(), dtype=np.float64)
            gain = criterion.interval(gains)
            found.append(
                {
                    "measure": measure,
                    "reference": reference,
                    **dict(zip(keys, key, strict=True)),
                    "starts": len(group),
                    "difference": gain.mean,
                    "low_end": gain.low,
                    "high_end": gain.high,
                }
            )
    return pd.DataFrame(found)


def landscape_table(landscapes: pd.DataFrame) -> pd.DataFrame:
    """Far-field fraction, bias and basin width of the mean curve of each measure and family."""
    found = []
    for (measure, title, family), group in landscapes.groupby(["measure", "title", "family"], sort=False):
        curve = group.groupby("value")["energy"].mean().sort_index()
        values, energies = curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float)
        low, high = basin(values, energies)
        found.append(
            {
                "measure": measure,
                "title": title,
                "family": family,
                "far_field_fraction": far_field_fraction(values, energies),
                "bias": abs(lowest(values, energies)),
                "basin_low": low,
                "basin_high": high,
                "cases": int(group["case"].nunique()),
            }
        )
    return pd.DataFrame(found)


def basin(values: Curve, energies: Curve) -> tuple[float, float]:
    """Ends of the widest interval around the minimum on each side of which the curve rises all the way."""
    bottom = int(np.argmin(energies))
    low = bottom
    while low > 0 and energies[low - 1] > energies[low]:
        low -= 1
    high = bottom
    while high < len(energies) - 1 and energies[high + 1] > energies[high]:
        high += 1
    return float(values[low]), float(values[high])
