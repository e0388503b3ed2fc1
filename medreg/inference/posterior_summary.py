"""What is known of a displacement after its samples have been seen, without the samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medreg.inference.sampling.diagnostics import LEAST, ess_bulk, rank_rhat
from medreg.inference.sampling.streaming import Probe

LEVEL = 0.95  # of the intervals that are told
TRACE_POINTS = 200  # of a chain that are kept for drawing


@dataclass(frozen=True, eq=False)
class SampleNumbers:
    """Numbers of every whole sample, in the order in which they were drawn.

    Attributes:
        values: name → (n,): `chain`, `transition`, `energy` (NaN of models without), `length_mm` (root mean square),
            `folding_percent`.
        volume_ml: (n, L) of every warped structure; None without labels.
        dice: (n, L) with the fixed structure, NaN where it is not scored; None without fixed labels.
    """

    values: Mapping[str, Tensor]
    volume_ml: Tensor | None = None
    dice: Tensor | None = None


class Interval(NamedTuple):
    """Mean of some numbers and the quantiles between which `LEVEL` of them lie; NaN without numbers."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Mixing:
    """Whether the chains agree, over the probed components and the energy.

    Attributes:
        r_hat_max: largest rank-normalised split R-hat.
        ess_min: smallest effective sample size of the bulk.
    """

    r_hat_max: float
    ess_min: float


@dataclass(frozen=True, eq=False)
class PosteriorSummary:
    """Summary of the samples of one case: a volume (P = 1), or a stack of P slices.

    Attributes:
        mean: (P, D, *S) voxels of the fixed grid.
        covariance: (P, D, D, *S) voxels², with n − 1 in its denominator.
        count: number of samples; of a stack the mean over its slices.
        numbers: of every whole sample.
        labels: structure name → code.
        probabilities: (1, L, *S_f) share of the samples in which a structure covers a voxel; None without labels.
        ranks: (P, D, *S) number of samples below the truth; None where it is not known, or slices differ in `count`.
        probe: whole chains at some voxels, None for none.
        samples: those that were kept, (P, D, *S) each.
        left_out: number of samples of a slice or volume that were not finite.
    """

    mean: Tensor
    covariance: Tensor
    count: float
    numbers: SampleNumbers
    labels: Mapping[str, int] = field(default_factory=dict)
    probabilities: Tensor | None = None
    ranks: Tensor | None = None
    probe: Probe | None = None
    samples: tuple[Tensor, ...] = ()
    left_out: int = 0

    def std(self) -> Tensor:
        """Standard deviation of every component, (P, D, *S), voxels."""
        return self.covariance.diagonal(dim1=1, dim2=2).movedim(-1, 1).clamp(min=0).sqrt()

    def sd_mm(self, spacing_mm: Tensor) -> Tensor:
        """Root of the summed variances of the components, (P, *S), mm, at a spacing (D,) or (P, D)."""
        std = self.std()
        scale = spacing_mm.to(std).reshape(-1, std.shape[1], *(1,) * (std.ndim - 2))
        return (std * scale).square().sum(1).sqrt()

    def volumes_ml(self) -> dict[str, Interval]:
        """Volume of every warped structure over the samples, ml."""
        return self._intervals(self.numbers.volume_ml)

    def dice(self) -> dict[str, Interval]:
        """Dice of every warped structure over the samples; empty without fixed labels."""
        return self._intervals(self.numbers.dice)

    def _intervals(self, table: Tensor | None) -> dict[str, Interval]:
        if table is None:
            return {}
        return {name: interval(table[:, place]) for place, name in enumerate(self.labels)}

    def mixing(self) -> Mixing | None:
        """Agreement of the chains of all slices at the probed voxels, and of their energies.

        None of draws that were made independently of one another, which come without an energy, and of chains that are
        too short to tell.
        """
        if bool(self.numbers.values["energy"].isnan().all()):
            return None
        found: list[tuple[float, float]] = []
        for pair in range(0 if self.probe is None else self.probe.pairs):
            assert self.probe is not None
            if not self.probe.series(pair):
                continue
            for chains in (
                self.probe.chains(pair).flatten(2),
                self.probe.scalar("energy", pair).unsqueeze(-1),
            ):
                moving = chains[:, :, _varies(chains)]
                if chains.shape[1] >= LEAST and moving.shape[2]:
                    found.append((float(rank_rhat(moving).max()), float(ess_bulk(moving).min())))
        if not found:
            return None
        return Mixing(max(r for r, _ in found), min(e for _, e in found))

    def volume_rows(self) -> Iterator[dict[str, Any]]:
        """Yield the volume of every structure in every sample, as `io.posterior.VOLUME_COLUMNS`."""
        table, values = self.numbers.volume_ml, self.numbers.values
        for number, volumes in enumerate([] if table is None else table.tolist()):
            for structure, volume in zip(self.labels, volumes, strict=True):
                yield {
                    "sample": int(values["transition"][number]),
                    "chain": int(values["chain"][number]),
                    "structure": structure,
                    "volume_ml": volume,
                }

    def trace_rows(self) -> Iterator[dict[str, Any]]:
        """Yield rows of a table of the traces, at most `TRACE_POINTS` a chain, without quantities that never change."""
        chain, transition = self.numbers.values["chain"], self.numbers.values["transition"]
        for (quantity, unit), numbers in self._quantities().items():
            if (
                not len(numbers)
                or bool((numbers == numbers[0]).all())
                or not bool(torch.isfinite(numbers).all())
            ):
                continue
            for which in chain.unique().tolist():
                mine = (chain == which).nonzero().flatten()
                for place in mine[:: -(-len(mine) // TRACE_POINTS)].tolist():
                    shared = {"chain": int(which), "sample": int(transition[place]), "quantity": quantity}
                    yield {**shared, "unit": unit, "value": float(numbers[place])}

    def _quantities(self) -> dict[tuple[str, str], Tensor]:
        values, volume = self.numbers.values, self.numbers.volume_ml
        found = {
            ("energy", "nats"): values["energy"],
            ("displacement, root mean square", "mm"): values["length_mm"],
            ("folds", "%"): values["folding_percent"],
        }
        if volume is not None:
            found |= {(f"volume of {name}", "ml"): volume[:, place] for place, name in enumerate(self.labels)}
        return found


def interval(values: Tensor) -> Interval:
    """Return mean and central interval of numbers (n,); those that are NaN are left out."""
    numbers = values[~values.isnan()].double()
    if not len(numbers):
        return Interval(*(float("nan"),) * 3)
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(numbers, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(float(numbers.mean()), low, high)


def _varies(chains: Tensor) -> Tensor:
    """Which of the scalars (C, n, K) are finite and not the same in all draws, (K,) bool."""
    flat = chains.flatten(0, 1)
    return (flat != flat[:1]).any(0) & torch.isfinite(flat).all(0)
