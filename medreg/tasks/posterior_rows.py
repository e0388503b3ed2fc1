"""Rows of the results table that say what is known of the uncertainty of one case."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from medreg.inference.posterior_summary import PosteriorSummary
from medreg.metrics.rows import MetricRow, row, rows_with_mean
from medreg.metrics.runtime import RuntimeUsage

ENDS = ("", "_low", "_high")  # mean, and the ends of the credible interval


def summary_rows(summary: PosteriorSummary, sd_mm: Tensor, mask: Tensor | None) -> Iterator[MetricRow]:
    """Rows of spread, folds, overlap and volumes over the samples, and of how well the chains agree.

    Args:
        summary: of the case.
        sd_mm: (P, *S) root of the summed variances of the components, mm.
        mask: (P, 1, *S) where the spread counts; None for everywhere.
    """
    inside = sd_mm if mask is None else sd_mm[mask[:, 0].to(sd_mm.device) != 0]
    yield row("all", "displacement_sd_mm", float(inside.double().mean()))
    yield row("all", "displacement_sd_max_mm", float(inside.max()))
    folds = summary.numbers.values["folding_percent"]
    yield row("all", "sample_folding_percent", float(folds.mean()))
    yield row("all", "sample_folding_max_percent", float(folds.max()) if len(folds) else float("nan"))
    dice = summary.dice()
    for place, word in enumerate(ENDS):
        if dice:
            yield from rows_with_mean(
                f"sample_dice{word}", {name: ends[place] for name, ends in dice.items()}
            )
    for name, volume in summary.volumes_ml().items():
        for word, value in zip(ENDS, volume, strict=True):
            yield row(name, f"sample_volume{word}_ml", value)
    mixing = summary.mixing()
    if mixing is not None:
        yield row("all", "r_hat_max", mixing.r_hat_max)
        yield row("all", "ess_min", mixing.ess_min)


def cost_of_samples(summary: PosteriorSummary, usage: RuntimeUsage) -> Iterator[MetricRow]:
    """Rows of the number of samples and how fast they came, everything before the first included."""
    yield row("all", "samples", float(summary.count))
    yield row("all", "samples_per_second", summary.count / usage.time_s if usage.time_s > 0 else float("nan"))
