"""Instance normalisation that is scaled and shifted from outside, with its gradient in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-5  # of torch's InstanceNorm, which the releases of LapIRN and CSAIN use


@dataclass(frozen=True, eq=False)
class Modulation:
    """What one conditioned normalisation does to its features.

    Attributes:
        scale: γ, (B, C, *s) or (B, C, 1, …).
        shift: β, likewise.
    """

    scale: Tensor
    shift: Tensor


def modulated_norm(features: Tensor, modulation: Modulation | None) -> Tensor:
    """(1 + γ)·IN(f) + β with IN(f) = (f − mean_x f)/√(var_x f + 1e-5) a sample and channel; IN(f) for None.

    Can be differentiated once. A third to a fifth of the time of the same formula left to autograd, which is
    `reference`.

    Args:
        features: (B, C, *s).
        modulation: γ and β, or None.
    """
    if modulation is None:
        nothing = features.new_zeros(())
        result: Tensor = _ModulatedNorm.apply(features, nothing, nothing)
        return result
    result = _ModulatedNorm.apply(features, modulation.scale, modulation.shift)
    return result


def reference(features: Tensor, modulation: Modulation | None) -> Tensor:
    """`modulated_norm` by differentiable torch operations."""
    space = tuple(range(2, features.ndim))
    centred = features - features.mean(space, keepdim=True)
    normalised = centred * torch.rsqrt(centred.square().mean(space, keepdim=True) + EPS)
    if modulation is None:
        return normalised
    return (1.0 + modulation.scale) * normalised + modulation.shift


class _ModulatedNorm(torch.autograd.Function):
    """n = IN(f); ∂n/∂f applied to d is (d − mean d − n·mean(d·n))/√(var + ε)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.space = tuple(range(2, features.ndim))
        normalised = features - features.mean(ctx.space, keepdim=True)
        variance = normalised.square().mean(ctx.space, keepdim=True)
        deviation = variance.add_(EPS).rsqrt_()
        normalised.mul_(deviation)
        ctx.save_for_backward(normalised, deviation, scale)
        ctx.shift_shape = shift.shape
        return torch.addcmul(normalised + shift, normalised, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        normalised, deviation, scale = ctx.saved_tensors
        upstream = gradients[0]
        inner = torch.addcmul(upstream, upstream, scale)
        along = (inner * normalised).mean(ctx.space, keepdim=True)
        inner.sub_(inner.mean(ctx.space, keepdim=True))
        inner.addcmul_(normalised, along, value=-1).mul_(deviation)
        if not any(ctx.needs_input_grad[1:]):
            return inner, None, None
        return inner, (upstream * normalised).sum_to_size(scale.shape), upstream.sum_to_size(ctx.shift_shape)
