"""Pure tensor geometry: grids, warps, derivatives, transformations; voxels, tensor axes, pull direction.

`warp` and `compose` are imported from the modules of the same names, which a re-export would hide.
"""

from __future__ import annotations

from medreg.geometry.affine import Affine, Rigid, affine_matrix, affine_parameters, rigid_matrix
from medreg.geometry.bspline import control_grid_shape, evaluate_bspline, fit_bspline
from medreg.geometry.compose import Inverse, invert, pyramid_shapes, resize, resize_displacement
from medreg.geometry.dense import Dense
from medreg.geometry.derivatives import (
    central_difference,
    forward_difference,
    jacobian_determinant,
    jacobian_matrix,
)
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.grid import (
    Grid,
    identity_grid,
    matrix_to_displacement,
    mm_to_voxel,
    voxel_to_mm,
    world_displacement,
)
from medreg.geometry.svf import StationaryVelocity, exponential
from medreg.geometry.transformation import Deformation, Transformation
from medreg.geometry.warp import sample, warp_labels, warp_points

__all__ = [
    "Affine",
    "Deformation",
    "Dense",
    "FreeForm",
    "FreeFormVelocity",
    "Grid",
    "Inverse",
    "Rigid",
    "StationaryVelocity",
    "Transformation",
    "affine_matrix",
    "affine_parameters",
    "central_difference",
    "control_grid_shape",
    "evaluate_bspline",
    "exponential",
    "fit_bspline",
    "forward_difference",
    "identity_grid",
    "invert",
    "jacobian_determinant",
    "jacobian_matrix",
    "matrix_to_displacement",
    "mm_to_voxel",
    "pyramid_shapes",
    "resize",
    "resize_displacement",
    "rigid_matrix",
    "sample",
    "voxel_to_mm",
    "warp_labels",
    "warp_points",
    "world_displacement",
]
