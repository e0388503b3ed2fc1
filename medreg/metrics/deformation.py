"""Quality of a displacement field: folding, smoothness of its Jacobian, distance from the truth."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medreg.geometry.derivatives import central_difference, jacobian_determinant
from medreg.kernels.compile import run_chunks
from medreg.kernels.determinant_sums import logarithms, roughness
from medreg.kernels.dispatch import usable, view
from medreg.metrics.masking import masked_mean


def determinant(displacement: Tensor) -> Tensor:
    """Jacobian determinant det(I + ∂u_c/∂x_a) by central differences; (B, D, *S) voxels to (B, *S)."""
    return jacobian_determinant(displacement, mode="central")


def authors_determinant(displacement: Tensor) -> Tensor:
    """What the GraDIRN and midir releases call the Jacobian determinant: det(δ_ca + ∂u_c/∂x_{D−1−a}).

    They hand components in array order to ITK, which expects component 0 along the last array axis, so every
    derivative is paired with the wrong axis. Only for comparison with their published numbers.

    Args:
        displacement: (B, D, *S) voxels, D = 2 or 3.

    Returns:
        (B, *S) determinant.
    """
    axes = displacement.shape[1]
    # replicate at the border is ½ of the one-sided difference, as in ITK's filter
    columns = [
        central_difference(displacement, axes - 1 - axis, boundary="replicate") for axis in range(axes)
    ]
    for axis, column in enumerate(columns):
        column[:, axis] += 1
    if axes == 2:
        return columns[0][:, 0] * columns[1][:, 1] - columns[0][:, 1] * columns[1][:, 0]
    return (columns[0] * torch.linalg.cross(columns[1], columns[2], dim=1)).sum(dim=1)


def folding_percent(det: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Percentage of voxels where the transformation is not locally invertible: det J ≤ 0.

    Args:
        det: (B, *S) Jacobian determinant, from `determinant`.
        mask: (B, 1, *S), non-zero where a voxel counts.

    Returns:
        (B,) float64, per cent.
    """
    return 100 * masked_mean(det <= 0, mask)


def negative_percent(det: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Percentage of voxels with det J < 0, the strict count of the GraDIRN release (which omits the 100).

    Args:
        det: (B, *S) Jacobian determinant.
        mask: (B, 1, *S), non-zero where a voxel counts.

    Returns:
        (B,) float64, per cent.
    """
    return 100 * masked_mean(det < 0, mask)


def sd_log_jacobian(
    det: Tensor,
    *,
    mask: Tensor | None = None,
    clip: tuple[float, float] = (1e-9, 1e9),
    shift: float = 0.0,
    crop: int = 0,
) -> Tensor:
    """Population standard deviation over space of ln(clip(det J + shift)).

    A fold (det J ≤ 0) enters as ln of the lower clip, −20.7, so that a few folds dominate the value. The
    evaluation code of Learn2Reg has shift 3 and crop 2, which gives about a quarter of the plain value.

    Args:
        det: (B, *S) Jacobian determinant.
        mask: (B, 1, *S), non-zero where a voxel counts.
        clip: lower and upper bound of det J + shift; those of the GraDIRN release and of Learn2Reg.
        shift: added to the determinant before clipping.
        crop: voxels left out at each side of each axis.

    Returns:
        (B,) float64, without unit; 0 for the identity and for every affine map.
    """
    if mask is None and crop == 0 and usable(det):
        return _sd_log(det, clip, shift)
    inner = [slice(crop, size - crop) for size in det.shape[1:]]
    logarithm = (det[(slice(None), *inner)].double() + shift).clamp(*clip).log()
    kept = None if mask is None else mask[(slice(None), slice(None), *inner)]
    mean = masked_mean(logarithm, kept).reshape(-1, *[1] * (det.ndim - 1))
    return masked_mean((logarithm - mean).square(), kept).sqrt()


def _sd_log(det: Tensor, clip: tuple[float, float], shift: float) -> Tensor:
    planes = det.detach().reshape(-1, det.shape[-1] * det.shape[-2] if det.ndim > 3 else det.shape[-1])
    sums = torch.empty(len(planes), 2, dtype=torch.float64)
    centre = math.log(min(max(1.0 + shift, clip[0]), clip[1]))  # the logarithm where nothing is deformed
    run_chunks(logarithms, len(planes), view(planes), shift, *clip, centre, sums.numpy(), work=det.numel())
    first, second = sums.view(len(det), -1, 2).sum(1).unbind(-1)
    mean, square = first / det[0].numel(), second / det[0].numel()
    return (square - mean.square()).clamp_min(0.0).sqrt()


def mag_grad_det_j(det: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Roughness of the Jacobian: mean over axes and voxels of |∂_a det J|.

    Central differences, one-sided at the border, as numpy's gradient (GraDIRN release, utils/metrics.py).

    Args:
        det: (B, *S) Jacobian determinant, at least two voxels along each axis.
        mask: (B, 1, *S), non-zero where a voxel counts.

    Returns:
        (B,) float64, per voxel.
    """
    if mask is None and usable(det) and min(det.shape[1:]) > 1:
        return _roughness(det)
    slopes = torch.gradient(det, dim=tuple(range(1, det.ndim)))
    return torch.stack([masked_mean(slope.abs(), mask) for slope in slopes]).mean(dim=0)


def _roughness(det: Tensor) -> Tensor:
    volume = det if det.ndim == 4 else det.unsqueeze(2)
    sums = torch.empty(len(det) * det.shape[1], 3, dtype=torch.float64)
    run_chunks(roughness, len(sums), view(volume), sums.numpy(), work=det.numel())
    return sums.view(len(det), -1).sum(1) / (det[0].numel() * (det.ndim - 1))


def magnitude_mm(displacement: Tensor, *, spacing_mm: Tensor) -> Tensor:
    """Length of the displacement at each voxel, ‖u(x) ∘ s‖ in mm.

    Args:
        displacement: (B, D, *S) voxels.
        spacing_mm: (B, D) or (D,) voxel size.

    Returns:
        (B, *S) mm.
    """
    spacing = spacing_mm.to(displacement)
    spacing = spacing.reshape(*spacing.shape, *[1] * (displacement.ndim - 2))
    # ten times faster than a norm over a short axis
    return sum((part.square() for part in (displacement * spacing).unbind(1)), torch.zeros(())).sqrt()


def end_point_error_mm(
    displacement: Tensor, truth: Tensor, *, spacing_mm: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Mean distance between the estimated and the true position of each voxel, mean_x ‖(u − u*) ∘ s‖ in mm.

    Args:
        displacement: (B, D, *S) voxels.
        truth: (B, D, *S) voxels, the known motion.
        spacing_mm: (B, D) or (D,) voxel size.
        mask: (B, 1, *S), non-zero where the truth is meaningful.

    Returns:
        (B,) float64, mm.
    """
    return masked_mean(magnitude_mm(displacement - truth, spacing_mm=spacing_mm), mask)
