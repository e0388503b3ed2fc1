"""Sums over the voxels under a mixture of zero-mean Gaussians, and −ln p with its gradient from the same sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.losses.fused import Evaluation
from medreg.losses.reduction import precise

_CHUNK = 2**15  # voxels at a time on a processor: the terms of all components stay in the second-level cache
_LARGEST = 60.0  # exponent of a component beside the widest one: exp(60) is far from overflow in float32
_SMALLEST = -60.0  # below it a component is nothing; denormal numbers would cost a hundred times the time
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Sums:
    """What one sweep over the voxels found, of P samples and K components.

    Attributes:
        value: (P,) −Σ m ln p; of a sweep without moments.
        counts: (P, K) Σ m γ_k, γ the responsibilities.
        squares: (P, K) Σ m γ_k r².
        precision: (P, N) Σ_k γ_k/σ_k² at each voxel: the gradient of −ln p is r times this.
    """

    value: Tensor
    counts: Tensor
    squares: Tensor
    precision: Tensor


@torch.no_grad()
def sweep(residual: Tensor, mask: Tensor | None, numbers: Tensor, *, moments: bool = True) -> Sums:
    """Go through the voxels once.

    Args:
        residual: (P, N).
        mask: (P, N) weights, or None.
        numbers: (P, 2K): ln σ_k, then the logits of the shares ρ_k.
        moments: whether `counts` and `squares` are wanted, or else `value`; the others stay zero.
    """
    kind = precise(residual.device)
    offset, precisions, widest = _terms(numbers)
    rows = torch.arange(len(numbers), device=numbers.device)
    base, least = offset[rows, widest], precisions[rows, widest]
    # Relative to the widest component no exponent falls below all others: ln p stays finite in the far tails.
    shift = (offset - base[:, None]).clamp_max(_LARGEST).to(residual.dtype)[:, :, None]
    slope = (-0.5 * (precisions - least[:, None])).to(residual.dtype)[:, :, None]
    half = 0.5 * least[:, None].to(residual.dtype)
    weights = precisions.to(residual.dtype)[:, None]
    precision = torch.empty_like(residual)
    value = torch.zeros(len(residual), dtype=kind, device=residual.device)
    counts, squares = torch.zeros_like(numbers[:, ::2]), torch.zeros_like(numbers[:, ::2])
    chunk = _CHUNK if residual.device.type == "cpu" else max(residual.shape[1], 1)
    for first in range(0, residual.shape[1], chunk):
        part = slice(first, first + chunk)
        square = residual[:, part].square()
        terms = torch.exp_(torch.baddbmm(shift, slope, square[:, None]).clamp_min_(_SMALLEST))
        total = terms.sum(1)
        torch.div(torch.bmm(weights, terms)[:, 0], total, out=precision[:, part])
        if moments:
            weight = torch.reciprocal(total) if mask is None else mask[:, part] / total
            both = torch.stack([weight, weight * square], 2)
            sums = torch.bmm(terms, both)
            counts += sums[:, :, 0]
            squares += sums[:, :, 1]
        else:
            nats = torch.addcmul(total.log_().neg_(), square, half)
            value += (nats if mask is None else nats.mul_(mask[:, part])).sum(1, dtype=kind)
    if moments:
        return Sums(value, counts, squares, precision)
    number = residual.shape[1] if mask is None else mask.sum(1, dtype=kind)
    return Sums(value - base * number, counts, squares, precision)


def negative_log_density(residual: Tensor, numbers: Tensor) -> Tensor:
    """−ln p at each voxel by differentiable operations, (P, N); arguments as in `sweep`."""
    offset, precisions, _ = _terms(numbers)
    offset, precisions = (each.to(residual)[:, :, None] for each in (offset, precisions))
    return -torch.logsumexp(offset - 0.5 * precisions * residual.square()[:, None], 1)


def shares(numbers: Tensor) -> Tensor:
    """ρ_k of numbers (P, 2K), (P, K)."""
    return numbers.chunk(2, 1)[1].softmax(1)


def scales(numbers: Tensor) -> Tensor:
    """σ_k of numbers (P, 2K), (P, K)."""
    return numbers.chunk(2, 1)[0].exp()


def _terms(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """ln(ρ_k/(√2π σ_k)) and 1/σ_k², (P, K), and which component is the widest, (P,)."""
    log_scales, logits = numbers.chunk(2, 1)
    offset = logits.log_softmax(1) - log_scales - _HALF_LOG_2PI
    return offset, (-2 * log_scales).exp(), log_scales.argmax(1)


@dataclass(frozen=True)
class MixtureLoss:
    """−Σ m ln p of residuals (S, C, *grid), (S,), see `medreg.losses.fused`.

    Attributes:
        numbers: (S, 2K) of each sample.
        mask: (S, C·voxels) weights, or None.
        found: the sums at these residuals, where a sweep has been made already.
    """

    numbers: Tensor
    mask: Tensor | None
    found: Sums | None = None

    def formula(self, residual: Tensor) -> Tensor:
        """Return the value by way of the density at every voxel."""
        values = negative_log_density(residual.flatten(1), self.numbers)
        values = values if self.mask is None else values * self.mask
        return values.sum(1, dtype=precise(values.device))

    def evaluate(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> Evaluation:
        """Return value and gradient from one sweep."""
        residual = inputs[0].detach()
        flat = residual.flatten(1)
        found = sweep(flat, self.mask, self.numbers, moments=False) if self.found is None else self.found
        if not wanted[0]:
            return Evaluation(found.value, (None,))
        gradient = flat * found.precision
        if self.mask is not None:
            gradient *= self.mask
        return Evaluation(found.value, (gradient.view_as(residual),))
