"""Free-form deformation: B-spline displacement, and B-spline velocity for a diffeomorphism."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.bspline import (
    as_stride,
    control_grid_shape,
    evaluate_bspline,
    fit_bspline,
    resample_bspline,
)
from medreg.geometry.compose import resize_gain
from medreg.geometry.svf import exponential
from medreg.geometry.transformation import Deformation, Transformation
from medreg.geometry.warp import Convention, Padding


class FreeForm(Transformation):
    """φ_θ(x) = x + Σ_p θ_p β³(x/δ − p + 1), θ (B, D, *control grid) in voxels; the regulariser sees u.

    Args:
        stride: control-point spacing δ in voxels, one number or one per axis.

    References:
        Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 1999.
    """

    def __init__(self, stride: int | Sequence[int]) -> None:
        super().__init__()
        self.stride: int | tuple[int, ...] = stride if isinstance(stride, int) else tuple(stride)

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"stride={self.stride}"

    def parameter_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """(D, *control grid), ceil((S − 1)/δ) + 3 control points an axis."""
        return (len(shape), *control_grid_shape(shape, as_stride(self.stride, len(shape))))

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Evaluate the spline: displacement (B, D, *S), voxels."""
        displacement = evaluate_bspline(theta, shape, self.stride)
        return Deformation(displacement=displacement, regularised=displacement)

    def resample(self, theta: Tensor, old_shape: Sequence[int], new_shape: Sequence[int]) -> Tensor:
        """Least-squares fit of the old spline on the new control grid, lengths in voxels of the new grid."""
        if tuple(old_shape) == tuple(new_shape):
            return theta
        gains = torch.tensor(resize_gain(old_shape, new_shape), dtype=theta.dtype, device=theta.device)
        coefficients = resample_bspline(theta, old_shape, new_shape, self.stride)
        return coefficients * gains.reshape(1, -1, *([1] * len(old_shape)))

    def restrict(self, field: Tensor, shape: Sequence[int]) -> Tensor:
        """Least-squares control points of a field (B, D, *S), voxels."""
        return fit_bspline(field, self.stride)


class FreeFormVelocity(FreeForm):
    """φ_θ = exp(v), v a B-spline with control points θ (B, D, *control grid) in voxels.

    The regulariser sees the dense velocity v.

    Args:
        stride: control-point spacing δ in voxels, one number or one per axis.
        steps: number of squarings of the exponential.
        padding: velocity outside the grid, as in `exponential`.
        convention: sampling convention of `warp`.

    References:
        Qiu et al., Learning Diffeomorphic and Modality-invariant Registration using B-splines, MIDL 2021.
    """

    def __init__(
        self,
        stride: int | Sequence[int],
        steps: int,
        *,
        padding: Padding = "border",
        convention: Convention = "exact",
    ) -> None:
        super().__init__(stride)
        self.steps = steps
        self.padding: Padding = padding
        self.convention: Convention = convention

    def extra_repr(self) -> str:
        """Settings for printing."""
        integration = f"steps={self.steps}, padding={self.padding}, convention={self.convention}"
        return f"{super().extra_repr()}, {integration}"

    def forward(self, theta: Tensor, shape: Sequence[int]) -> Deformation:
        """Evaluate the velocity and integrate it: fields (B, D, *S), voxels."""
        velocity = evaluate_bspline(theta, shape, self.stride)
        return Deformation(displacement=self._integrate(velocity), regularised=velocity)

    def inverse(self, theta: Tensor, shape: Sequence[int]) -> Tensor:
        """exp(−v), displacement (B, D, *S), voxels."""
        return self._integrate(-evaluate_bspline(theta, shape, self.stride))

    def _integrate(self, velocity: Tensor) -> Tensor:
        return exponential(velocity, steps=self.steps, padding=self.padding, convention=self.convention)
