"""Normalised gradient fields (NGF): edges should run in the same direction, whatever their contrast."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.base import Similarity


def interior_gradient(image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Central differences, 0 at the border of the image and where a neighbour lies outside the mask.

    Args:
        image: (B, C, *S).
        mask: (B, 1, *S) or None.

    Returns:
        (B, C, D, *S) in intensity per voxel.
    """
    parts = []
    for axis in range(2, image.ndim):
        size = image.shape[axis]
        slope = torch.zeros_like(image)
        if size > 2:
            difference = image.narrow(axis, 2, size - 2) - image.narrow(axis, 0, size - 2)
            if mask is not None:
                difference = difference * (
                    (mask.narrow(axis, 2, size - 2) * mask.narrow(axis, 0, size - 2)) > 0
                )
            slope = torch.slice_scatter(slope, 0.5 * difference, axis, 1, size - 1)
        parts.append(slope)
    return torch.stack(parts, 2)


class NGF(Similarity):
    """D = mean_x 1 − ⟨∇w, ∇f⟩² / ((|∇w|² + η²)(|∇f|² + η²)), mean over channels.

    In [0, 1]; parallel and antiparallel edges cost nothing, regions without edges cost 1 whatever the
    displacement (Haber and Modersitzki, Intensity gradient based registration, MICCAI 2006; η is a
    given number here and not estimated from the image, so that it does not depend on the field of view).

    Args:
        eta: η, edge strength below which a gradient is noise, in intensity per voxel.
        weight: factor in the energy.
    """

    def __init__(self, *, eta: float, weight: float) -> None:
        super().__init__(weight=weight)
        if eta <= 0.0:
            raise ConfigError(f"similarity.eta is {eta}; the edge strength must be positive.")
        self.eta = eta

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) mean squared sine of the angle between edges."""
        w, f = interior_gradient(warped, mask), interior_gradient(fixed, mask)
        strength = (w.square().sum(2) + self.eta**2) * (f.square().sum(2) + self.eta**2)
        return masked_mean(1.0 - (w * f).sum(2).square() / strength, mask)
