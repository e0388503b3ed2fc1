"""From a checked pair to its transformation by the optimisation of a preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.data.intensity import Intensity, scale
from medreg.geometry.pair_transform import PairTransform, to_slices
from medreg.inference.posterior_inference import Kept
from medreg.inference.progress import Callback, Progress
from medreg.io.stack import grid_of, tensor_of
from medreg.models.asking import ask, sliced, volume_of
from medreg.models.base import RegistrationModel
from medreg.models.posterior import AsTransforms, Sampled, ask_posterior, go_on
from medreg.models.solver import Solver
from medreg.registering.doubt import gained, shared_too_little
from medreg.registering.linear import linear_stages, undone
from medreg.registering.pair import Pair
from medreg.registering.placement import covered, on_fixed_grid
from medreg.registering.posterior import PairGatherer
from medreg.registering.presets import Preset

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Optimised:
    """A transformation, what a person should know about how it came about, and who was told its samples, if anyone."""

    transform: PairTransform
    notes: tuple[str, ...]
    gatherer: PairGatherer | None = None


def optimise(
    pair: Pair,
    preset: Preset,
    *,
    world: Tensor,
    slice_axis: int | None,
    device: torch.device,
    start: PairTransform | None = None,
    progress: Report | None = None,
    gatherer: PairGatherer | None = None,
    count: int | None = None,
) -> Optimised:
    """Register a pair by the instance optimisation of a preset.

    Args:
        pair: the images.
        preset: normalisation, affine stage and model.
        world: (4, 4) map of the world to start from.
        slice_axis: axis across slices to register each slice by itself; None for a volume.
        device: where to compute.
        start: a transformation with that world map to refine; the affine stage is then left out.
        progress: told the stage and the fraction of it that is done.
        gatherer: told the samples of a model that draws from a posterior.
        count: how many samples; None leaves it to the model.

    Raises:
        NumericalError: the optimisation ended in NaN, or the affine stage in a map that cannot be right.
    """
    fixed, moving = grid_of(pair.fixed), grid_of(pair.moving)
    notes: list[str] = []
    if start is None:

        def solve(model: RegistrationModel, stage: str, at: Tensor) -> Tensor:
            batch = batch_of(pair, at, preset.intensity, margin_mm=preset.mask_margin_mm)
            axis = slice_axis if pair.planar else None
            tell = _telling(model, stage, progress)
            return run_model(model, batch, slice_axis=axis, device=device, tell=tell)

        world, notes = linear_stages(pair, preset, world=world, slice_axis=slice_axis, solve=solve)
    initial = None if start is None else start.displacement
    still = torch.zeros(1, 3, *fixed.shape) if initial is None else initial
    before = PairTransform(fixed, moving, world, still, slice_axis)
    poor = shared_too_little(pair, before, preset.least_information.get("model"))
    if poor is not None:
        return Optimised(before, tuple(dict.fromkeys([*notes, poor])))
    batch = batch_of(pair, world, preset.intensity, margin_mm=preset.mask_margin_mm)
    tell = _telling(preset.model, "deformable", progress)
    if gatherer is not None:
        said = _sample(preset.model, batch, before, device=device, tell=tell, gatherer=gatherer, count=count)
        return Optimised(said.transform, (*notes, *said.notes), gatherer)
    displacement = run_model(
        preset.model, batch, slice_axis=slice_axis, device=device, initial=initial, tell=tell
    )
    found = PairTransform(fixed, moving, world, displacement, slice_axis)
    least = preset.least_gain.get("model")
    if least is not None and gained(pair, before, found) < least:
        return Optimised(before, (*notes, undone("deformable")))
    return Optimised(found, tuple(notes))


def _sample(
    model: RegistrationModel,
    batch: Mapping[str, Tensor],
    before: PairTransform,
    *,
    device: torch.device,
    tell: Callback | None,
    gatherer: PairGatherer,
    count: int | None,
) -> Optimised:
    """Ask a model for its samples, which the gatherer is told as maps of the pair."""
    axis = before.slice_axis
    arranged = {key: tensor.to(device) for key, tensor in sliced(batch, axis).items()}
    listener = AsTransforms(
        gatherer, len(arranged["fixed_image"]), axis, lambda field: replace(before, displacement=field)
    )

    def so_far() -> Tensor | None:
        mean = gatherer.mean()
        return mean if mean is None or axis is None else to_slices(mean, axis)

    extra: dict[str, Any] = {} if tell is None else {"callback": tell}

    def asked(**context: Any) -> Sampled:
        gatherer.forget()  # a state may have been loaded in part
        return ask_posterior(
            model, arranged, use_masks=True, listener=listener, count=count, so_far=so_far, **extra, **context
        )

    model.to(device)
    with torch.no_grad():
        found = go_on(asked, model, None if gatherer.place is None else Kept(gatherer.place))
    field = volume_of(found.registration.displacement.detach().float().cpu(), axis)
    return Optimised(replace(before, displacement=field), found.notes)


def _telling(model: RegistrationModel, stage: str, progress: Report | None) -> Callback | None:
    """Return a callback that reports the share of a solver's iterations that are made; None for other models."""
    effort = model.effort if isinstance(model, Solver) else ()
    if progress is None or not effort:
        return None
    total = max(sum(effort), 1)

    def tell(state: Progress) -> None:
        progress(stage, (sum(effort[: state.level]) + state.iteration) / total)

    return tell


def widened(mask: Tensor, spacing_mm: Sequence[float], margin_mm: float) -> Tensor:
    """Return a mask (1, 1, *S) of 0 and 1 grown by a margin along every axis."""
    reach = [
        int(margin_mm / mm) if size > 1 else 0 for mm, size in zip(spacing_mm, mask.shape[2:], strict=True)
    ]
    for axis, steps in enumerate(reach):
        window = [1, 1, 1]
        window[axis] = 2 * steps + 1
        mask = F.max_pool3d(mask, window, stride=1, padding=[size // 2 for size in window])
    return mask


def batch_of(pair: Pair, world: Tensor, intensity: Intensity, *, margin_mm: float = 0.0) -> dict[str, Tensor]:
    """Normalise both images and bring the moving one, with its mask, to the fixed grid.

    Args:
        pair: the images.
        world: (4, 4) map of the world.
        intensity: normalisation.
        margin_mm: by which masks are widened. A mask that ends at the border of an organ leaves out the strongest edge
            that there is.

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
        wide = widened((tensor_of(pair.moving_mask) > 0).float(), moving.spacing_mm.tolist(), margin_mm)
        given = on_fixed_grid(wide, fixed, moving, world, mode="nearest")
        batch["moving_mask"] = given * exists
    elif not bool(exists.all()):
        batch["moving_mask"] = exists
    if pair.fixed_mask is not None:
        batch["fixed_mask"] = widened(
            (tensor_of(pair.fixed_mask) > 0).float(), fixed.spacing_mm.tolist(), margin_mm
        )
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
