"""Mean and covariance of vectors at every voxel, sample by sample (Welford's recurrence)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.geometry.precision import at_least_single
from medreg.inference.sampling.draw import Draw


class Moments:
    """Mean, standard deviation and D×D covariance of displacements; memory does not grow with the samples.

    The chains of a pair are pooled. Sums of squares are never formed: the recurrence keeps the mean and the sum of
    products of deviations from it. The mean is counted from the first sample, so that in float32 the errors are
    relative to the spread, however far the samples are from zero and however many they are.

    Args:
        pairs: number P of pairs; chain c of pair p is at c·P + p.

    Attributes:
        count: (P,) samples taken in.

    References:
        Welford, Technometrics 1962; Chan, Golub & LeVeque, 1979 (merging).
    """

    def __init__(self, *, pairs: int = 1) -> None:
        self.pairs = pairs
        self.count = [0] * pairs
        self._origin: Tensor | None = None  # (P, D, *S), the first sample
        self._mean: Tensor | None = None  # (P, D, *S), from the origin
        self._products: Tensor | None = None  # (P, D (D + 1) / 2, *S), upper triangle row by row

    def __call__(self, draw: Draw) -> None:
        """Take in the fields of the chains that run."""
        for slot, field in draw.slots():
            self.add(slot % self.pairs, field)

    def add(self, pair: int, field: Tensor) -> None:
        """Take in one field (D, *S) of a pair."""
        origin, mean, products = self._allocated(field)
        if not self.count[pair]:
            origin[pair] = field
        self.count[pair] += 1
        number = self.count[pair]
        deviation = (field - origin[pair]).sub_(mean[pair])
        mean[pair].add_(deviation, alpha=1 / number)
        for place, (one, two) in enumerate(_upper(len(deviation))):
            products[pair, place].addcmul_(deviation[one], deviation[two], value=(number - 1) / number)

    def mean(self) -> Tensor:
        """Mean of the samples, (P, D, *S).

        Raises:
            CompositionError: a pair has no sample.
        """
        origin, mean, _ = self._gathered(1)
        return origin + mean

    def mean_of(self, pairs: Sequence[int]) -> Tensor:
        """Mean of the samples of some pairs that have any, (len(pairs), D, *S)."""
        if self._origin is None or self._mean is None:
            raise CompositionError("No sample was gathered, so that there is no mean.")
        return self._origin[pairs] + self._mean[pairs]

    def std(self) -> Tensor:
        """Standard deviation of every component, (P, D, *S), with n − 1 in its denominator.

        Raises:
            CompositionError: a pair has fewer than two samples.
        """
        _, mean, products = self._gathered(2)
        axes = mean.shape[1]
        diagonal = [place for place, (a, b) in enumerate(_upper(axes)) if a == b]
        return products[:, diagonal].div_(self._less_one(mean)).sqrt_()

    def covariance(self) -> Tensor:
        """Covariance of the components at every voxel, (P, D, D, *S), with n − 1 in its denominator.

        Raises:
            CompositionError: a pair has fewer than two samples.
        """
        _, mean, products = self._gathered(2)
        axes = mean.shape[1]
        out = mean.new_empty(len(mean), axes, axes, *mean.shape[2:])
        for place, (one, two) in enumerate(_upper(axes)):
            out[:, one, two] = products[:, place] / self._less_one(products[:, place])
            out[:, two, one] = out[:, one, two]
        return out

    def merge(self, other: Moments) -> None:
        """Take in all that another has gathered, of the same pairs.

        Raises:
            CompositionError: another number of pairs.
        """
        if other.pairs != self.pairs:
            raise CompositionError(f"Moments of {other.pairs} pairs cannot join those of {self.pairs}.")
        if other._mean is None or other._origin is None or other._products is None:
            return
        origin, mean, products = self._allocated(other._mean[0])
        for pair, (ours, theirs) in enumerate(zip(self.count, other.count, strict=True)):
            total = ours + theirs
            if not theirs:
                continue
            if not ours:
                origin[pair] = other._origin[pair]
            apart = (other._origin[pair] - origin[pair]) + (other._mean[pair] - mean[pair])
            mean[pair].add_(apart, alpha=theirs / total)
            products[pair].add_(other._products[pair])
            for place, (one, two) in enumerate(_upper(len(apart))):
                products[pair, place].addcmul_(apart[one], apart[two], value=ours * theirs / total)
            self.count[pair] = total

    def _allocated(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._origin is None or self._mean is None or self._products is None:
            like = at_least_single(like)
            axes = len(like)
            self._origin = like.new_zeros(self.pairs, *like.shape)
            self._mean = torch.zeros_like(self._origin)
            self._products = like.new_zeros(self.pairs, axes * (axes + 1) // 2, *like.shape[1:])
        elif self._mean.device != like.device:  # a state that was read from a file
            parts = (part.to(like.device) for part in (self._origin, self._mean, self._products))
            self._origin, self._mean, self._products = parts
        return self._origin, self._mean, self._products

    def _gathered(self, least: int) -> tuple[Tensor, Tensor, Tensor]:
        if self._origin is None or self._mean is None or self._products is None or min(self.count) < least:
            raise CompositionError(
                f"{min(self.count)} samples were gathered and {least} are needed; sample for longer, or look at why "
                "the chains were stopped."
            )
        return self._origin, self._mean, self._products

    def _less_one(self, like: Tensor) -> Tensor:
        less = torch.tensor(self.count, dtype=like.dtype, device=like.device) - 1
        return less.reshape(-1, *[1] * (like.ndim - 1))

    def state(self) -> dict[str, Any]:
        """Everything, as tensors and plain values."""
        return {
            "count": self.count,
            "origin": self._origin,
            "mean": self._mean,
            "products": self._products,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.count = list(state["count"])
        self._origin, self._mean, self._products = (
            None if state[name] is None else state[name].clone() for name in ("origin", "mean", "products")
        )


def _upper(axes: int) -> list[tuple[int, int]]:
    return list(combinations_with_replacement(range(axes), 2))
