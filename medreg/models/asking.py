"""One way to ask a registration model about a batch: with its spacing, its masks where they count, and λ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from medreg.errors import NumericalError
from medreg.geometry.pair_transform import from_slices, to_slices
from medreg.inference.registration import Registration
from medreg.models.base import RegistrationModel
from medreg.models.chosen_smoothness import ChosenSmoothness, require_conditional

MASKS = ("fixed_mask", "moving_mask")


def masks_of(batch: Mapping[str, Any], *, use_masks: bool) -> dict[str, Tensor | None]:
    """Return the two masks of a batch, None where there is none or they do not count."""
    return {key: batch.get(key) if use_masks else None for key in MASKS}


def ask(
    model: RegistrationModel,
    batch: Mapping[str, Any],
    *,
    use_masks: bool,
    smoothness: ChosenSmoothness | Tensor | None = None,
    **context: Any,
) -> Registration:
    """Return a model's answer to a batch.

    Args:
        model: any registration model.
        batch: `fixed_image` and `moving_image` (B, C, *S); `spacing_mm`, masks and `fixed_label` where there are any.
        use_masks: whether images are compared within their masks.
        smoothness: λ of a conditional model: a choice, or (B,) or (B, 1, *S) as the model takes it; None is its own.
        **context: what only some models take, such as `initial`.

    Raises:
        CompositionError: λ for a model that takes none, or λ by label without a label map.
    """
    fixed = batch["fixed_image"]
    if smoothness is not None:
        conditional = require_conditional(model)
        if isinstance(smoothness, ChosenSmoothness):
            smoothness = smoothness.tensor(conditional, batch.get("fixed_label"), batch=len(fixed))
        context["smoothness"] = smoothness.to(fixed)
    return model(
        fixed,
        batch["moving_image"],
        spacing_mm=batch.get("spacing_mm"),
        **masks_of(batch, use_masks=use_masks),
        **context,
    )


def sliced(batch: Mapping[str, Any], axis: int | None) -> dict[str, Any]:
    """Return a batch of one volume as a batch of its slices across an axis; None leaves the volume as it is.

    Args:
        batch: tensors (1, C, *S), and `spacing_mm` (3,).
        axis: axis across slices.

    Returns:
        Tensors (N, C, A, B) with `spacing_mm` (N, 2), or (1, C, *S) with (1, 3).
    """
    out = {key: value for key, value in batch.items() if isinstance(value, Tensor) and key != "spacing_mm"}
    spacing = batch["spacing_mm"]
    if axis is not None:
        out = {key: to_slices(value, axis) for key, value in out.items()}
        spacing = spacing[[k for k in range(3) if k != axis]]
    out = {key: value.contiguous() for key, value in out.items()}
    return {**out, "spacing_mm": spacing.expand(len(out["fixed_image"]), -1)}


def volume_of(displacement: Tensor, axis: int | None) -> Tensor:
    """Return what a model answered to `sliced` images as one displacement (1, 3, *S).

    Raises:
        NumericalError: NaN or infinite displacements.
    """
    if not bool(torch.isfinite(displacement).all()):
        raise NumericalError(
            "The registration ended in NaN or infinite displacements. Lower the learning rates of the levels "
            "(--set model.levels…), or check the images for extreme values."
        )
    return displacement if axis is None else from_slices(displacement, axis)
