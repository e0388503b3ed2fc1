"""The mean of a penalty's density by a kernel: coefficients, weights of the voxels, and the border rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from medreg.kernels.compile import run_chunks
from medreg.kernels.stencil import Weights, stencil_slabs
from medreg.losses.fused import Evaluation
from medreg.losses.reduction import masked_mean

_SLAB = 2**16  # voxels of a slab, about: the planes at its seams are computed twice


@dataclass(frozen=True)
class Stencil:
    """How a kernel computes a density.

    Attributes:
        kernel: compiled loop of `medreg.kernels.stencil_first`, `…second` or `…folding`.
        coefficients: (B or 1, …) float64, as that kernel wants them, for three axes.
        before: voxels at the start of every axis that repeat the density of the next one.
        after: voxels at the end of every axis that repeat the density of the one before.
    """

    kernel: Callable[..., float]
    coefficients: Tensor
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class MeanDensity:
    """mean_x λ(x)·density(u)(x) over the mask, (B,).

    Attributes:
        density: the formula, field to (B, 1, *S).
        stencil: the kernel for the same.
        weight: λ, (B or 1, 1, *S), or None for 1.
        mask: (B, 1, *S) or None.
    """

    density: Callable[[Tensor], Tensor]
    stencil: Stencil
    weight: Tensor | None
    mask: Tensor | None

    def formula(self, field: Tensor) -> Tensor:
        """Return the mean by way of the density at every voxel."""
        density = self.density(field)
        return masked_mean(density if self.weight is None else self.weight.to(density) * density, self.mask)

    def evaluate(self, inputs: Sequence[Tensor], wanted: Sequence[bool]) -> Evaluation:
        """Return mean and gradient from one pass over the field."""
        field = inputs[0].detach().contiguous()
        volume = _three_axes(field.shape[2:])
        batch, parts = len(field), max(1, min(field.shape[2] // 4, field[0, 0].numel() // _SLAB))
        coefficients = self.stencil.coefficients.to(field.dtype)
        coefficients = coefficients.expand(batch, *coefficients.shape[1:]).contiguous()
        gradient = torch.empty_like(field if wanted[0] else field[:0])
        values = torch.zeros(batch, parts, dtype=torch.float64)
        arrays = (tensor.view(-1, field.shape[1], *volume).numpy() for tensor in (field, gradient))
        image, out = arrays
        run_chunks(
            stencil_slabs,
            batch * parts,
            parts,
            self.stencil.kernel,
            image,
            self._weights(field, volume),
            coefficients.numpy(),
            values.view(-1).numpy(),
            out,
            work=field.numel(),
        )
        return Evaluation(values.sum(1).to(field.dtype), (gradient if wanted[0] else None,))

    def _weights(self, field: Tensor, volume: tuple[int, ...]) -> Weights:
        """λ·m/Σm of each voxel of the stencil, which stands for the border voxels that repeat it, too."""
        shape = field.shape[2:]
        if self.weight is None and self.mask is None:
            lines = _lines(shape, self.stencil.before, self.stencil.after, field.dtype)
            return Weights(field.new_zeros(0, *volume).numpy(), lines)
        chosen = torch.ones(len(field), 1, *shape, dtype=torch.float64)
        if self.weight is not None:
            chosen = chosen * self.weight.detach()
        count: Tensor | int = shape.numel()
        if self.mask is not None:
            mask = self.mask.detach().double()
            count = mask.flatten(1).sum(1).view(-1, *[1] * (field.ndim - 1))
            chosen = chosen * mask / count.masked_fill(count == 0, 1.0)
        else:
            chosen = chosen / count
        for axis in range(2, field.ndim):
            chosen = _folded(chosen, axis, self.stencil.before, self.stencil.after)
        empty = [field.new_zeros(0)] * 3
        return Weights(chosen.to(field.dtype).view(-1, *volume).numpy(), _arrays(empty))


@lru_cache(maxsize=16)
def _lines(shape: torch.Size, before: int, after: int, dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """Equal weights 1/N as the product of three lines."""
    lines = [_folded(torch.ones(size, dtype=torch.float64), 0, before, after) for size in shape]
    lines[0] = lines[0] / shape.numel()
    if len(lines) == 2:
        lines.insert(1, torch.ones(1, dtype=torch.float64))
    return _arrays([line.to(dtype) for line in lines])


def _folded(weights: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Weights of border voxels handed to the voxel whose density they repeat: the transposed padding."""
    size = weights.shape[axis]
    inner = weights.narrow(axis, before, size - before - after).clone()
    if before:
        inner.narrow(axis, 0, 1).add_(weights.narrow(axis, 0, before).sum(axis, keepdim=True))
    if after:
        border = weights.narrow(axis, size - after, after).sum(axis, keepdim=True)
        inner.narrow(axis, inner.shape[axis] - 1, 1).add_(border)
    whole = torch.zeros_like(weights)
    whole.narrow(axis, before, size - before - after).copy_(inner)
    return whole


def on_three_axes(coefficients: Tensor) -> Tensor:
    """Insert a 0 for the second of three axes into (…, 2); (…, 3) stays."""
    if coefficients.shape[-1] == 3:
        return coefficients
    first, second = coefficients.unbind(-1)
    return torch.stack([first, torch.zeros_like(first), second], -1)


def _three_axes(shape: torch.Size) -> tuple[int, ...]:
    return (shape[0], 1, shape[1]) if len(shape) == 2 else tuple(shape)


def _arrays(lines: Sequence[Tensor]) -> tuple[Any, Any, Any]:
    first, second, third = (line.contiguous().numpy() for line in lines)
    return first, second, third
