"""Random elastic displacements: white noise made smooth by a Gaussian of random width."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.batch.base import happens, numbers_between, require_probability, require_range
from medreg.augmentation.random_convolution import uniform
from medreg.errors import require_number


@dataclass(frozen=True)
class Elastic:
    """Displacements e = α G_σ ∗ n with n ~ U(−1, 1), α = a·H and σ = s·H, H the side of the image.

    Simard et al., Best Practices for Convolutional Neural Networks Applied to Visual Document Analysis, ICDAR 2003.
    Zeros lie outside, so displacements are smaller at the border. In 2-D their standard deviation is
    a / (√(12π) s) voxels whatever the side, 2.5 in the middle of the released ranges, which on small images is much:
    at 112 voxels 3 % of the samples fold somewhere, at 64 voxels 32 %, at 160 none. That number therefore belongs to
    one side, and grows with the side (ours). In 3-D it is the same, where the formula itself would leave a tenth of it.

    Attributes:
        probability: with which a sample is deformed.
        alpha: least and most a.
        sigma: least and most s, of each axis its side.
        side: of the image at which the formula holds, voxels; on others the field is the same but for its size, by the
            shortest side along which anything moves. None: the formula as it is.
        across: in 3-D, whether anything moves across the slices, the last axis.
    """

    probability: float
    alpha: Sequence[float]
    sigma: Sequence[float]
    side: float | None
    across: bool

    def __post_init__(self) -> None:
        require_probability("elastic.probability", self.probability)
        require_range("elastic.alpha", self.alpha, above=0.0)
        require_range("elastic.sigma", self.sigma, above=0.0)
        if self.side is not None:
            require_number("elastic.side", self.side, above=0.0)

    def __call__(self, like: Tensor, shape: Sequence[int], *, generator: torch.Generator) -> Tensor:
        """Return a displacement for every sample.

        Args:
            like: (N, …), whose number, device and precision they have.
            shape: size S.
            generator: source of chance.

        Returns:
            (N, D, *S), voxels.
        """
        count, ndim = len(like), len(shape)
        free = ndim if self.across else 2
        alpha = numbers_between(self.alpha, (count,), generator=generator, like=like)
        sigma = numbers_between(self.sigma, (count,), generator=generator, like=like)
        field = (2 * uniform((count, free, *shape), generator).to(like) - 1) * 3**0.5
        for axis, size in enumerate(shape):
            field = _along(field, smoothing(sigma * size, size), axis)
        growth = 1.0 if self.side is None else min(shape[:free]) / self.side
        deviation = growth * alpha / (math.sqrt(12 * math.pi) * sigma)
        deviation = deviation * happens(self.probability, count, generator=generator, like=like).flatten()
        field = field * deviation.reshape(-1, *[1] * (ndim + 1))
        return torch.cat([field, field.new_zeros(count, ndim - free, *shape)], 1)


def smoothing(sigma: Tensor, size: int) -> Tensor:
    """Gaussian windows of each sample as matrices, scaled so that white noise keeps its variance.

    Args:
        sigma: (N,), voxels.
        size: of the axis.

    Returns:
        (N, size, size); zeros lie outside the axis.
    """
    offsets = torch.arange(size, device=sigma.device)
    window = torch.exp(-(offsets.to(sigma) / sigma.unsqueeze(1)).square() / 2)
    square = window.square()
    window = window / (2 * square.sum(1, keepdim=True) - square[:, :1]).sqrt()
    return window[:, (offsets.unsqueeze(1) - offsets).abs()]


def _along(field: Tensor, matrices: Tensor, axis: int) -> Tensor:
    """Multiply one axis of (N, D, *S) by a matrix (N, S_a, S_a) of each sample."""
    if axis == field.ndim - 3:
        return (field.flatten(1, -2) @ matrices.mT).reshape(field.shape)
    stacked = field.flatten(1, 1 + axis).flatten(3)
    return (matrices.unsqueeze(1) @ stacked).reshape(field.shape)
