"""From a predicted distribution of the displacement and the known motion to the rows and counts of one case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medreg.errors import DataError, NumericalError
from medreg.metrics.rows import MetricRow, row
from medreg.metrics.uncertainty import table
from medreg.metrics.uncertainty.gaussian import crps_gaussian, crps_samples, nees, z_scores
from medreg.metrics.uncertainty.intervals import gaussian_coverage, size_counts
from medreg.metrics.uncertainty.ranks import (
    deviation,
    gaussian_histogram,
    histogram,
    rank_counts,
    rank_coverage,
)
from medreg.metrics.uncertainty.sparsification import sparsification, spearman


@dataclass(frozen=True)
class Calibration:
    """What was measured of one case.

    Attributes:
        rows: of results.csv.
        counts: of calibration.csv, see `table.rows_for`.
    """

    rows: list[MetricRow] = field(default_factory=list)
    counts: list[table.Count] = field(default_factory=list)

    def __add__(self, other: Calibration) -> Calibration:
        return Calibration([*self.rows, *other.rows], [*self.counts, *other.counts])


@dataclass(frozen=True)
class Predicted:
    """What a method says of the displacement, voxels of the fixed grid; N is 1 or the slices of a stack.

    Attributes:
        mean: (N, D, *S).
        std: (N, D, *S), of each component.
        covariance: (N, D, D, *S) of the components of a voxel, for the ellipsoids of NEES.
        ranks: (N, D, *S) how many of the samples lie below the truth (`ranks.rank_of`).
        samples: number K of samples behind the ranks.
        probe: (K, n, D) all samples at n chosen voxels, for the score of the samples themselves.
        probe_truth: (n, D) the truth there.
    """

    mean: Tensor
    std: Tensor
    covariance: Tensor | None = None
    ranks: Tensor | None = None
    samples: int | None = None
    probe: Tensor | None = None
    probe_truth: Tensor | None = None


def displacement_calibration(
    predicted: Predicted, truth: Tensor, *, spacing_mm: Tensor, mask: Tensor | None = None
) -> Calibration:
    """Calibration of the displacement of one case against its known motion.

    Args:
        predicted: the distribution.
        truth: (N, D, *S) known motion, voxels of the fixed grid, pull direction.
        spacing_mm: (D,) voxel size.
        mask: (N, 1, *S), non-zero where the truth means something; None for everywhere.

    Raises:
        DataError: shapes that do not fit, or a mask that keeps nothing.
        NumericalError: NaN or infinity in mean or SD, or a negative SD.
    """
    _check(predicted, truth, mask)
    mean, std, true = (
        _kept(part, mask) for part in (predicted.mean, predicted.std, truth)
    )  # (voxels, D) each
    found = _intervals(mean, std, true) + _scores(mean, std, true, spacing_mm.to(mean))
    if predicted.covariance is not None:
        covariance = _kept(predicted.covariance.flatten(1, 2), mask)
        size = (len(covariance), mean.shape[1], mean.shape[1])
        found.rows.append(row("all", "nees", float(nees(true - mean, covariance.reshape(size)).mean())))
    if predicted.ranks is not None:
        found += _ranks(_kept(predicted.ranks, mask), predicted.samples)
    if predicted.probe is not None and predicted.probe_truth is not None:
        score = crps_samples(predicted.probe, predicted.probe_truth) * spacing_mm.to(predicted.probe).double()
        found.rows.append(row("all", "crps_samples_mm", float(score.mean())))
    return found


def _intervals(mean: Tensor, std: Tensor, truth: Tensor) -> Calibration:
    z = z_scores(mean, std, truth)
    coverage = gaussian_coverage(z)
    squares = float(z.square().sum())
    rows = [
        row("all", "calibration_error", coverage.error),
        row("all", "coverage_bias", coverage.bias),
        row("all", "coverage_50_percent", 100 * coverage.at(0.5)),
        row("all", "coverage_90_percent", 100 * coverage.at(0.9)),
        row("all", "z_mean", float(z.mean())),
        row("all", "z_rms", (squares / z.numel()) ** 0.5),
        row("all", "zero_sd_percent", 100 * float((std == 0).double().mean())),
    ]
    counts = [
        *table.of_coverage("coverage", coverage),
        *table.of_sizes(size_counts(z)),
        *table.of_squares(float(z.numel()), squares),
        *table.of_histogram("transform", gaussian_histogram(z)),
    ]
    return Calibration(rows, counts)


def _scores(mean: Tensor, std: Tensor, truth: Tensor, spacing_mm: Tensor) -> Calibration:
    error_mm = ((truth - mean) * spacing_mm).square().sum(1).sqrt().cpu().numpy()
    spread_mm = (std * spacing_mm).square().sum(1).sqrt().cpu().numpy()
    order = sparsification(error_mm, spread_mm)
    rows = [
        row("all", "sharpness_mm", float((std * spacing_mm).mean())),
        row("all", "crps_mm", float((crps_gaussian(mean, std, truth) * spacing_mm).mean())),
        row("all", "ause", order.ause),
        row("all", "ause_random", order.ause_random),
        row("all", "spearman_sd_error", spearman(spread_mm, error_mm)),
    ]
    return Calibration(rows, table.of_sparsification(order))


def _ranks(ranks: Tensor, samples: int | None) -> Calibration:
    if samples is None or samples < 1:
        raise DataError("Ranks of the truth need the number of samples among which they were counted.")
    counts = rank_counts(ranks, samples)
    coverage, parts = rank_coverage(counts), histogram(counts)
    rows = [
        row("all", "calibration_error_ranks", coverage.error),
        row("all", "rank_deviation", deviation(parts)),
    ]
    return Calibration(
        rows, [*table.of_coverage("coverage_ranks", coverage), *table.of_histogram("ranks", parts)]
    )


def _kept(values: Tensor, mask: Tensor | None) -> Tensor:
    """(N, C, *S) to (voxels, C) of the mask, float64."""
    rows = values.detach().movedim(1, -1)
    chosen = rows.flatten(0, -2) if mask is None else rows[mask[:, 0].to(rows.device) != 0]
    return chosen.double()


def _check(predicted: Predicted, truth: Tensor, mask: Tensor | None) -> None:
    shape = predicted.mean.shape
    given = {"std": predicted.std, "truth": truth, "ranks": predicted.ranks}
    wrong = [f"{n} {tuple(v.shape)}" for n, v in given.items() if v is not None and v.shape != shape]
    flat = (shape[0], *shape[2:])
    if mask is not None and (mask.shape[0], *mask.shape[2:]) != flat:
        wrong.append(f"mask {tuple(mask.shape)}")
    joint = predicted.covariance
    if joint is not None and joint.shape != (shape[0], shape[1], *shape[1:]):
        wrong.append(f"covariance {tuple(joint.shape)}")
    if wrong:
        raise DataError(
            f"Calibration needs everything on one grid: mean {tuple(shape)}, but {', '.join(wrong)}."
        )
    if mask is not None and not bool((mask != 0).any()):
        raise DataError("Calibration has no voxel to look at: the mask is empty. Give another mask, or none.")
    for name, values in (
        ("mean", predicted.mean),
        ("standard deviation", predicted.std),
        ("covariance", joint),
    ):
        if values is not None and not bool(torch.isfinite(values).all()):
            raise NumericalError(
                f"The {name} of the displacement holds NaN or infinity, so its calibration cannot be measured; look at "
                "the samples it was made of (fewer than two have no standard deviation)."
            )
    if bool((predicted.std < 0).any()):
        raise NumericalError("The standard deviation of the displacement is negative somewhere.")


def names() -> Iterator[str]:
    """Metrics that `displacement_calibration` may give, in order."""
    yield from (
        "calibration_error", "coverage_bias", "coverage_50_percent", "coverage_90_percent", "z_mean", "z_rms",
        "zero_sd_percent", "sharpness_mm", "crps_mm", "ause", "ause_random", "spearman_sd_error", "nees",
        "calibration_error_ranks", "rank_deviation", "crps_samples_mm",
    )  # fmt: skip
