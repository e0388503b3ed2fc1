"""Rows of the results table that say what is known of the uncertainty of one case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from medreg.inference.posterior_summary import Interval, PosteriorSummary
from medreg.metrics.rows import MetricRow, row, rows_with_mean
from medreg.metrics.runtime import RuntimeUsage


def summary_rows(summary: PosteriorSummary, sd_mm: Tensor, mask: Tensor | None) -> Iterator[MetricRow]:
    """Rows of spread, folds, overlap and volumes over the samples.

    Args:
        summary: of the case.
        sd_mm: (P, *S) root of the summed variances of the components, mm.
        mask: (P, 1, *S) where the spread counts; None for everywhere.
    """
    inside = sd_mm if mask is None else sd_mm[mask[:, 0].to(sd_mm.device) != 0]
    yield row("all", "displacement_sd_mm", float(inside.double().mean()))
    yield row("all", "displacement_sd_max_mm", float(inside.max()) if inside.numel() else float("nan"))
    folds = torch.tensor([numbers.folding_percent for numbers in summary.numbers], dtype=torch.float64)
    yield row("all", "sample_folding_percent", float(folds.mean()))
    yield row("all", "sample_folding_max_percent", float(folds.max()))
    dice = {name: found for name in summary.labels if (found := summary.dice(name)) is not None}
    yield from _intervals("sample_dice{}", dice)
    volumes = {name: summary.volume_ml(name) for name in summary.labels}
    for name, volume in volumes.items():
        for word, value in zip(("", "_low", "_high"), volume, strict=True):
            yield row(name, f"sample_volume{word}_ml", value)


def _intervals(metric: str, found: Mapping[str, Interval]) -> Iterator[MetricRow]:
    """Rows of a mean and the ends of its interval, by structure."""
    if not found:
        return
    for place, word in enumerate(("", "_low", "_high")):
        yield from rows_with_mean(metric.format(word), {name: ends[place] for name, ends in found.items()})


def cost_of_samples(summary: PosteriorSummary, usage: RuntimeUsage) -> Iterator[MetricRow]:
    """Rows of the number of samples and how fast they came, everything before the first included."""
    yield row("all", "samples", float(summary.count))
    yield row("all", "samples_per_second", summary.count / usage.time_s if usage.time_s > 0 else float("nan"))
