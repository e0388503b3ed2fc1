"""Registration of aligned pairs from known affine misalignments, and what was left of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.errors import require_choice
from medreg.geometry.affine_distance import (
    affine_distance,
    half_extents,
    inverse_matrix,
    residual_distance,
)
from medreg.geometry.affine_pose import AffinePose, pose_matrix, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp
from medreg.losses.energy import Energy
from medreg.models.affine import AffineRegistration

UNITS = ("pixel", "mm")


@dataclass(frozen=True)
class StageResult:
    """What one stage made of B starts, each (B,).

    Attributes:
        start: root mean square displacement of the known misalignment.
        final: that of the residual.
        energy_start: dissimilarity of the first stage before.
        energy_final: dissimilarity of the first stage after.
        inside: whether the pose lies in the box of the transformation.
        seconds: CPU time a start.
    """

    start: Tensor
    final: Tensor
    energy_start: Tensor
    energy_final: Tensor
    inside: Tensor
    seconds: float


def lengths(shape: Sequence[int], spacing_mm: Sequence[float], *, unit: str) -> Tensor:
    """Half-extents (D,) in the unit of residuals, `pixel` or `mm`.

    Raises:
        ConfigError: another unit.
    """
    require_choice("unit", unit, UNITS)
    return half_extents(shape, spacing_mm=spacing_mm if unit == "mm" else None)


def misaligned(image: Tensor, poses: Tensor, *, spacing_mm: Sequence[float]) -> Tensor:
    """Images (B, 1, *S) moved so that the map of each pose aligns them again, I ∘ T⁻¹; zeros outside."""
    shape = image.shape[2:]
    truth = pose_matrix(poses, half_extents(shape, spacing_mm=spacing_mm))
    field = matrix_to_displacement(unit_to_voxel(inverse_matrix(truth), shape), shape)
    return warp(image, field, padding="zeros")


def register_starts(
    model: AffineRegistration,
    fixed: Tensor,
    aligned: Tensor,
    *,
    poses: Tensor,
    half: Tensor,
    spacing_mm: Sequence[float],
) -> tuple[StageResult, ...]:
    """Move the aligned images away by known poses, register them back, and measure what each stage left.

    Args:
        model: affine registration with an `AffinePose`.
        fixed: (B, 1, *S).
        aligned: (B, 1, *S), the other contrast on the same grid.
        poses: (B, P), the maps to be found.
        half: half-extents (D,) in the unit of the residual.
        spacing_mm: (D,) mm.

    Returns:
        One result a stage; energies are those of the first, seconds those of all together.
    """
    transformation = model.transformation
    assert isinstance(transformation, AffinePose)
    moving = misaligned(aligned, poses, spacing_mm=spacing_mm)
    began = time.process_time()
    found = model(fixed, moving)
    seconds = (time.process_time() - began) / len(fixed)
    # In pixels or mm alike the map is that of the physical lengths; only residuals change unit.
    physical = half_extents(fixed.shape[2:], spacing_mm=spacing_mm)
    truth = pose_matrix(poses, physical)
    energy = model.energies[0]
    assert isinstance(energy, Energy)

    def result(displacement: Tensor) -> StageResult:
        pose = transformation.pose(transformation.restrict(displacement, fixed.shape[2:]))
        with torch.no_grad():
            before, _ = energy.dissimilarity(fixed, moving, torch.zeros_like(displacement))
            after, _ = energy.dissimilarity(fixed, moving, displacement)
        return StageResult(
            start=affine_distance(truth, half),
            final=residual_distance(pose_matrix(pose, physical), truth, half),
            energy_start=before,
            energy_final=after,
            inside=_inside(transformation, pose),
            seconds=seconds,
        )

    return tuple(result(step) for step in found.steps)


def _inside(transformation: AffinePose, pose: Tensor) -> Tensor:
    if transformation.box is None:
        return torch.ones(len(pose), dtype=torch.bool)
    ndim = int((math.isqrt(4 * pose.shape[1] + 1) - 1) / 2)
    return (pose.abs() <= transformation.box.vector(ndim, like=pose) * (1 + 1e-4)).all(1)
