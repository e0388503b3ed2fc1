"""Pictures of a registered pair: before, after, what is left, and how space was deformed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.reporting.planes import Array, Plane, crop, pair_arrays, planes_of
from medreg.reporting.style import INK, LABEL_COLOURS, MUTED, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = ("fixed", "moving", "warped", "magnitude", "before", "after", "grid", "jacobian")
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
GRID_LINES = 26  # across the longer side of a plane: fine enough to show motion, coarse enough to stay readable
FOLD_COLOUR = "#ffd400"
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

    Fixed, moving and warped image with label contours, the length of the displacement, the difference images before
    and after on one shared scale, a regular grid painted on the moving image and warped with it, and the Jacobian
    determinant with folds marked. Where warped labels are drawn, the fixed contours lie dashed on top of them.

    2-D pairs are shown as they are, stacks by some of their slices (those with labels first), volumes by three
    orthogonal planes through the labels. Slices appear in stored order (axis 0 to the right, axis 1 down), volumes in
    radiological orientation (patient's right on the left); see `medreg.reporting.planes`.

    Args:
        fixed: (*S) or, for a stack of slices, (N, X, Y); any intensity unit.
        moving: As `fixed`, on the fixed grid.
        warped: As `fixed`: moving(x + u(x)).
        displacement: (D, *S) or (N, 2, X, Y), voxels of the fixed grid, component k along array axis k, pull direction.
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
        planes = [crop(plane, margin_mm=CROP_MARGIN_MM) for plane in planes]
    values = sorted({int(v) for label in pair.labels.values() for v in np.unique(label)} - {0})
    colours = {value: LABEL_COLOURS[i % len(LABEL_COLOURS)] for i, value in enumerate(values)}
    return _draw(planes, colours=colours, title=title, label_names=label_names or {})


def _draw(
    planes: Sequence[Plane], *, colours: Mapping[int, str], title: str | None, label_names: Mapping[int, str]
) -> Figure:
    import matplotlib as mpl

    with mpl.rc_context(STYLE):
        figure, axes = _sheet(planes)
        shown = {name: _Scale.of(planes, name) for name in PANELS}
        for plane, row in zip(planes, axes, strict=True):
            for name, axis in row.items():
                _PAINTERS.get(name, _paint_image)(axis, plane, name, shown[name], colours)
                _frame(axis, plane, letters=name == "fixed")
            if plane.name:
                row["fixed"].set_ylabel(plane.name)
        for name, axis in axes[0].items():
            axis.set_title(TITLES[name])
        _colour_bars(figure, axes)
        _legend(figure, colours, label_names)
        if title:
            figure.suptitle(title, fontsize=11, fontweight="bold", color=INK)
    return figure


def _sheet(planes: Sequence[Plane]) -> tuple[Figure, list[dict[str, Axes]]]:
    """An empty sheet: two rows of four panels for one plane, one row a plane for several, at one scale in mm."""
    from matplotlib.figure import Figure

    heights = [plane.size_mm[0] for plane in planes]
    width_mm = max(plane.size_mm[1] for plane in planes)
    ratios = [min(max(height / width_mm, 0.3), 2.0) for height in heights]
    if len(planes) == 1:
        panel = 2.7 if ratios[0] <= 1.2 else 2.2
        figure = Figure(figsize=(4 * panel + 1.0, 2 * (panel * ratios[0] + 0.35) + 0.7), layout="constrained")
        grid = figure.subplots(2, 4)
        return figure, [dict(zip(PANELS, grid.ravel(), strict=True))]
    names = [name for name in PANELS if name != "magnitude"]
    panel = 2.1
    figure = Figure(
        figsize=(len(names) * panel + 0.4, panel * sum(ratios) + 1.1 + 0.1 * len(planes)), layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02)  # type: ignore[union-attr]
    grid = figure.subplots(len(planes), len(names), squeeze=False, height_ratios=ratios)
    return figure, [dict(zip(names, row, strict=True)) for row in grid]


class _Scale:
    """The range of grey values or colours that one kind of panel shares over all planes."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    @classmethod
    def of(cls, planes: Sequence[Plane], name: str) -> _Scale:
        if name in ("before", "after"):
            left = [plane.images["fixed"] - plane.images[key] for plane in planes for key in ("moving", "warped")]
            extreme = _percentile([np.abs(array) for array in left], 99.5)
            return cls(-extreme or -1.0, extreme or 1.0)
        if name == "magnitude":
            return cls(0.0, _percentile([plane.magnitude_mm for plane in planes], 99.9) or 1.0)
        if name == "jacobian":
            return cls(-1.0, 1.0)
        sources = ("fixed",) if name == "fixed" else ("moving", "warped")
        arrays = [plane.images[key] for plane in planes for key in sources]
        low, high = _percentile(arrays, 0.5), _percentile(arrays, 99.5)
        return cls(low, high if high > low else low + 1.0)


def _percentile(arrays: Sequence[Array], percent: float) -> float:
    values = np.concatenate([np.ravel(array).astype(float) for array in arrays])
    values = values[np.isfinite(values)]
    return float(np.percentile(values, percent)) if values.size else 0.0


def _paint_image(axis: Axes, plane: Plane, name: str, scale: _Scale, colours: Mapping[int, str]) -> None:
    _show(axis, plane, plane.images[name], scale, "gray")
    if name in plane.labels:
        _contours(axis, plane.labels[name], colours, style="solid")
    if name == "warped" and {"warped", "fixed"} <= set(plane.labels):
        _contours(axis, plane.labels["fixed"], colours, style="dashed", colour="white")


def _paint_magnitude(axis: Axes, plane: Plane, name: str, scale: _Scale, colours: Mapping[int, str]) -> None:
    _show(axis, plane, plane.magnitude_mm, scale, "viridis")


def _paint_difference(axis: Axes, plane: Plane, name: str, scale: _Scale, colours: Mapping[int, str]) -> None:
    other = "moving" if name == "before" else "warped"
    _show(axis, plane, plane.images["fixed"].astype(float) - plane.images[other], scale, "RdBu_r")


def _paint_grid(axis: Axes, plane: Plane, name: str, scale: _Scale, colours: Mapping[int, str]) -> None:
    """Contours of x + u(x): the lines of a regular grid on the moving image, where the warped image shows them."""
    _show(axis, plane, plane.images["warped"], _Scale.of([plane], "warped"), "gray", alpha=0.45)
    step_mm = max(plane.size_mm) / GRID_LINES
    for component, spacing in enumerate(plane.spacing_mm):
        lines = plane.position[component]
        size = lines.shape[component]
        step = max(step_mm / spacing, 1.0)
        levels = np.arange((size - 1) % step / 2, size, step)
        if min(lines.shape) > 1 and np.nanmin(lines) < levels[-1] and np.nanmax(lines) > levels[0]:
            axis.contour(lines, levels=levels, colors="#0b6e99", linewidths=0.7)


def _paint_jacobian(axis: Axes, plane: Plane, name: str, scale: _Scale, colours: Mapping[int, str]) -> None:
    from matplotlib.colors import ListedColormap

    folded = plane.jacobian <= 0
    safe = np.where(folded | ~np.isfinite(plane.jacobian), 1.0, plane.jacobian)
    _show(axis, plane, np.log2(safe), scale, "PuOr_r")
    if folded.any():
        mask = np.ma.masked_where(~folded, folded)
        axis.imshow(mask, cmap=ListedColormap([FOLD_COLOUR]), aspect=axis.get_aspect(), interpolation="nearest")
    share = 100.0 * float(folded.mean())
    axis.text(
        0.03,
        0.97,
        f"folds {share:.2f} %" if folded.any() else "no folds",
        transform=axis.transAxes,
        va="top",
        fontsize=7,
        color=INK,
        bbox={"facecolor": FOLD_COLOUR if folded.any() else "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.5},
    )


_PAINTERS: dict[str, Callable[[Axes, Plane, str, _Scale, Mapping[int, str]], None]] = {
    "magnitude": _paint_magnitude,
    "before": _paint_difference,
    "after": _paint_difference,
    "grid": _paint_grid,
    "jacobian": _paint_jacobian,
}


def _show(axis: Axes, plane: Plane, array: Array, scale: _Scale, colours: str, **options: Any) -> None:
    axis.imshow(
        np.asarray(array, dtype=float),
        cmap=colours,
        vmin=scale.low,
        vmax=scale.high,
        aspect=plane.spacing_mm[0] / plane.spacing_mm[1],
        interpolation="nearest",
        **options,
    )


def _contours(
    axis: Axes, labels: Array, colours: Mapping[int, str], *, style: str, colour: str | None = None
) -> None:
    width = 1.1 if len(colours) <= 8 else 0.6
    for value, own in colours.items():
        inside = labels == value
        if inside.any() and not inside.all() and min(inside.shape) > 1:
            axis.contour(
                inside.astype(float),
                levels=[0.5],
                colors=colour or own,
                linewidths=width * (0.7 if colour else 1.0),
                linestyles=style,
            )


def _frame(axis: Axes, plane: Plane, *, letters: bool) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    rows, columns = plane.jacobian.shape
    axis.set_xlim(-0.5, columns - 0.5)
    axis.set_ylim(rows - 0.5, -0.5)
    for spine in axis.spines.values():
        spine.set_visible(False)
    if letters and plane.letters:
        places = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"))
        places += ((0.5, 0.98, "center", "top"), (0.5, 0.02, "center", "bottom"))
        for letter, (x, y, horizontal, vertical) in zip(plane.letters, places, strict=True):
            axis.text(x, y, letter, transform=axis.transAxes, ha=horizontal, va=vertical, color="white", fontsize=7)


def _colour_bars(figure: Figure, axes: Sequence[Mapping[str, Axes]]) -> None:
    """One bar for each scale, beside a single plane and below several."""
    single = len(axes) == 1
    groups: dict[tuple[str, ...], str] = {("before", "after"): "intensity", ("jacobian",): "volume ratio"}
    if single:
        groups[("magnitude",)] = "mm"
    for names, label in groups.items():
        panels = [row[name] for row in axes for name in names]
        bar = figure.colorbar(
            panels[-1].images[0],
            ax=panels,
            location="right" if single else "bottom",
            shrink=0.75,
            aspect=22,
            pad=0.02,
        )
        bar.outline.set_visible(False)  # type: ignore[operator]
        bar.ax.tick_params(labelsize=7, length=2, color=MUTED)
        bar.set_label(label, fontsize=7)
        if names == ("jacobian",):
            bar.set_ticks([-1, 0, 1], labels=["½", "1", "2"])


def _legend(figure: Figure, colours: Mapping[int, str], names: Mapping[int, str]) -> None:
    from matplotlib.lines import Line2D

    if not colours or len(colours) > 12:
        return
    handles = [
        Line2D([], [], color=colour, linewidth=2, label=names.get(value, f"label {value}"))
        for value, colour in colours.items()
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=8)
