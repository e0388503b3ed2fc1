"""Uniform cubic B-splines on a control grid, evaluated and fitted by one small matrix per axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.separable import apply_per_axis

# Weight of the second differences of the coefficients in the fit. It settles only the control points that the
# image hardly touches: a linear field is reproduced whatever its value.
_SMOOTHNESS = 1e-8


def as_stride(stride: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Control-point spacing for each axis.

    Args:
        stride: one number or one per axis, voxels.
        ndim: number of spatial dimensions D.

    Returns:
        D numbers.

    Raises:
        ValueError: another number of strides than D, or one below 1.
    """
    strides = (stride,) * ndim if isinstance(stride, int) else tuple(int(value) for value in stride)
    if len(strides) != ndim or min(strides) < 1:
        raise ValueError(f"a {ndim}-D control grid needs {ndim} strides of at least 1 voxel, got {strides}")
    return strides


def control_grid_shape(shape: Sequence[int], stride: int | Sequence[int]) -> tuple[int, ...]:
    """Control points per axis, ceil((S − 1)/δ) + 3; control point 1 lies on voxel 0.

    Args:
        shape: spatial size S.
        stride: control-point spacing δ, voxels.

    Returns:
        One number per axis.
    """
    strides = as_stride(stride, len(shape))
    return tuple(-(-(size - 1) // step) + 3 for size, step in zip(shape, strides, strict=True))


def cubic_bspline(t: Tensor) -> Tensor:
    """The cubic B-spline β³.

    β³(t) = 2/3 − t² + |t|³/2 for |t| < 1, (2 − |t|)³/6 for 1 ≤ |t| < 2, 0 otherwise.

    Args:
        t: any shape, in control-point spacings.

    Returns:
        Same shape.
    """
    distance = t.abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def evaluate_bspline(coefficients: Tensor, shape: Sequence[int], stride: int | Sequence[int]) -> Tensor:
    """Free-form deformation field, v(x) = Σ_p c_p Π_a β³((x_a − (p_a − 1) δ_a)/δ_a).

    Args:
        coefficients: c (B, C, *control_grid_shape(shape, stride)).
        shape: spatial size S of the result.
        stride: control-point spacing δ, voxels.

    Returns:
        (B, C, *S), in the unit of the coefficients.

    Raises:
        ValueError: the control grid has another size.

    References:
        Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 1999.
    """
    strides = as_stride(stride, len(shape))
    _check_control_grid(coefficients, shape, strides)
    return apply_per_axis(coefficients, list(zip(shape, strides, strict=True)), _basis)


def fit_bspline(field: Tensor, stride: int | Sequence[int]) -> Tensor:
    """Coefficients whose B-spline comes closest to a field in the least-squares sense.

    The fit separates: c = (P_1 ⊗ … ⊗ P_D) f with P_a the regularised pseudo-inverse of the basis of axis a,
    argmin |W c − f|² + μ |c″|², μ = 1e-8. Fields that are B-splines come back (to μ), linear ones exactly.

    Args:
        field: f (B, C, *S).
        stride: control-point spacing δ, voxels.

    Returns:
        (B, C, *control_grid_shape(S, stride)).
    """
    shape = field.shape[2:]
    strides = as_stride(stride, len(shape))
    return apply_per_axis(field, list(zip(shape, strides, strict=True)), _projection)


def resample_bspline(
    coefficients: Tensor,
    old_shape: Sequence[int],
    new_shape: Sequence[int],
    stride: int | Sequence[int],
) -> Tensor:
    """Coefficients of the same field on a grid of another size with common corners; values are not rescaled.

    Args:
        coefficients: (B, C, *control_grid_shape(old_shape, stride)).
        old_shape: spatial size that the coefficients belong to.
        new_shape: spatial size wanted.
        stride: control-point spacing of both, voxels of each grid.

    Returns:
        (B, C, *control_grid_shape(new_shape, stride)).
    """
    strides = as_stride(stride, len(old_shape))
    _check_control_grid(coefficients, old_shape, strides)
    return apply_per_axis(coefficients, list(zip(old_shape, new_shape, strides, strict=True)), _transfer)


def _check_control_grid(coefficients: Tensor, shape: Sequence[int], strides: tuple[int, ...]) -> None:
    expected = control_grid_shape(shape, strides)
    if tuple(coefficients.shape[2:]) != expected:
        raise ValueError(
            f"images of size {tuple(shape)} at stride {strides} have control grids of {expected}, "
            f"got {tuple(coefficients.shape[2:])}"
        )


def _weights(positions: Tensor, size: int, stride: int) -> Tensor:
    """(N, n) float64, basis functions of a control grid of `size` voxels at voxel positions."""
    (count,) = control_grid_shape((size,), (stride,))
    points = torch.arange(count, dtype=torch.float64) - 1
    return cubic_bspline(positions.unsqueeze(1) / stride - points)


def _basis(key: tuple[int, ...]) -> Tensor:
    size, stride = key
    return _weights(torch.arange(size, dtype=torch.float64), size, stride)


def _projection(key: tuple[int, ...]) -> Tensor:
    size = key[0]
    basis = _basis(key)
    count = basis.shape[1]
    bend = torch.eye(count, dtype=torch.float64).diff(n=2, dim=0) * _SMOOTHNESS**0.5
    return torch.linalg.pinv(torch.cat([basis, bend]))[:, :size]


def _transfer(key: tuple[int, ...]) -> Tensor:
    old, new, stride = key
    ratio = (old - 1) / (new - 1) if new > 1 else 0.0
    positions = torch.arange(new, dtype=torch.float64) * ratio
    return _projection((new, stride)) @ _weights(positions, old, stride)
