"""Intensity consistency: the step of a splitting scheme that fits intensities voxel by voxel, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from medreg.errors import require_choice
from medreg.geometry.derivatives import central_difference


@dataclass(frozen=True)
class Linearisation:
    """Intensity difference to first order around an expansion point d: ρ(u) = gᵀ(u − d) + r.

    Attributes:
        gradient: g (B, D, *S), derivative of the warped moving image, intensity per voxel.
        difference: r (B, 1, *S), warped moving minus fixed image.
        expansion: d (B, D, *S), the field by which the moving image was warped, voxels.
    """

    gradient: Tensor
    difference: Tensor
    expansion: Tensor

    def residual(self, field: Tensor) -> Tensor:
        """ρ(u), (B, 1, *S)."""
        return (self.gradient * (field - self.expansion)).sum(1, keepdim=True) + self.difference

    @property
    def squared_gradient(self) -> Tensor:
        """|g|², (B, 1, *S)."""
        return self.gradient.square().sum(1, keepdim=True)


def image_gradient(image: Tensor) -> Tensor:
    """∇I by central differences, (B, 1, *S) to (B, D, *S), per voxel.

    The image continues with its border value, so that the border has half of the one-sided difference
    (VR-Net release; on k², k = 0…5: 0.5, 2, 4, 6, 8, 4.5).
    """
    axes = range(image.ndim - 2)
    return torch.cat([central_difference(image, axis, boundary="replicate") for axis in axes], 1)


def linearise(warped: Tensor, fixed: Tensor, expansion: Tensor) -> Linearisation:
    """Expand the difference of the warped moving and the fixed image, (B, 1, *S) each, around the field d."""
    return Linearisation(image_gradient(warped), warped - fixed, expansion)


def consistent_l2(
    field: Tensor, at: Linearisation, *, theta: Tensor | float, weight: Tensor | float = 1.0
) -> Tensor:
    """Minimiser over u of (μ/2) ρ(u)² + (θ/2)|u − v|² at every voxel: u = v − μ g ρ(v) / (θ + μ|g|²).

    Args:
        field: v (B, D, *S), voxels.
        at: linearised intensity difference.
        theta: θ > 0, how firmly u is tied to v; squared intensity per squared voxel.
        weight: μ ≥ 0, a number or a map (B, 1, *S); where it is 0, u = v.

    Returns:
        (B, D, *S), voxels.

    References:
        Jia et al., Learning a Model-Driven Variational Network …, IEEE TMI 41(1), 2022 (released code).
    """
    return field - weight * at.gradient * (at.residual(field) / (theta + weight * at.squared_gradient))


def consistent_l1(
    field: Tensor,
    at: Linearisation,
    *,
    theta: Tensor | float,
    weight: Tensor | float = 1.0,
    eps: float = 1e-5,
) -> Tensor:
    """Minimiser over u of μ|ρ(u)| + (θ/2)|u − v|²: u = v − (μ/θ) g · clip(θ ρ(v) / (μ|g|² + ε), −1, 1).

    ρ(u) is ρ(v) softly thresholded at μ|g|²/θ. Arguments as `consistent_l2`; ε keeps flat regions finite
    and is absolute, in squared intensities per squared voxel.
    """
    ratio = theta * at.residual(field) / (weight * at.squared_gradient + eps)
    return field - (weight / theta) * at.gradient * ratio.clamp(-1.0, 1.0)


def consistency(data_term: str, *, eps: float) -> Callable[..., Tensor]:
    """The closed form of a data term, "l1" (absolute) or "l2" (squared difference).

    Args:
        data_term: its name.
        eps: ε of the L1 form; the L2 form needs none.

    Raises:
        ConfigError: another name.
    """
    solutions: Mapping[str, Callable[..., Tensor]] = {
        "l1": partial(consistent_l1, eps=eps),
        "l2": consistent_l2,
    }
    require_choice("model.data_term", data_term, solutions)
    return solutions[data_term]
