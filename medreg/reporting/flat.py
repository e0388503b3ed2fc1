"""Arrays of one case as flat views: a slice as it is, some slices of a stack, three planes of a volume."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from medreg.reporting.views import (
    Array,
    View,
    axis_codes,
    choose_centre,
    choose_slices,
    orthogonal_views,
)


@dataclass(frozen=True)
class FlatView:
    """One flat view of the arrays of a case.

    Attributes:
        name: What is seen, such as "slice 4" or "axial 17".
        arrays: (rows, columns) each, by name.
        aspect: Height of a pixel by its width.
    """

    name: str
    arrays: Mapping[str, Array]
    aspect: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns."""
        return next(iter(self.arrays.values())).shape

    @property
    def tall(self) -> float:
        """Height of the picture by its width."""
        rows, columns = self.shape
        return rows / columns * self.aspect


def flat_views(
    arrays: Mapping[str, Array],
    *,
    image: str,
    label: Array | None,
    spacing_mm: Sequence[float] | Array,
    affine: Array | None,
    slices: int,
) -> Iterator[FlatView]:
    """Yield the views of a case.

    Args:
        arrays: by name, (*S) or, for a stack of slices, (N, X, Y) each.
        image: which of them the planes of a volume are chosen by where there are no labels.
        label: label map by which slices and planes are chosen; None or empty: the image.
        spacing_mm: a number per spatial axis.
        affine: (4, 4) of a volume, for its orientation.
        slices: the most slices of a stack to show.
    """
    spacing = [float(value) for value in np.ravel(np.asarray(spacing_mm))]
    whole = arrays[image]
    if len(spacing) == 3 and whole.ndim == 3:
        codes = None if affine is None else axis_codes(affine)
        views: Sequence[View] = orthogonal_views(choose_centre(whole, label), orientation=codes)
        stacks = [arrays] * len(views)
    elif whole.ndim == 2:
        views, stacks = [View()], [arrays]
    else:
        chosen = choose_slices(label if label is not None and np.any(label) else whole, slices)
        views = [replace(View(), name=f"slice {index}") for index in chosen]
        stacks = [{name: array[index] for name, array in arrays.items()} for index in chosen]
    for view, own in zip(views, stacks, strict=True):
        height, width = view.spacing_mm(spacing)
        flat = {name: view.flat(array) for name, array in own.items()}
        yield FlatView(view.name, flat, height / width)
