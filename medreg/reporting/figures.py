"""Pictures of a registered pair: before, after, what is left, and how space was deformed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.reporting.overlays import MANY_LABELS, Scale, grey_scale, label_colours, outline, percentile
from medreg.reporting.planes import Plane, crop, pair_arrays, planes_of
from medreg.reporting.sheet import colour_bar, empty_sheet, label_legend
from medreg.reporting.style import INK, STYLE
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "fixed": "Fixed",
    "moving": "Moving",
    "warped": "Warped moving",
    "magnitude": "Displacement (mm)",
    "before": "Fixed − moving",
    "after": "Fixed − warped",
    "grid": "Grid of moving, warped",
    "jacobian": "Jacobian determinant",
}
GRID_LINES = 26  # across the longer side of a plane: shows motion and stays readable
FOLD_COLOUR = "#ffd400"
ALIKE = 1.5  # ratio of grey ranges up to which fixed and moving share one
CROP_MARGIN_MM = 25.0  # around the labels: keeps the neighbouring tissue that a reader orients by


def overview(
    fixed: Array,
    moving: Array,
    warped: Array,
    displacement: Array,
    *,
    spacing_mm: Sequence[float] | Array,
    fixed_label: Array | None = None,
    moving_label: Array | None = None,
    warped_label: Array | None = None,
    jacobian: Array | None = None,
    title: str | None = None,
    orientation: str | None = None,
    label_names: Mapping[int, str] | None = None,
    slices: int = 3,
    focus: bool = False,
) -> Figure:
    """Show one registered pair on one sheet.

    Fixed, moving and warped image with label contours, the length of the displacement, the difference
    images before and after on one shared scale, a regular grid painted on the moving image and warped with
    it, and the Jacobian determinant with folds marked. Where warped labels are drawn, the fixed contours lie
    in white on top of them. Differences are relative to the grey range shown, which all images share unless
    their intensities differ too much (another scanner or modality).

    2-D pairs are shown as they are, stacks by some of their slices (those with labels first), volumes by
    three orthogonal planes through the labels. Slices appear in stored order (axis 0 to the right, axis 1
    down), volumes in radiological orientation (patient's right on the left): `medreg.reporting.planes`.

    Args:
        fixed: (*S) or, for a stack of slices, (N, X, Y); any intensity unit.
        moving: As `fixed`, on the fixed grid.
        warped: As `fixed`: moving(x + u(x)).
        displacement: (D, *S) or (N, 2, X, Y), voxels of the fixed grid, component k along array axis k,
            pull direction.
        spacing_mm: One number per spatial axis, mm.
        fixed_label: Integer labels, as `fixed`; 0 is background.
        moving_label: As `fixed_label`.
        warped_label: As `fixed_label`.
        jacobian: Determinant of x + u(x), as `fixed`; computed by central differences if not given.
        title: Heading of the sheet.
        orientation: Direction in which each array index increases, such as "LPS" or "RAS".
        label_names: Names of the label values for the legend.
        slices: The most slices of a stack to show.
        focus: Whether to cut the planes down to the labels and a margin.

    Returns:
        A Matplotlib figure that belongs to no window and needs no closing.

    Raises:
        ValueError: If the shapes cannot belong to one pair.
    """
    pair = pair_arrays(
        fixed,
        moving,
        warped=warped,
        displacement=displacement,
        spacing_mm=spacing_mm,
        labels={"fixed": fixed_label, "moving": moving_label, "warped": warped_label},
        jacobian=jacobian,
    )
    planes = planes_of(pair, orientation=orientation, slices=slices)
    if focus:
        planes = crop(planes, margin_mm=CROP_MARGIN_MM)
    colours = label_colours(pair.labels.values())
    return draw_planes(planes, colours=colours, title=title, label_names=label_names or {})


def draw_planes(
    planes: Sequence[Plane], *, colours: Mapping[int, str], title: str | None, label_names: Mapping[int, str]
) -> Figure:
    """Draw planes on one sheet, all on the same scales: two rows of panels for one, else a row each.

    Args:
        planes: What is shown; their names stand at the left of the rows.
        colours: Colour of each label value.
        title: Heading of the sheet.
        label_names: Names of the label values for the legend.
    """
    import matplotlib as mpl

    legend = 0 < len(colours) <= MANY_LABELS
    scales = _scales(planes)
    same = scales["fixed"] == scales["moving"]
    difference = "difference / grey range" if same else "difference, each image / its own grey range"
    with mpl.rc_context(STYLE):
        sheet = empty_sheet(planes, title=title, legend=legend)
        for plane, row in zip(planes, sheet.panels, strict=True):
            for name, axis in row.items():
                _PAINTERS.get(name, _paint_image)(_Panel(axis, plane, name, scales, colours))
                _frame(axis, plane, letters=name == "fixed")
                if plane is planes[0]:
                    axis.set_title(TITLES[name], pad=4)
            row["fixed"].set_ylabel(plane.name)
        last = {name: axis.images[0] for name, axis in sheet.panels[-1].items()}
        colour_bar(sheet, ("before", "after"), last["after"], label=difference)
        ratios = {-1.0: "≤ ½", 0.0: "1", 1.0: "≥ 2"}
        colour_bar(sheet, ("jacobian",), last["jacobian"], label="volume ratio", ticks=ratios)
        if "magnitude" in last:
            colour_bar(sheet, ("magnitude",), last["magnitude"], label="mm")
        if legend:
            both = {"fixed", "warped"} <= set(planes[0].labels)
            label_legend(sheet, colours, label_names, fixed_on_warped=both)
    return sheet.figure


@dataclass(frozen=True)
class _Panel:
    """One panel to paint: where, what, and in which colours."""

    axis: Axes
    plane: Plane
    name: str
    scales: Mapping[str, Scale]
    colours: Mapping[int, str]

    def show(self, array: Array, colours: str, **options: Any) -> None:
        """Draw an array in the colours and on the scale of the panel."""
        scale = self.scales[self.name]
        self.axis.imshow(
            np.asarray(array, dtype=float),
            cmap=colours,
            vmin=scale.low,
            vmax=scale.high,
            aspect=self.plane.spacing_mm[0] / self.plane.spacing_mm[1],
            interpolation="nearest",
            **options,
        )


def _scales(planes: Sequence[Plane]) -> dict[str, Scale]:
    """The scale of every kind of panel; images of like intensities share theirs, so that equal is equal."""
    fixed = grey_scale([plane.images["fixed"] for plane in planes])
    moving = grey_scale([plane.images[key] for plane in planes for key in ("moving", "warped")])
    if 1 / ALIKE <= fixed.width / moving.width <= ALIKE:
        fixed = moving = grey_scale([image for plane in planes for image in plane.images.values()])
    scales = {"fixed": fixed, "moving": moving, "warped": moving, "grid": moving}
    left = [_difference(plane, key, scales) for plane in planes for key in ("moving", "warped")]
    extreme = percentile([np.abs(array) for array in left], 99.5) or 1.0
    longest = percentile([plane.magnitude_mm for plane in planes], 99.9) or 1.0
    scales |= dict.fromkeys(("before", "after"), Scale(-extreme, extreme))
    return scales | {"magnitude": Scale(0.0, longest), "jacobian": Scale(-1.0, 1.0)}


def _difference(plane: Plane, other: str, scales: Mapping[str, Scale]) -> Array:
    """Fixed minus the other image, both on the grey scale on which they are shown."""
    difference = scales["fixed"].unit(plane.images["fixed"]) - scales[other].unit(plane.images[other])
    return np.asarray(difference)


def _paint_image(panel: _Panel) -> None:
    labels, few = panel.plane.labels, len(panel.colours) <= MANY_LABELS
    panel.show(panel.plane.images[panel.name], "gray")
    if panel.name in labels:
        outline(panel.axis, labels[panel.name], panel.colours, width=1.2 if few else 0.6)
    if panel.name == "warped" and {"warped", "fixed"} <= set(labels) and few:
        outline(panel.axis, labels["fixed"], panel.colours, width=0.7, colour="white")


def _paint_magnitude(panel: _Panel) -> None:
    panel.show(panel.plane.magnitude_mm, "viridis")


def _paint_difference(panel: _Panel) -> None:
    other = "moving" if panel.name == "before" else "warped"
    panel.show(_difference(panel.plane, other, panel.scales), "RdBu_r")


def _paint_grid(panel: _Panel) -> None:
    """Contours of x + u(x): lines of a regular grid on the moving image, where the warped image has them."""
    plane = panel.plane
    panel.show(plane.images["warped"], "gray", alpha=0.45)
    step_mm = max(plane.size_mm) / GRID_LINES
    for component, spacing in enumerate(plane.spacing_mm):
        lines = plane.position[component]
        size = lines.shape[component]
        step = max(step_mm / spacing, 1.0)
        levels = np.arange((size - 1) % step / 2, size, step)
        finite = lines[np.isfinite(lines)]
        if min(lines.shape) > 1 and finite.size and finite.min() < levels[-1] and finite.max() > levels[0]:
            panel.axis.contour(lines, levels=levels, colors="#0b6e99", linewidths=0.7)


def _paint_jacobian(panel: _Panel) -> None:
    from matplotlib.colors import ListedColormap

    determinant = panel.plane.jacobian
    folded = determinant <= 0
    background = FOLD_COLOUR if folded.any() else "white"
    panel.show(np.log2(np.where(folded, 1.0, determinant)), "PuOr_r")
    if folded.any():
        panel.axis.imshow(
            np.ma.masked_where(~folded, folded),
            cmap=ListedColormap([FOLD_COLOUR]),
            aspect=panel.axis.get_aspect(),
            interpolation="nearest",
        )
    panel.axis.text(
        0.03,
        0.97,
        f"folds {100.0 * float(folded.mean()):.2f} %" if folded.any() else "no folds",
        transform=panel.axis.transAxes,
        va="top",
        fontsize=7,
        color=INK,
        bbox={"facecolor": background, "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
    )


_PAINTERS: dict[str, Callable[[_Panel], None]] = {
    "magnitude": _paint_magnitude,
    "before": _paint_difference,
    "after": _paint_difference,
    "grid": _paint_grid,
    "jacobian": _paint_jacobian,
}


def _frame(axis: Axes, plane: Plane, *, letters: bool) -> None:
    from matplotlib.patheffects import withStroke

    axis.set_xticks([])
    axis.set_yticks([])
    rows, columns = plane.jacobian.shape
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(rows - 0.5, -0.5)
    for spine in axis.spines.values():
        spine.set_visible(False)
    if letters and plane.letters:
        sides = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"))
        places = (*sides, *((0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom")))
        for letter, (x, y, horizontal, vertical) in zip(plane.letters, places, strict=True):
            written = axis.text(x, y, letter, transform=axis.transAxes, ha=horizontal, va=vertical)
            written.set(
                color="white", fontsize=7, path_effects=[withStroke(linewidth=1.5, foreground="black")]
            )
