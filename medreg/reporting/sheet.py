"""The lay-out of an overview sheet: panels at one scale in mm, headings, colour bars and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medreg.reporting.overlays import label_handles
from medreg.reporting.planes import Plane
from medreg.reporting.style import INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

ONE_PLANE = (("fixed", "moving", "warped", "grid"), ("before", "after", "magnitude", "jacobian"))
MANY_PLANES = ("fixed", "moving", "warped", "before", "after", "grid", "jacobian")
# Inches.
GAP, MARGIN, HEADING, TITLE, BAR, LEGEND, NAME = 0.06, 0.08, 0.25, 0.24, 0.46, 0.26, 0.26


@dataclass(frozen=True)
class Sheet:
    """An empty figure with one dictionary of named axes for each plane."""

    figure: Figure
    panels: list[dict[str, Axes]]
    bars: float
    legend: float


def empty_sheet(planes: Sequence[Plane], *, title: str | None, legend: bool) -> Sheet:
    """Two rows of four panels for one plane; for several planes one row each, all at one scale in mm.

    Args:
        planes: What will be drawn.
        title: Heading of the sheet, or None.
        legend: Whether to leave room for a legend at the bottom.
    """
    from matplotlib.figure import Figure

    single = len(planes) == 1
    rows = ONE_PLANE if single else (MANY_PLANES,) * len(planes)
    owners = [planes[0]] * 2 if single else list(planes)
    width_mm = max(plane.size_mm[1] for plane in planes)
    ratios = [min(max(plane.size_mm[0] / width_mm, 0.3), 2.0) for plane in owners]
    panel = 2.1 if not single else 2.9 if ratios[0] <= 1.25 else 2.3
    left = MARGIN + (NAME if planes[0].name else 0.0)
    heading_rows = 2 if single else 1
    legend_height = LEGEND if legend else 0.0
    bottom = MARGIN + legend_height + BAR
    width = left + len(rows[0]) * (panel + GAP) - GAP + MARGIN
    height = bottom + sum(panel * ratio + GAP for ratio in ratios) + heading_rows * HEADING
    height += (TITLE if title else 0.0) + MARGIN
    figure = Figure(figsize=(width, height))
    if title:
        heading = figure.text(left / width, 1 - MARGIN / height, title, va="top", color=INK)
        heading.set(fontsize=11, fontweight="bold")
    top = height - MARGIN - (TITLE if title else 0.0)
    panels: list[dict[str, Axes]] = [{} for _ in planes]
    for i, (names, ratio) in enumerate(zip(rows, ratios, strict=True)):
        top -= (HEADING if i < heading_rows else 0.0) + panel * ratio
        for j, name in enumerate(names):
            box = (left + j * (panel + GAP), top, panel, panel * ratio)
            fractions = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
            panels[0 if single else i][name] = figure.add_axes(fractions)
        top -= GAP
    return Sheet(figure, panels, bars=(bottom - 0.14) / height, legend=MARGIN / height)


def colour_bar(
    sheet: Sheet,
    names: Sequence[str],
    image: AxesImage,
    *,
    label: str,
    ticks: Mapping[float, str] | None = None,
) -> None:
    """One horizontal bar below the columns `names`, which share the scale of `image`."""
    figure = sheet.figure
    boxes = [sheet.panels[-1][name].get_position(original=True) for name in names]
    left, right = min(box.x0 for box in boxes), max(box.x1 for box in boxes)
    share = 0.6 if len(names) > 1 else 0.8
    place = left + (1 - share) / 2 * (right - left)
    height = 0.08 / figure.get_size_inches()[1]
    axis = figure.add_axes((place, sheet.bars, share * (right - left), height))
    bar = figure.colorbar(image, cax=axis, orientation="horizontal")
    bar.outline.set_visible(False)
    axis.tick_params(labelsize=7, length=2, color=MUTED, pad=1.5)
    axis.set_xlabel(label, fontsize=7, labelpad=1)
    if ticks:
        bar.set_ticks(list(ticks), labels=list(ticks.values()))


def label_legend(
    sheet: Sheet, colours: Mapping[int, str], names: Mapping[int, str], *, fixed_on_warped: bool
) -> None:
    """Names of the label colours, and what the white lines are."""
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    handles = label_handles(colours, names)
    if fixed_on_warped:
        outline = [withStroke(linewidth=3.2, foreground=MUTED)]
        white = Line2D([], [], color="white", linewidth=1.6, path_effects=outline)
        white.set_label("labels of fixed, on warped")
        handles.append(white)
    left = next(iter(sheet.panels[0].values())).get_position(original=True).x0
    sheet.figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(left, sheet.legend),
        borderaxespad=0,
        borderpad=0,
        ncols=min(len(handles), 8),
        frameon=False,
        fontsize=8,
    )
