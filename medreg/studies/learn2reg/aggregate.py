"""Aggregates of the official metric file: mean, standard deviation and the "30" of the case means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np

from medreg.data.datasets.learn2reg_config import EvaluationConfig
from medreg.studies.learn2reg.official import FOLDINGS, Values

Thirty: TypeAlias = Literal["2024", "2022"]
# Quantile of the case means that is called "30": of Dice and HD95, and of the other metrics.
THIRTY_RULES: Mapping[str, tuple[float, float]] = {"2024": (0.3, 0.7), "2022": (0.3, 0.3)}
LOW_QUANTILE = ("dice", "hd95")


def aggregates(
    cases: Mapping[str, Values], config: EvaluationConfig, *, thirty: Thirty = "2024"
) -> dict[str, dict[str, float]]:
    """Summarise the case means of every metric as the official code does.

    Args:
        cases: official values by case; cases that lack a metric are left out of its aggregates.
        config: names and kinds of the metrics.
        thirty: "2024": the code since 2024-08-01 (commit 28985b7), 0.3-quantile of Dice and HD95, 0.7-quantile
            of the log Jacobian and of TRE. "2022": the code before (commit fc713f5), the test container and
            LUMIR: 0.3-quantile of everything, and num_foldings among the aggregates.

    Returns:
        metric → {"mean", "std" (population), "30" (linear interpolation)}.
    """
    kinds = {spec.name: spec.metric for spec in config.metrics}
    if thirty == "2022" and "sdlogj" in kinds.values():
        kinds[FOLDINGS] = "sdlogj"
    low, other = THIRTY_RULES[thirty]
    out = {}
    for name, kind in kinds.items():
        means = np.array([values[name]["mean"] for values in cases.values() if name in values])
        if means.size:
            out[name] = _summary(means, low if kind in LOW_QUANTILE else other)
    return out


def _summary(means: np.ndarray[tuple[int], np.dtype[np.float64]], quantile: float) -> dict[str, float]:
    with np.errstate(invalid="ignore"):  # a lost label makes HD95 infinite, and its deviation NaN
        return {
            "mean": float(means.mean()),
            "std": float(means.std()),
            "30": float(np.quantile(means, quantile)),
        }
