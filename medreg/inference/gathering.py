"""What is kept of the samples of a displacement while they are drawn: moments, labels, and numbers of every sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from medreg.inference.posterior_summary import PosteriorSummary, SampleNumbers
from medreg.metrics.deformation import determinant, folding_percent
from medreg.metrics.masking import masked_mean
from medreg.metrics.overlap import (
    Aggregation,
    Vanished,
    dice_from_counts,
    joint_histogram,
    label_index,
    voxel_counts,
)


@dataclass(frozen=True, eq=False)
class LabelQuestion:
    """What is asked about labels.

    Attributes:
        labels: structure name → code.
        moving: (P, 1, *S_m) integers, the labels before warping.
        warp: from the displacement (P, D, *S) of one sample to the warped labels (N, 1, *S_f).
        voxel_ml: volume of a voxel of the fixed grid, ml.
        fixed: (N, 1, *S_f) labels to compare with, None for none.
        vanished: as `metrics.overlap.dice`, like aggregate.
    """

    labels: Mapping[str, int]
    moving: Tensor
    warp: Callable[[Tensor], Tensor]
    voxel_ml: float
    fixed: Tensor | None = None
    vanished: Vanished = "zero"
    aggregate: Aggregation = "per_volume"


class Gatherer:
    """A listener: told the samples of a displacement one after the other, it keeps their summary, not them.

    Samples that are not finite count as not drawn and are numbered in `left_out`: a chain that diverged leaves what it
    had sampled before.

    Args:
        pairs: P, the slices of a stack that belong to one case, or 1.
        spacing_mm: (D,) or (P, D) mm.
        mask: (P, 1, *S) within which lengths and folds are measured; None for everywhere.
        labels: what is asked about labels; None for nothing.
        keep: number of samples that are kept as they are, spread by the caller's order: the first ones of each chain.
    """

    def __init__(
        self,
        *,
        pairs: int,
        spacing_mm: Tensor,
        mask: Tensor | None = None,
        labels: LabelQuestion | None = None,
        keep: int = 0,
    ) -> None:
        self.pairs, self.spacing_mm, self.mask, self.keep = pairs, spacing_mm, mask, keep
        self.moments = Welford()
        self.labels = None if labels is None else LabelCounting(labels)
        self.numbers: list[SampleNumbers] = []
        self.samples: list[Tensor] = []
        self.left_out = 0

    def __call__(self, displacement: Tensor, transition: int) -> None:
        """Take one sample of every chain.

        Args:
            displacement: (C·P, D, *S) voxels; chain c at c·P … (c + 1)·P.
            transition: number of the sample in its chain.
        """
        for chain, sample in enumerate(displacement.detach().split(self.pairs)):
            if bool(torch.isfinite(sample).all()):
                self._take(sample, chain, transition)
            else:
                self.left_out += 1

    def _take(self, sample: Tensor, chain: int, transition: int) -> None:
        self.moments.add(sample)
        volumes, dice = ({}, {}) if self.labels is None else self.labels.add(sample)
        folds = float(folding_percent(determinant(sample), mask=self.mask).nanmean())
        numbers = SampleNumbers(
            chain, transition, _rms_mm(sample, self.spacing_mm, self.mask), folds, volumes, dice
        )
        self.numbers.append(numbers)
        if len(self.samples) < self.keep:
            self.samples.append(sample.cpu())

    def summary(self) -> PosteriorSummary | None:
        """Return what is known of the samples; None of fewer than two, which have no spread."""
        if self.moments.count < 2:
            return None
        return PosteriorSummary(
            mean=self.moments.mean.cpu(),
            covariance=self.moments.covariance().cpu(),
            numbers=tuple(self.numbers),
            labels={} if self.labels is None else dict(self.labels.question.labels),
            probabilities=None if self.labels is None else self.labels.probabilities().cpu(),
            samples=tuple(self.samples),
            left_out=self.left_out,
        )


@dataclass
class Welford:
    """Mean and covariance of fields of vectors, taken in one after the other.

    Source: Welford, Technometrics 1962.
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    products: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, sample: Tensor) -> None:
        """Take in a field (P, D, *S)."""
        if self.count == 0:
            self.mean = torch.zeros_like(sample)
            self.products = sample.new_zeros(sample.shape[0], sample.shape[1], *sample.shape[1:])
        self.count += 1
        before = sample - self.mean
        self.mean += before / self.count
        self.products += before.unsqueeze(2) * (sample - self.mean).unsqueeze(1)

    def covariance(self) -> Tensor:
        """Return (P, D, D, *S), with n − 1 in its denominator."""
        return self.products / (self.count - 1)


class LabelCounting:
    """How often each structure covers each voxel, and its volume and overlap in every sample."""

    def __init__(self, question: LabelQuestion) -> None:
        self.question, self._codes = question, list(question.labels.values())
        self._moving = voxel_counts(label_index(question.moving, self._codes), len(self._codes))
        self._fixed = None if question.fixed is None else label_index(question.fixed[:, 0], self._codes)
        self._counts: Tensor | None = None
        self._samples = 0

    def add(self, sample: Tensor) -> tuple[dict[str, float], dict[str, float]]:
        """Take in a displacement (P, D, *S); return volume (ml) and Dice of every structure."""
        index = label_index(self.question.warp(sample)[:, 0], self._codes)
        if self._counts is None:
            shape = (index.shape[0], len(self._codes), *index.shape[1:])
            self._counts = torch.zeros(shape, dtype=torch.int32, device=index.device)
        for number in range(len(self._codes)):
            self._counts[:, number] += index == number + 1
        self._samples += 1
        voxels = voxel_counts(index, len(self._codes)).sum(0)
        volumes = dict(zip(self.question.labels, (voxels * self.question.voxel_ml).tolist(), strict=True))
        return volumes, self._dice(index)

    def _dice(self, index: Tensor) -> dict[str, float]:
        if self._fixed is None:
            return {}
        question = self.question
        histogram = joint_histogram(self._fixed, index, len(self._codes))
        scores = dice_from_counts(
            histogram, self._moving, vanished=question.vanished, aggregate=question.aggregate
        )
        return dict(zip(question.labels, scores.tolist(), strict=True))

    def probabilities(self) -> Tensor:
        """Return the share of the samples in which each structure covers each voxel, (N, L, *S_f)."""
        assert self._counts is not None
        return self._counts.float() / self._samples


def feed(listeners: Sequence[Callable[[Tensor, int], None]], samples: Tensor) -> None:
    """Tell listeners the samples (K, B, D, *S) of a registration, as of one chain."""
    for number, sample in enumerate(samples):
        for listener in listeners:
            listener(sample, number)


def _rms_mm(sample: Tensor, spacing_mm: Tensor, mask: Tensor | None) -> float:
    """Root of the mean squared length of a displacement (P, D, *S), mm."""
    scale = spacing_mm.to(sample).reshape(-1, sample.shape[1], *(1,) * (sample.ndim - 2))
    squared = (sample * scale).square().sum(1)
    return float(masked_mean(squared, mask).nanmean().sqrt())
