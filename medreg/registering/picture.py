"""The picture sheets of a registered pair, arranged for `reporting.figures` and `reporting.posterior_pictures`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from medreg.geometry.pair_transform import PairTransform, to_slices
from medreg.io.stack import tensor_of
from medreg.registering.pair import Pair
from medreg.registering.posterior import PairPosterior
from medreg.reporting.figures import overview
from medreg.reporting.posterior_pictures import draw
from medreg.reporting.views import axis_codes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SLICES_SHOWN = 4


def overview_of(
    pair: Pair,
    start: PairTransform,
    transform: PairTransform,
    *,
    outside: float,
    window: Sequence[float] | None,
    label_names: Mapping[str, int],
    method: str,
) -> Figure:
    """Draw fixed, moving (on the fixed grid, as placed before registration), warped, field and Jacobian.

    Args:
        pair: the images.
        start: the map before registration.
        transform: the map found.
        outside: intensity beyond the moving image.
        window: intensities to clip to; padding far below air would take up the grey scale.
        label_names: structure → code.
        method: for the title.
    """

    def shown(image: torch.Tensor) -> NDArray[Any]:
        return _arranged(image if window is None else image.clamp(*window), transform)

    image = tensor_of(pair.moving)
    labels: dict[str, Any] = {}
    if pair.fixed_labels is not None and pair.moving_labels is not None:
        moving = tensor_of(pair.moving_labels, dtype=torch.int32)
        labels = {
            "fixed_label": _arranged(tensor_of(pair.fixed_labels, dtype=torch.int32), transform),
            "moving_label": _arranged(start.warp_labels(moving), transform),
            "warped_label": _arranged(transform.warp_labels(moving), transform),
        }
    relative = transform.relative_to(start.world)
    spacing = transform.fixed.spacing_mm.tolist()
    axis = transform.slice_axis
    field = relative if axis is None else to_slices(relative, axis)
    return overview(
        shown(tensor_of(pair.fixed)),
        shown(start.warp_image(image, outside=outside)),
        shown(transform.warp_image(image, outside=outside)),
        _without_single(field.float().numpy()),
        spacing_mm=[value for k, value in enumerate(spacing) if k != axis],
        jacobian=_arranged(transform.jacobian_determinant().float().unsqueeze(0), transform),
        title=f"{method}: {_name(pair, 'moving')} → {_name(pair, 'fixed')}",
        orientation=axis_codes(pair.fixed.affine) if axis is None else None,
        slices=SLICES_SHOWN,
        label_names={code: name for name, code in label_names.items()},
        focus=bool(labels) and axis is not None,
        **labels,
    )


def posterior_of(
    pair: Pair, start: PairTransform, posterior: PairPosterior, *, label_names: Mapping[str, int], method: str
) -> Figure:
    """Draw mean and spread of the displacement over the fixed image, and contours of label probability.

    Args:
        pair: the images.
        start: the map before registration, which the mean displacement leaves out.
        posterior: what is known.
        label_names: structure → code.
        method: for the title.
    """
    base, axis = posterior.base, posterior.base.slice_axis
    field = posterior.mean_transform.relative_to(start.world)
    norm = np.sqrt(np.square(posterior.displacement_sd_mm).sum(0)).reshape(1, 1, *base.fixed.shape)
    codes = list(posterior.summary.labels.values())
    arrays = {
        "fixed": _arranged(tensor_of(pair.fixed), base),
        "displacement_mean": _without_single(
            (field if axis is None else to_slices(field, axis)).float().numpy()
        ),
        "displacement_sd_mm": _arranged(torch.from_numpy(norm), base),
        "spacing_mm": np.array([mm for k, mm in enumerate(base.fixed.spacing_mm.tolist()) if k != axis]),
    }
    if axis is None:
        arrays["affine"] = pair.fixed.affine
    found = posterior.summary.probabilities
    if found is not None:
        # Of two structures no slice could be told from the components in plane: one by one.
        maps = [_arranged(found[:, k : k + 1], base) for k in range(len(codes))]
        flat = axis is None or maps[0].ndim == 2
        arrays["label_probability"] = np.stack(maps, axis=0 if flat else 1)
        arrays["label_probability_codes"] = np.array(codes)
    if pair.fixed_labels is not None:
        arrays["fixed_label"] = _arranged(tensor_of(pair.fixed_labels, dtype=torch.int32), base)
    names = {code: name for name, code in {**posterior.summary.labels, **label_names}.items()}
    return draw(arrays, f"{method}: {_name(pair, 'moving')} → {_name(pair, 'fixed')}", names)


def _arranged(volume: torch.Tensor, transform: PairTransform) -> NDArray[Any]:
    """Return (1, 1, *S) as the figure takes it: (*S), (N, A, B) for a stack, (A, B) for one slice."""
    axis = transform.slice_axis
    if axis is None:
        return np.asarray(volume[0, 0].numpy())
    return _without_single(to_slices(volume, axis)[:, 0].numpy())


def _without_single(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(array[0] if array.shape[0] == 1 else array)


def _name(pair: Pair, side: str) -> str:
    path = getattr(pair, side).path
    return path.name.removesuffix(".gz").removesuffix(".nii") if path is not None else side
