"""Pictures of hearts: three views of some frames, several hearts below each other, and the beat of each in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from medreg.reporting.heart_style import STRUCTURE_COLOURS, STRUCTURES, WORDS, source_word
from medreg.reporting.heart_views import HeartPlanes, coloured, frames_ed_es, spread_frames
from medreg.reporting.panels import panels
from medreg.reporting.style import INK
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 9.4  # inches, the most of a picture
SCALE = 0.017  # inches a mm, the most
GAP = 0.12  # inches around a view
MOST = 8  # frames in a row
SHORT = ("short axis", "long axis, LV + RV", "long axis, across")
Spacing = Sequence[float] | Array


def three_views(shape: Array, spacing_mm: Spacing, frames: Sequence[int] | None = None) -> Figure:
    """Draw a heart in three views, a row a frame.

    Args:
        shape: (T, X, Y, Z) places of the structures, 1 LV, 2 MYO, 3 RV; Z is the long axis, apex first.
        spacing_mm: of the voxels.
        frames: to show; None: ED and ES.

    Raises:
        ValueError: no sequence of volumes, or a frame that it lacks.
    """
    planes = HeartPlanes.of(shape, spacing_mm)
    shown = list(dict.fromkeys(frames_ed_es(shape))) if frames is None else list(frames)
    wrong = [frame for frame in shown if not 0 <= frame < len(shape)]
    if wrong or not shown:
        raise ValueError(f"the heart has frames 0 to {len(shape) - 1}, but {wrong or 'none'} are asked for")
    with heart_panels(planes, [range(3)] * len(shown)) as (figure, axes):
        for row, frame in enumerate(shown):
            for view, name in enumerate(SHORT):
                draw_view(axes[row, view], planes, shape[frame], view)
                axes[row, view].set_title("" if row else name, fontsize=8)
            axes[row, 0].set_ylabel(frame_word(frame, shape))
        structure_legend(figure)
    return figure


def compared_views(hearts: Mapping[str, Array], spacing_mm: Spacing, *, alike: Sequence[str] = ()) -> Figure:
    """Draw several hearts at ED and ES in three views, a row a heart, all on one scale.

    Args:
        hearts: source → (T, X, Y, Z); the first is the reference.
        spacing_mm: of the voxels.
        alike: hearts of the same person as the first: they are cut in its planes, shown at its ES, and its outline is
            drawn on them.
    """
    cuts = _planes_of(hearts, spacing_mm, alike)
    reference, first = next(iter(hearts.items()))
    views = [*range(3), *range(3)]
    with heart_panels(cuts[reference], [views] * len(hearts)) as (figure, axes):
        for row, (name, shape) in enumerate(hearts.items()):
            same = name in alike
            ed, es = frames_ed_es(first if same else shape)
            for column, view in enumerate(views):
                frame, phase = (ed, "ED") if column < 3 else (es, "ES")
                axis = axes[row, column]
                draw_view(axis, cuts[name], shape[frame], view, outline=first[frame] if same else None)
                axis.set_title("" if row else f"{phase}, {SHORT[view]}", fontsize=7.5)
            axes[row, 0].set_ylabel(source_word(name), fontsize=8)
        structure_legend(figure, outline=f"outline of {source_word(reference)}" if alike else "")
    return figure


def compared_beats(
    hearts: Mapping[str, Array], spacing_mm: Spacing, *, alike: Sequence[str] = (), view: int = 1
) -> Figure:
    """Draw one view of several hearts over time, a row a heart; arguments as of `compared_views`."""
    cuts = _planes_of(hearts, spacing_mm, alike)
    reference, first = next(iter(hearts.items()))
    columns = spread_frames(max(len(shape) for shape in hearts.values()), MOST)
    with heart_panels(cuts[reference], [[view] * len(columns)] * len(hearts)) as (figure, axes):
        for row, (name, shape) in enumerate(hearts.items()):
            for column, frame in enumerate(columns):
                axis = axes[row, column]
                axis.set_title("" if row else frame_word(frame, first), fontsize=8)
                if frame < len(shape):
                    same = first[frame] if name in alike else None
                    draw_view(axis, cuts[name], shape[frame], view, outline=same)
                else:
                    bare(axis)
            axes[row, 0].set_ylabel(source_word(name), fontsize=8)
        structure_legend(figure, outline=f"outline of {source_word(reference)}" if alike else "")
    return figure


@contextmanager
def heart_panels(planes: HeartPlanes, views: Sequence[Sequence[int]]) -> Iterator[tuple[Figure, Any]]:
    """Yield a figure and its axes for rows of views, all on one scale.

    Args:
        planes: whose room every view needs.
        views: of each row; the widths of the columns are those of the first row.
    """
    widths = [planes.size_mm(view)[0] for view in views[0]]
    heights = [max(planes.size_mm(view)[1] for view in row) for row in views]
    scale = min(SCALE, (WIDE - 0.4) / sum(widths))
    size = (
        scale * sum(widths) + GAP * len(widths) + 0.4,
        scale * sum(heights) + GAP * len(heights) + 0.8,
    )
    ratios = {"width_ratios": widths, "height_ratios": heights}
    with panels(len(views), len(widths), size=size, **ratios) as (figure, axes):
        layout: Any = figure.get_layout_engine()
        layout.set(w_pad=0.03, h_pad=0.03, wspace=0.0, hspace=0.0)
        yield figure, axes
        for row, height in zip(axes, heights, strict=True):  # as tall as the row, so that headings are level
            for axis in (axis for axis in row if axis.images):
                rows = axis.images[0].get_array().shape[0]
                spare = max(height / planes.pixel_mm - rows, 0.0) / 2
                axis.set_ylim(rows - 0.5 + spare, -0.5 - spare)


def draw_view(
    axis: Axes, planes: HeartPlanes, volume: Array, view: int, *, outline: Array | None = None
) -> None:
    """Paint one view of a volume, and the outline of another one on it.

    Args:
        axis: where.
        planes: where it is cut.
        volume: (X, Y, Z) places of the structures.
        view: place in `VIEWS`.
        outline: (X, Y, Z) of the heart whose borders are drawn in dark lines.
    """
    axis.imshow(coloured(planes.cut(volume, view)), interpolation="antialiased", aspect="equal")
    if outline is not None:
        other = planes.cut(outline, view)
        for place in range(1, len(STRUCTURES) + 1):
            inside = (other == place).astype(float)
            if inside.any():
                axis.contour(inside, levels=[0.5], colors=INK, linewidths=0.7)
    bare(axis)


def bare(axis: Axes) -> None:
    """Take ticks and frame off a panel."""
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set_visible(False)


def structure_legend(figure: Figure, *, outline: str = "") -> None:
    """Name the colours of the structures below a figure, and what dark outlines are."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Artist] = [Patch(color=STRUCTURE_COLOURS[name], label=WORDS[name]) for name in STRUCTURES]
    if outline:
        handles.append(Line2D([], [], color=INK, linewidth=0.9, label=outline))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, labelcolor=INK
    )


def frame_word(frame: int, shape: Array) -> str:
    """How a frame is called: "ED", "ES" or its place in the cycle."""
    ed, es = frames_ed_es(shape)
    return {es: "ES", ed: "ED"}.get(frame, f"{100.0 * frame / len(shape):.0f} %")


def _planes_of(
    hearts: Mapping[str, Array], spacing_mm: Spacing, alike: Sequence[str]
) -> dict[str, HeartPlanes]:
    """Planes of every heart on one scale; those of one person are cut alike."""
    first = next(iter(hearts))
    own = {name: HeartPlanes.of(np.asarray(shape), spacing_mm) for name, shape in hearts.items()}
    cut = {name: own[first] if name in alike else planes for name, planes in own.items()}
    return {name: planes.as_large_as(_seen(hearts, cut, spacing_mm)) for name, planes in cut.items()}


def _seen(
    hearts: Mapping[str, Array], cut: Mapping[str, HeartPlanes], spacing_mm: Spacing
) -> list[HeartPlanes]:
    """The room of every heart in the planes in which it is cut."""
    return [planes.around(hearts[name]) for name, planes in cut.items()]
