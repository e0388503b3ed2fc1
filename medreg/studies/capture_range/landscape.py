"""Landscapes: a measure along one kind of motion, all else aligned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.geometry.affine_distance import half_extents
from medreg.geometry.affine_pose import pose_matrix, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement
from medreg.losses.energy import Energy
from medreg.models.affine import AffineRegistration


def landscape(
    model: AffineRegistration,
    fixed: Tensor,
    aligned: Tensor,
    *,
    poses: Tensor,
    spacing_mm: Sequence[float],
) -> Tensor:
    """D(F, M ∘ T_p) of every pair at every pose, at full resolution.

    Args:
        model: whose first stage is the measure.
        fixed: (B, 1, *S).
        aligned: (B, 1, *S), the other contrast on the same grid.
        poses: (V, P).
        spacing_mm: (D,) mm.

    Returns:
        (B, V).
    """
    energy = model.energies[0]
    assert isinstance(energy, Energy)
    shape = fixed.shape[2:]
    half = half_extents(shape, spacing_mm=spacing_mm)
    columns = []
    with torch.no_grad():
        for pose in poses:
            matrix = unit_to_voxel(pose_matrix(pose.unsqueeze(0), half), shape)
            field = matrix_to_displacement(matrix, shape).expand(len(fixed), *[-1] * (fixed.ndim - 1))
            columns.append(energy.dissimilarity(fixed, aligned, field)[0])
    return torch.stack(columns, 1)
