"""One case by many methods: a row each with the warped image, what is left, grid and Jacobian, on shared scales."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.figures import CROP_MARGIN_MM, draw_planes
from medreg.reporting.overlays import label_colours
from medreg.reporting.planes import Array, Plane, axis_codes, crop, pair_arrays, planes_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class MethodResult:
    """What one method made of the case.

    Attributes:
        name: of the method.
        warped: (X, Y, Z) moving image through the field.
        displacement: (3, X, Y, Z) voxels of the fixed grid, pull.
        warped_label: (X, Y, Z) moving labels through the field, None without labels.
    """

    name: str
    warped: Array
    displacement: Array
    warped_label: Array | None = None


def method_rows(
    fixed: Array,
    moving: Array,
    results: Sequence[MethodResult],
    *,
    affine: Array,
    fixed_label: Array | None = None,
    moving_label: Array | None = None,
    title: str | None = None,
    label_names: Mapping[int, str] | None = None,
) -> Figure:
    """Draw one row a method: fixed, moving, warped, differences before and after, grid, Jacobian.

    The plane is the first of the three orthogonal ones through the labels. All rows share their scales.

    Args:
        fixed: (X, Y, Z).
        moving: (X, Y, Z) on the fixed grid.
        results: the methods, in the order of the rows.
        affine: (4, 4) of the fixed grid, voxel → RAS mm.
        fixed_label: (X, Y, Z) integer labels.
        moving_label: as `fixed_label`.
        title: heading.
        label_names: names of label values for the legend.
    """
    spacing = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    planes: list[Plane] = []
    for result in results:
        labels = {"fixed": fixed_label, "moving": moving_label, "warped": result.warped_label}
        pair = pair_arrays(
            fixed,
            moving,
            warped=result.warped,
            displacement=result.displacement,
            spacing_mm=spacing,
            labels=labels,
        )
        plane = planes_of(pair, orientation=axis_codes(np.asarray(affine)), slices=1)[0]
        planes.append(replace(plane, name=result.name))
    planes = crop(planes, margin_mm=CROP_MARGIN_MM)
    colours = label_colours(label for plane in planes for label in plane.labels.values())
    return draw_planes(planes, colours=colours, title=title, label_names=label_names or {})
