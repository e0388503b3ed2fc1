"""From a checked pair to its transformation by the optimisation of a preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.data.intensity import Intensity, scale
from medreg.geometry.pair_transform import PairTransform
from medreg.inference.progress import Callback, Progress
from medreg.io.stack import grid_of, tensor_of
from medreg.models.asking import ask, sliced, volume_of
from medreg.models.base import RegistrationModel
from medreg.models.greedy import Greedy
from medreg.models.optimise import InstanceOptimisation
from medreg.registering.pair import Pair
from medreg.registering.placement import covered, on_fixed_grid
from medreg.registering.presets import Preset

Report = Callable[[str, float], None]


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
    batch = batch_of(pair, world, preset.intensity)
    initial = None if start is None else start.displacement
    displacement = run_model(
        preset.model,
        batch,
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
    batch = batch_of(pair, world, preset.intensity)
    displacement = run_model(
        preset.affine,
        batch,
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


def batch_of(pair: Pair, world: Tensor, intensity: Intensity) -> dict[str, Tensor]:
    """Normalise both images and bring the moving one, with its mask, to the fixed grid.

    Returns:
        `fixed_image` and `moving_image` (1, 1, *S) in [0, 1], `spacing_mm` (3,), and masks where there are any; that of
        the moving image is zero where the image does not exist.
    """
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    images = {"fixed": tensor_of(pair.fixed)[0], "moving": tensor_of(pair.moving)[0]}
    # Limits come from whole images, so that they do not depend on how much the grids overlap.
    first, second = intensity.limits(images["fixed"]), intensity.limits(images["moving"])
    moving_image = scale(images["moving"], second).unsqueeze(0)
    batch = {
        "fixed_image": scale(images["fixed"], first).unsqueeze(0),
        "moving_image": on_fixed_grid(moving_image, fixed, moving, world),
        "spacing_mm": fixed.spacing_mm.float(),
    }
    exists = covered(fixed, moving, world)
    if pair.moving_mask is not None:
        given = on_fixed_grid((tensor_of(pair.moving_mask) > 0).float(), fixed, moving, world, mode="nearest")
        batch["moving_mask"] = given * exists
    elif not bool(exists.all()):
        batch["moving_mask"] = exists
    if pair.fixed_mask is not None:
        batch["fixed_mask"] = (tensor_of(pair.fixed_mask) > 0).float()
    return batch


def run_model(
    model: RegistrationModel,
    batch: Mapping[str, Tensor],
    *,
    slice_axis: int | None,
    device: torch.device,
    initial: Tensor | None = None,
    tell: Callback | None = None,
) -> Tensor:
    """Return the displacement (1, 3, *S) of an optimisation, run on the volume or on all slices as one batch.

    Args:
        model: any; only optimisation takes `initial` and `tell`.
        batch: see `batch_of`.
        slice_axis: axis across slices, None for a volume.
        device: where to compute.
        initial: (1, 3, *S) displacement to start from.
        tell: told the progress.

    Raises:
        NumericalError: NaN or infinite displacements.
    """
    extra: dict[str, Any] = {} if tell is None else {"callback": tell}
    if initial is not None:
        batch = {**batch, "initial": initial}
    arranged = {key: tensor.to(device) for key, tensor in sliced(batch, slice_axis).items()}
    if initial is not None:
        extra["initial"] = arranged.pop("initial")
    with torch.no_grad():
        found = ask(model.to(device), arranged, use_masks=True, **extra).displacement
    return volume_of(found.detach().float().cpu(), slice_axis)
