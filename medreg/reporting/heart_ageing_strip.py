"""One heart at several ages in a row, all cut alike and on one scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from medreg.reporting.heart_curves import volumes_ml
from medreg.reporting.heart_pictures import draw_view, heart_panels, structure_legend
from medreg.reporting.heart_views import HeartPlanes
from medreg.reporting.style import MUTED
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = (("ED", 0, 0), ("ED", 0, 1), ("ES", -1, 0), ("ES", -1, 1))  # phase, frame (-1: the smallest LV), view


def heart_ageing_strip(
    shapes: Mapping[str, Array],
    spacing_mm: Sequence[float] | Array,
    *,
    reference: str = "",
    outline: str = "",
    title: str = "",
) -> Figure:
    """Draw a heart at several ages, a column an age: short and long axis at ED and at ES.

    Args:
        shapes: age or age group → (T, X, Y, Z) places of the structures.
        spacing_mm: of the voxels.
        reference: one of the ages, whose outline is drawn on all others; empty: none.
        outline: how that outline is called in the legend; empty: by the age.
        title: heading.

    Raises:
        ValueError: nothing to draw, or a reference that is not there.
    """
    if not shapes or (reference and reference not in shapes):
        raise ValueError(f"there is no heart {reference or 'at all'} among {list(shapes)}")
    whose = reference or next(iter(shapes))
    planes = HeartPlanes.of(shapes[whose], spacing_mm)
    planes = planes.as_large_as([planes.around(shape) for shape in shapes.values()])
    rows = [[view] * len(shapes) for _, _, view in ROWS]
    with heart_panels(planes, rows) as (figure, axes):
        for column, (name, shape) in enumerate(shapes.items()):
            smallest = int(volumes_ml(shape, planes.spacing_mm)[0].argmin())
            for row, (phase, frame, view) in enumerate(ROWS):
                frame = smallest if frame < 0 else frame
                other = shapes[whose] if reference and name != reference else None
                drawn_on = None if other is None else other[_same(other, frame, phase, planes)]
                draw_view(axes[row, column], planes, shape[frame], view, outline=drawn_on)
                axes[row, 0].set_ylabel(phase)
            axes[0, column].set_title(name)
            lvedv = volumes_ml(shape, planes.spacing_mm)[0, 0]
            axes[-1, column].set_xlabel(f"LVEDV {lvedv:.0f} mL", fontsize=7.5, color=MUTED)
        figure.suptitle(title, fontsize=10, fontweight="bold")
        structure_legend(figure, outline=(outline or f"outline at {reference}") if reference else "")
    return figure


def _same(shape: Array, frame: int, phase: str, planes: HeartPlanes) -> int:
    """The frame of another heart in the same phase."""
    return int(volumes_ml(shape, planes.spacing_mm)[0].argmin()) if phase == "ES" else frame
