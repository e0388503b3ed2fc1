"""The stages before the deformation: a rigid map of the world, then an affine one, each kept only if it gains."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medreg.geometry.in_plane import InPlane
from medreg.geometry.pair_transform import PairTransform
from medreg.geometry.transformation import Transformation
from medreg.io.stack import grid_of
from medreg.models.base import RegistrationModel
from medreg.registering.doubt import check_map, gained, shared_too_little
from medreg.registering.pair import Pair
from medreg.registering.presets import Preset

Solve = Callable[[RegistrationModel, str, Tensor], Tensor]


def linear_stages(
    pair: Pair, preset: Preset, *, world: Tensor, slice_axis: int | None, solve: Solve
) -> tuple[Tensor, list[str]]:
    """Return the world map (4, 4) after the rigid and the affine stage, and what a person should know about them.

    Args:
        pair: the images.
        preset: the stages.
        world: (4, 4) map to start from.
        slice_axis: axis across slices; those of a stack of several share one map in their plane.
        solve: displacement (1, 3, *S) of a model under a world map; told the stage.

    Raises:
        NumericalError: a map that cannot be right.
    """
    grid, notes = grid_of(pair.fixed), []
    first = world
    spacing = grid.spacing_mm.tolist()
    stages = {"rigid": preset.rigid, "affine": preset.affine} if preset.use_affine else {}
    for stage, model in stages.items():
        if model is None:
            continue
        poor = shared_too_little(pair, _still(pair, world), preset.least_information.get(stage))
        if poor is not None:
            notes.append(poor)
            continue
        shared = None if pair.planar else slice_axis
        displacement = solve(placed_model(model, spacing, slice_axis, shared=shared), stage, world)
        matrix = affine_of(displacement)
        candidate = world @ grid.affine @ matrix @ torch.linalg.inv(grid.affine)
        remarks = check_map(candidate @ torch.linalg.inv(first))
        least = preset.least_gain.get(stage)
        if least is not None and gained(pair, _still(pair, world), _still(pair, candidate)) < least:
            notes.append(undone(stage))
            continue
        world, notes = candidate, [*notes, *remarks]
    return world, notes


def undone(stage: str) -> str:
    """Say that a stage was left out because it gained nothing."""
    return f"the {stage} stage was left out: the images did not agree better after it"


def placed_model(
    model: RegistrationModel, spacing_mm: Sequence[float], slice_axis: int | None, *, shared: int | None
) -> RegistrationModel:
    """Return a model whose transformation knows the voxels of the fixed image.

    Args:
        model: of a preset; stays as it is.
        spacing_mm: of the fixed image, so that a rotation is one in millimetres.
        slice_axis: axis across slices, None for a volume.
        shared: axis across slices that share one map in their plane; None where every sample has its own.
    """
    transformation = getattr(model, "transformation", None)
    if not isinstance(transformation, Transformation):
        return model
    found = copy.deepcopy(model)
    inner = copy.deepcopy(transformation)
    if getattr(inner, "spacing_mm", ()) is None:
        kept = [value for axis, value in enumerate(spacing_mm) if axis != slice_axis]
        inner.spacing_mm = tuple(kept)  # type: ignore[assignment]
    found.transformation = inner if shared is None else InPlane(inner, axis=shared)
    return found


def affine_of(displacement: Tensor) -> Tensor:
    """Return the (4, 4) float64 voxel matrix of an affine displacement field (1, 3, *S), by its corners."""
    shape = displacement.shape[2:]
    matrix = torch.eye(4, dtype=torch.float64)
    field = displacement[0].double().cpu()
    matrix[:3, 3] = field[:, 0, 0, 0]
    for axis, size in enumerate(shape):
        corner = [0, 0, 0]
        corner[axis] = size - 1
        if size > 1:
            matrix[:3, axis] += (field[:, corner[0], corner[1], corner[2]] - field[:, 0, 0, 0]) / (size - 1)
    return matrix


def _still(pair: Pair, world: Tensor) -> PairTransform:
    fixed = grid_of(pair.fixed)
    return PairTransform(fixed, grid_of(pair.moving), world, torch.zeros(1, 3, *fixed.shape))
