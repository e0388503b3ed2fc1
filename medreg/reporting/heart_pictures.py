"""Pictures of hearts: three views of some frames, several hearts below each other, and the beat of each in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from medreg.reporting.heart_style import STRUCTURE_COLOURS, STRUCTURES, WORDS
from medreg.reporting.heart_views import VIEWS, HeartPlanes, coloured, frames_ed_es, spread_frames
from medreg.reporting.panels import panels
from medreg.reporting.style import INK, MUTED
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = 1.45  # inches
MOST = 8  # frames in a row
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
    end = frames_ed_es(shape)
    shown = list(dict.fromkeys(end)) if frames is None else list(frames)
    wrong = [frame for frame in shown if not 0 <= frame < len(shape)]
    if wrong:
        raise ValueError(f"the heart has frames 0 to {len(shape) - 1}, but {wrong} are asked for")
    with panels(len(shown), 3, size=(3 * PANEL * 1.2 + 0.4, len(shown) * PANEL * 1.2 + 0.7)) as (
        figure,
        axes,
    ):
        for row, frame in enumerate(shown):
            for view, name in enumerate(VIEWS):
                draw_view(axes[row, view], planes, shape[frame], view)
                axes[row, view].set_title("" if row else name, fontsize=8)
            axes[row, 0].set_ylabel(frame_word(frame, shape))
        structure_legend(figure)
    return figure


def compared_views(hearts: Mapping[str, Array], spacing_mm: Spacing, *, alike: Sequence[str] = ()) -> Figure:
    """Draw several hearts at ED and ES in three views, a row a heart, all on one scale.

    Args:
        hearts: name → (T, X, Y, Z); the first is the reference.
        spacing_mm: of the voxels.
        alike: hearts of the same person as the first: they are cut in its planes, shown at its ES, and its outline is
            drawn on them.
    """
    cuts = _planes_of(hearts, spacing_mm, alike)
    reference, first = next(iter(hearts)), next(iter(hearts.values()))
    size = (6 * PANEL + 0.5, len(hearts) * PANEL + 0.9)
    with panels(len(hearts), 6, size=size) as (figure, axes):
        for row, (name, shape) in enumerate(hearts.items()):
            same = name in alike
            ed_es = frames_ed_es(first if same else shape)
            for block, (frame, phase) in enumerate(zip(ed_es, ("ED", "ES"), strict=True)):
                for view, word in enumerate(VIEWS):
                    axis = axes[row, 3 * block + view]
                    draw_view(axis, cuts[name], shape[frame], view, outline=first[frame] if same else None)
                    title = f"{phase}\n{word}" if view == 1 else f"\n{word}"
                    axis.set_title(
                        "" if row else title.replace(", both ventricles", ", LV and RV"), fontsize=7.5
                    )
            axes[row, 0].set_ylabel(name)
        structure_legend(figure, outline=f"outline of {reference}" if alike else "")
    return figure


def compared_beats(hearts: Mapping[str, Array], spacing_mm: Spacing, *, alike: Sequence[str] = ()) -> Figure:
    """Draw the long axis through both ventricles over time, a row a heart; arguments as of `compared_views`."""
    cuts = _planes_of(hearts, spacing_mm, alike)
    reference, first = next(iter(hearts)), next(iter(hearts.values()))
    columns = spread_frames(max(len(shape) for shape in hearts.values()), MOST)
    size = (len(columns) * PANEL * 0.85 + 0.5, len(hearts) * PANEL * 0.95 + 0.7)
    with panels(len(hearts), len(columns), size=size) as (figure, axes):
        for row, (name, shape) in enumerate(hearts.items()):
            for column, frame in enumerate(columns):
                axis = axes[row, column]
                if frame >= len(shape):
                    axis.set_axis_off()
                    continue
                same = first[frame] if name in alike else None
                draw_view(axis, cuts[name], shape[frame], 1, outline=same)
                axis.set_title("" if row else frame_word(frame, first), fontsize=8)
            axes[row, 0].set_ylabel(name)
        structure_legend(figure, outline=f"outline of {reference}" if alike else "")
    return figure


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
    names = {es: "ES", ed: "ED"}
    percent = 100.0 * frame / len(shape)
    return names.get(frame, f"{percent:.0f} %")


def scale_bar(axis: Axes, planes: HeartPlanes, *, length_mm: float = 50.0) -> None:
    """A line of a known length at the lower edge of a view."""
    rows, columns = axis.images[0].get_array().shape[:2]  # type: ignore[union-attr]
    end = columns - 3
    start = end - length_mm / planes.pixel_mm
    axis.plot([start, end], [rows - 4] * 2, color=MUTED, linewidth=1.5, solid_capstyle="butt")
    axis.text(
        (start + end) / 2, rows - 6, f"{length_mm:.0f} mm", fontsize=6, color=MUTED, ha="center", va="bottom"
    )


def _planes_of(
    hearts: Mapping[str, Array], spacing_mm: Spacing, alike: Sequence[str]
) -> dict[str, HeartPlanes]:
    """Planes of every heart on one scale; those of one person are cut alike."""
    first = next(iter(hearts))
    shapes = {name: np.asarray(shape) for name, shape in hearts.items()}
    own = {name: HeartPlanes.of(shape, spacing_mm) for name, shape in shapes.items()}
    everyone = list(own.values())
    return {name: own[first if name in alike else name].as_large_as(everyone) for name in own}
