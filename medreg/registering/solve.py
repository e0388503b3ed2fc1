"""From a checked pair to its transformation: by the optimisation of a preset, or by a trained model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from medreg.data.intensity import Intensity, scale
from medreg.data.preprocess import Preprocess
from medreg.errors import CompositionError, NumericalError
from medreg.geometry.grid import Grid, world_displacement
from medreg.geometry.warp import warp
from medreg.inference.progress import Callback, Progress
from medreg.models.base import RegistrationModel
from medreg.models.greedy import Greedy
from medreg.models.optimise import InstanceOptimisation
from medreg.registering.pair import Pair, grid_of, tensor_of
from medreg.registering.placement import covered, on_fixed_grid
from medreg.registering.presets import Preset
from medreg.registering.transform import PairTransform, from_slices, to_slices

Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Inputs:
    """What an optimiser sees of a pair: both images on the fixed grid, with masks.

    Attributes:
        fixed: (1, 1, *S) in [0, 1].
        moving: (1, 1, *S) in [0, 1], brought there through the world map.
        spacing_mm: (3,).
        fixed_mask: (1, 1, *S) or None.
        moving_mask: (1, 1, *S) or None; zero where the moving image does not exist.
    """

    fixed: Tensor
    moving: Tensor
    spacing_mm: Tensor
    fixed_mask: Tensor | None
    moving_mask: Tensor | None


def optimise(
    pair: Pair,
    preset: Preset,
    *,
    world: Tensor,
    slice_axis: int | None,
    device: torch.device,
    start: PairTransform | None = None,
    progress: Report | None = None,
) -> PairTransform:
    """Register a pair by the instance optimisation of a preset.

    Args:
        pair: the images.
        preset: normalisation, affine stage and model.
        world: (4, 4) map of the world to start from.
        slice_axis: axis across slices to register each slice by itself; None for a volume.
        device: where to compute.
        start: a transformation with that world map to refine; the affine stage is then left out.
        progress: told the stage and the fraction of it that is done.

    Raises:
        NumericalError: the optimisation ended in NaN.
    """
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    if start is None and preset.use_affine:
        world = world @ _affine_stage(
            pair, preset, world, slice_axis if pair.planar else None, device, progress
        )
    inputs = inputs_of(pair, world, preset.intensity)
    initial = None if start is None else start.displacement
    displacement = run_model(
        preset.model,
        inputs,
        slice_axis=slice_axis,
        device=device,
        initial=initial,
        tell=_telling(preset.model, "deformable", progress),
    )
    return PairTransform(fixed, moving, world, displacement, slice_axis)


def _affine_stage(
    pair: Pair,
    preset: Preset,
    world: Tensor,
    slice_axis: int | None,
    device: torch.device,
    progress: Report | None,
) -> Tensor:
    """Return the (4, 4) map of the fixed world that the affine stage finds."""
    grid = grid_of(pair.fixed)
    inputs = inputs_of(pair, world, preset.intensity)
    displacement = run_model(
        preset.affine,
        inputs,
        slice_axis=slice_axis,
        device=device,
        tell=_telling(preset.affine, "affine", progress),
    )
    matrix = affine_of(displacement)
    return grid.affine @ matrix @ torch.linalg.inv(grid.affine)


def _telling(model: RegistrationModel, stage: str, progress: Report | None) -> Callback | None:
    """Return a callback of the optimiser that reports the share of updates made; None for other models."""
    if progress is None or not isinstance(model, InstanceOptimisation | Greedy):
        return None
    effort = [level.iterations for level in model.settings.levels]
    total = max(sum(effort), 1)

    def tell(state: Progress) -> None:
        progress(stage, (sum(effort[: state.level]) + state.iteration) / total)

    return tell


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


def inputs_of(pair: Pair, world: Tensor, intensity: Intensity) -> Inputs:
    """Normalise both images and bring the moving one, with its mask, to the fixed grid."""
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    images = {"fixed": tensor_of(pair.fixed)[0], "moving": tensor_of(pair.moving)[0]}
    # Limits come from whole images, so that they do not depend on how much the grids overlap.
    first, second = intensity.limits(images["fixed"]), intensity.limits(images["moving"])
    fixed_image = scale(images["fixed"], first).unsqueeze(0)
    moving_image = on_fixed_grid(scale(images["moving"], second).unsqueeze(0), fixed, moving, world)
    exists = covered(fixed, moving, world)
    moving_mask = None if bool(exists.all()) else exists
    if pair.moving_mask is not None:
        given = on_fixed_grid((tensor_of(pair.moving_mask) > 0).float(), fixed, moving, world, mode="nearest")
        moving_mask = given if moving_mask is None else given * moving_mask
    fixed_mask = None if pair.fixed_mask is None else (tensor_of(pair.fixed_mask) > 0).float()
    return Inputs(fixed_image, moving_image, fixed.spacing_mm.float(), fixed_mask, moving_mask)


def run_model(
    model: RegistrationModel,
    inputs: Inputs,
    *,
    slice_axis: int | None,
    device: torch.device,
    initial: Tensor | None = None,
    tell: Callback | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the displacement (1, 3, *S) of a model, run on the volume or on all slices as one batch.

    Args:
        model: any; only optimisation takes `initial` and `tell`, only conditional models `weight`.
        inputs: the pair.
        slice_axis: axis across slices, None for a volume.
        device: where to compute.
        initial: (1, 3, *S) displacement to start from.
        tell: told the progress.
        weight: λ of a conditional model, (1,) or (1, 1, *S); None is the model's own.

    Raises:
        NumericalError: NaN or infinite displacements.
    """
    spacing = inputs.spacing_mm
    if slice_axis is not None:
        spacing = spacing[[axis for axis in range(3) if axis != slice_axis]]

    def arrange(tensor: Tensor | None) -> Tensor | None:
        if tensor is None:
            return None
        return (tensor if slice_axis is None else to_slices(tensor, slice_axis)).contiguous().to(device)

    # Only optimisation takes these two; a network has no start and no iterations.
    extra: dict[str, Any] = {} if initial is None else {"initial": arrange(initial)}
    if tell is not None:
        extra["callback"] = tell
    fixed, moving = arrange(inputs.fixed), arrange(inputs.moving)
    assert fixed is not None
    assert moving is not None
    if weight is not None:
        extra["weight"] = weight.expand(len(fixed)).to(device) if weight.ndim == 1 else arrange(weight)
    with torch.no_grad():
        found = model.to(device)(
            fixed,
            moving,
            spacing_mm=spacing.to(device).expand(fixed.shape[0], -1),
            fixed_mask=arrange(inputs.fixed_mask),
            moving_mask=arrange(inputs.moving_mask),
            **extra,
        )
    displacement = found.displacement.detach().float().cpu()
    if not bool(torch.isfinite(displacement).all()):
        raise NumericalError(
            "The registration ended in NaN or infinite displacements. Lower the learning rates of the levels "
            "(--set model.levels…), or check the images for extreme values."
        )
    return displacement if slice_axis is None else from_slices(displacement, slice_axis)


def predict(
    pair: Pair,
    model: RegistrationModel,
    *,
    ndim: int,
    preprocess: Preprocess,
    device: torch.device,
    weight: Tensor | None = None,
) -> PairTransform:
    """Register a pair with a trained model, prepared as its training data were.

    The displacement on the model's grid (orientation, spacing and crop of training) is carried back to the
    fixed image's own grid; outside the crop it continues with the values at its border.

    Args:
        pair: the images.
        model: the trained network.
        ndim: 2 for a model of slices (along the third axis), 3 for one of volumes.
        preprocess: preparation of the images in the training run.
        device: where to compute.
        weight: λ on the model's grid, see `weights.prepare_weight`.

    Raises:
        CompositionError: a volume model for single slices.
    """
    if ndim == 3 and pair.planar:
        raise CompositionError(
            "This model was trained on volumes and the images are single slices; give volumes."
        )
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    first = _loaded(tensor_of(pair.fixed)[0], fixed, preprocess)
    second = _loaded(tensor_of(pair.moving)[0], moving, preprocess)
    prepared = preprocess.prepare(first, second, None)
    # Alignment by index is one of the arrays as loaded: oriented and resampled.
    world = second["affine"] @ torch.linalg.inv(prepared.placed.affine)
    inputs = Inputs(
        fixed=prepared.arrays["fixed_image"].unsqueeze(0),
        moving=prepared.arrays["moving_image"].unsqueeze(0),
        spacing_mm=prepared.grid.spacing_mm.float(),
        fixed_mask=None,
        moving_mask=None,
    )
    slice_axis = 2 if ndim == 2 else None
    displacement = run_model(model, inputs, slice_axis=slice_axis, device=device, weight=weight)
    return PairTransform(fixed, moving, world, carried(displacement, prepared.grid, fixed), slice_axis)


def _loaded(image: Tensor, grid: Grid, preprocess: Preprocess) -> dict[str, Tensor]:
    """Orient and resample an image in memory as the data modules do with a file."""
    item: Any = {"image": MetaTensor(image, affine=grid.affine)}
    for step in preprocess.transform(()).transforms[1:]:  # the first one reads files
        item = step(item)
    return dict(item)


def carried(displacement: Tensor, source: Grid, target: Grid) -> Tensor:
    """Return a field (1, 3, *S), voxels of `source`, in voxels of another grid; border values continue."""
    matrix = torch.linalg.solve(target.affine[:3, :3], source.affine[:3, :3]).float()
    there = warp(displacement, world_displacement(target, source), padding="border")
    return torch.einsum("ij,bjxyz->bixyz", matrix, there)
