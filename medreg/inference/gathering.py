"""What is kept of the samples of a displacement while they are drawn: moments, labels, and numbers of every sample."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from medreg.inference.posterior_summary import PosteriorSummary, SampleNumbers
from medreg.inference.sampling.draw import Draw
from medreg.inference.sampling.streaming import LabelCounts, Moments, Probe, Ranks
from medreg.metrics.deformation import determinant, folding_percent
from medreg.metrics.masking import masked_mean


@dataclass(frozen=True, eq=False)
class LabelQuestion:
    """What is asked about labels.

    Attributes:
        counts: takes in the field of every sample, of one pair: a stack of slices is a volume to it.
        field: from the displacement (P, D, *S) of one sample to that field (1, 3, *S_f), or (1, 2, *S_f).
    """

    counts: LabelCounts
    field: Callable[[Tensor], Tensor]


class Gatherer:
    """A listener: told the samples of the displacement of one case, it keeps their summary, not them.

    A slot that is not finite counts as stopped: a chain that diverged leaves what it had sampled before. Moments, ranks
    and probe take every slot for itself; numbers of whole samples, such as volumes, need all slices of a chain.

    Args:
        pairs: P, the slices of a stack that belong to the case, or 1.
        spacing_mm: (D,) or (P, D) mm.
        mask: (P, 1, *S) within which lengths and folds are measured; None for everywhere.
        labels: what is asked about labels; None for nothing.
        truth: (P, D, *S) the known motion, voxels, for ranks; None where it is not known.
        probe: keeps whole chains at some voxels; None for none.
        keep: number of samples that are kept as they are, the first that are told.
    """

    def __init__(
        self,
        *,
        pairs: int,
        spacing_mm: Tensor,
        mask: Tensor | None = None,
        labels: LabelQuestion | None = None,
        truth: Tensor | None = None,
        probe: Probe | None = None,
        keep: int = 0,
    ) -> None:
        self.pairs, self.spacing_mm, self.mask, self.keep = pairs, spacing_mm, mask, keep
        self.moments, self.labels, self.probe = Moments(pairs=pairs), labels, probe
        self.ranks = None if truth is None else Ranks(truth)
        self.samples: list[Tensor] = []
        self.left_out = 0
        self._numbers: dict[str, list[float]] = {}

    def __call__(self, draw: Draw) -> None:
        """Take in one sample (C·P, D, *S), voxels, of every chain, chain c at c·P … (c + 1)·P."""
        draw = self._checked(draw)
        if not draw.alive.any():
            return
        for listener in (self.moments, self.ranks, self.probe):
            if listener is not None:
                listener(draw)
        for chain, alive in enumerate(draw.alive.split(self.pairs)):
            if bool(alive.all()):
                self._take(draw, chain)

    def _checked(self, draw: Draw) -> Draw:
        """The draw with the slots that are finite."""
        finite = torch.isfinite(draw.field.detach().flatten(1).sum(1)).cpu()
        self.left_out += int((draw.alive & ~finite).sum())
        return replace(draw, field=draw.field.detach(), alive=draw.alive & finite)

    def _take(self, draw: Draw, chain: int) -> None:
        """Note the numbers of one whole sample."""
        slots = slice(chain * self.pairs, (chain + 1) * self.pairs)
        sample = draw.field[slots]
        values = {
            "chain": chain,
            "transition": draw.transition,
            "energy": float(draw.energies[slots].detach().double().sum()),
            "length_mm": _rms_mm(sample, self.spacing_mm, self.mask),
            "folding_percent": float(folding_percent(determinant(sample), mask=self.mask).nanmean()),
        }
        for name, value in values.items():
            self._numbers.setdefault(name, []).append(float(value))
        if self.labels is not None:
            self.labels.counts.add(0, self.labels.field(sample)[0], slot=chain)
        if len(self.samples) < self.keep:
            self.samples.append(sample.cpu().clone())

    @property
    def count(self) -> int:
        """Number of samples that every slice has at least."""
        return min(self.moments.count)

    def mean(self) -> Tensor:
        """Mean of the samples so far, (P, D, *S) voxels.

        Raises:
            CompositionError: there is none.
        """
        return self.moments.mean().clone()

    def summary(self) -> PosteriorSummary | None:
        """Return what is known of the samples; None of fewer than two, which have no spread."""
        if self.count < 2:
            return None
        counts = None if self.labels is None or not min(self.labels.counts.count) else self.labels.counts
        scored = counts is not None and counts.state()["dice"] != [[]]
        equal = len(set(self.moments.count)) == 1
        return PosteriorSummary(
            mean=self.mean().cpu(),
            covariance=self.moments.covariance().cpu(),
            count=sum(self.moments.count) / self.pairs,
            numbers=SampleNumbers(
                {name: torch.tensor(values, dtype=torch.float64) for name, values in self._numbers.items()},
                None if counts is None else counts.sizes(),
                counts.dice() if counts is not None and scored else None,
            ),
            labels={} if counts is None else counts.labels,
            probabilities=None if counts is None else counts.probabilities().cpu(),
            ranks=None if self.ranks is None or not equal else self.ranks.below.cpu(),
            probe=self.probe,
            samples=tuple(self.samples),
            left_out=self.left_out,
        )

    def state(self) -> dict[str, Any]:
        """Everything that was gathered, as tensors and plain values."""
        parts = {name: None if part is None else part.state() for name, part in self._parts().items()}
        rest = {
            "numbers": copy.deepcopy(self._numbers),
            "samples": list(self.samples),
            "left_out": self.left_out,
        }
        return {**parts, **rest}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        for name, part in self._parts().items():
            if part is not None:
                part.load_state(state[name])
        self._numbers, self.left_out = copy.deepcopy(state["numbers"]), state["left_out"]
        self.samples = list(state["samples"])

    def _parts(self) -> dict[str, Any]:
        counts = None if self.labels is None else self.labels.counts
        return {"moments": self.moments, "ranks": self.ranks, "probe": self.probe, "labels": counts}


def _rms_mm(sample: Tensor, spacing_mm: Tensor, mask: Tensor | None) -> float:
    """Root of the mean squared length of a displacement (P, D, *S), mm."""
    scale = spacing_mm.to(sample).reshape(-1, sample.shape[1], *(1,) * (sample.ndim - 2))
    squared = (sample * scale).square().sum(1)
    return float(masked_mean(squared, mask).nanmean().sqrt())
