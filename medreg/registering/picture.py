"""The picture sheet of a registered pair, arranged for `reporting.figures.overview`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from medreg.geometry.pair_transform import PairTransform, to_slices
from medreg.io.stack import tensor_of
from medreg.reporting.figures import overview
from medreg.reporting.planes import axis_codes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from medreg.registering.result import RegistrationResult

SLICES_SHOWN = 4


def overview_of(result: RegistrationResult) -> Figure:
    """Draw fixed, moving (on the fixed grid, as placed before registration), warped, field and Jacobian."""
    pair, transform, start = result.pair, result.transform, result.start
    moving = start.warp_image(tensor_of(pair.moving), outside=result.outside)
    window = result.settings.get("intensity", {}).get("window")

    def shown(image: torch.Tensor) -> torch.Tensor:
        """Clip to the window of the preset: padding far below air would take up the grey scale."""
        return image if window is None else image.clamp(*window)

    labels: dict[str, Any] = {}
    if pair.fixed_labels is not None and result.warped_labels is not None and pair.moving_labels is not None:
        placed = start.warp_labels(tensor_of(pair.moving_labels, dtype=torch.int32))
        labels = {
            "fixed_label": _arranged(tensor_of(pair.fixed_labels, dtype=torch.int32), transform),
            "moving_label": _arranged(placed, transform),
            "warped_label": _arranged(tensor_of(result.warped_labels, dtype=torch.int32), transform),
        }
    relative = transform.relative_to(start.world)
    spacing = transform.fixed.spacing_mm.tolist()
    axis = transform.slice_axis
    field = relative if axis is None else to_slices(relative, axis)
    return overview(
        _arranged(shown(tensor_of(pair.fixed)), transform),
        _arranged(shown(moving), transform),
        _arranged(shown(tensor_of(result.warped)), transform),
        _without_single(field.float().numpy()),
        spacing_mm=[value for k, value in enumerate(spacing) if k != axis],
        jacobian=_arranged(torch.from_numpy(result.jacobian).reshape(moving.shape), transform),
        title=f"{result.method}: {_name(result, 'moving')} → {_name(result, 'fixed')}",
        orientation=axis_codes(pair.fixed.affine) if axis is None else None,
        slices=SLICES_SHOWN,
        label_names={code: name for name, code in result.labels.items()},
        focus=bool(labels) and axis is not None,
        **labels,
    )


def _arranged(volume: torch.Tensor, transform: PairTransform) -> NDArray[Any]:
    """Return (1, 1, *S) as the figure takes it: (*S), (N, A, B) for a stack, (A, B) for one slice."""
    axis = transform.slice_axis
    if axis is None:
        return np.asarray(volume[0, 0].numpy())
    return _without_single(to_slices(volume, axis)[:, 0].numpy())


def _without_single(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(array[0] if array.shape[0] == 1 else array)


def _name(result: RegistrationResult, side: str) -> str:
    path = getattr(result.pair, side).path
    return path.name.removesuffix(".gz").removesuffix(".nii") if path is not None else side
