"""What is known of a displacement after its samples have been seen, without the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

LEVEL = 0.95  # of the intervals that are told
TRACE_POINTS = 200  # of a chain that are kept for drawing


@dataclass(frozen=True)
class SampleNumbers:
    """Numbers of one sample.

    Attributes:
        chain: which one drew it.
        transition: its number in the chain.
        length_mm: root mean square length of the displacement.
        folding_percent: share of voxels at which it folds.
        volume_ml: of every warped structure.
        dice: of every warped structure with the fixed one; NaN where it cannot be scored.
    """

    chain: int
    transition: int
    length_mm: float
    folding_percent: float
    volume_ml: Mapping[str, float] = field(default_factory=dict)
    dice: Mapping[str, float] = field(default_factory=dict)


class Interval(NamedTuple):
    """Mean of some numbers and the quantiles between which `LEVEL` of them lie; NaN without numbers."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class PosteriorSummary:
    """Summary of the samples of one case: a volume (P = 1), or a stack of P slices.

    Attributes:
        mean: (P, D, *S) voxels of the fixed grid.
        covariance: (P, D, D, *S) voxels², with n − 1 in its denominator.
        numbers: of every sample, in the order in which they were drawn.
        labels: structure name → code.
        probabilities: (N, L, *S_f) share of the samples in which a structure covers a voxel; None without labels.
        samples: those that were kept, (P, D, *S) each.
        left_out: number of samples that were not finite.
    """

    mean: Tensor
    covariance: Tensor
    numbers: tuple[SampleNumbers, ...]
    labels: Mapping[str, int] = field(default_factory=dict)
    probabilities: Tensor | None = None
    samples: tuple[Tensor, ...] = ()
    left_out: int = 0

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.numbers)

    @property
    def chains(self) -> int:
        """Number of chains that gave any."""
        return len({numbers.chain for numbers in self.numbers})

    def std(self) -> Tensor:
        """Standard deviation of every component, (P, D, *S), voxels."""
        return self.covariance.diagonal(dim1=1, dim2=2).movedim(-1, 1).clamp(min=0).sqrt()

    def sd_mm(self, spacing_mm: Tensor) -> Tensor:
        """Root of the summed variances of the components, (P, *S), mm, at a spacing (D,) or (P, D)."""
        std = self.std()
        scale = spacing_mm.to(std).reshape(-1, std.shape[1], *(1,) * (std.ndim - 2))
        return (std * scale).square().sum(1).sqrt()

    def volume_ml(self, structure: str) -> Interval:
        """Volume of a warped structure over the samples, ml."""
        return interval([numbers.volume_ml[structure] for numbers in self.numbers])

    def dice(self, structure: str) -> Interval | None:
        """Dice of a warped structure over the samples; None without fixed labels."""
        found = [numbers.dice[structure] for numbers in self.numbers if structure in numbers.dice]
        return interval(found) if found else None

    def volume_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the volume of every structure in every sample, as `io.posterior.VOLUME_COLUMNS`."""
        for numbers in self.numbers:
            for structure, volume in numbers.volume_ml.items():
                yield {
                    "sample": numbers.transition,
                    "chain": numbers.chain,
                    "structure": structure,
                    "volume_ml": volume,
                }

    def traces(self) -> dict[tuple[str, str], Tensor]:
        """Return (quantity, unit) → (chains, n) of all samples; chains are cut to the shortest that gave any."""
        found = {("displacement, root mean square", "mm"): self._chains(lambda n: n.length_mm)}
        found["folds", "%"] = self._chains(lambda n: n.folding_percent)
        for structure in self.labels:
            found[f"volume of {structure}", "ml"] = self._chains(lambda n, s=structure: n.volume_ml[s])
        return found

    def _chains(self, value: Any) -> Tensor:
        rows: dict[int, list[float]] = {}
        for numbers in self.numbers:
            rows.setdefault(numbers.chain, []).append(float(value(numbers)))
        length = min(len(row) for row in rows.values())
        return torch.tensor([row[:length] for _, row in sorted(rows.items())], dtype=torch.float64)

    def trace_rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows of a table of the traces, at most `TRACE_POINTS` a chain, without quantities that never change."""
        for (quantity, unit), chains in self.traces().items():
            if chains.numel() and bool((chains == chains.flatten()[0]).all()):
                continue
            step = -(-chains.shape[1] // TRACE_POINTS)
            for chain, values in enumerate(chains[:, ::step].tolist()):
                for place, value in enumerate(values):
                    shared = {"chain": chain, "sample": place * step, "quantity": quantity}
                    yield {**shared, "unit": unit, "value": value}


def interval(values: list[float]) -> Interval:
    """Return mean and central interval of numbers; those that are NaN are left out."""
    numbers = torch.tensor([value for value in values if value == value], dtype=torch.float64)
    if not len(numbers):
        return Interval(*(float("nan"),) * 3)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(numbers, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(numbers.mean()), low, high)
