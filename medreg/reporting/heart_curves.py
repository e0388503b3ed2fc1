"""Volumes over the cardiac cycle: a median line and a band for each group of hearts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medreg.errors import DataError
from medreg.reporting.heart_style import SOURCE_COLOURS, STRUCTURES, WORDS, colour_of, source_word
from medreg.reporting.panels import panels
from medreg.reporting.results import RunFolder
from medreg.reporting.views import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = (5.0, 95.0)  # percentiles
FILE, FRAME = "curves.csv", "frame_"  # table of a run, and the beginning of its columns of volumes, mL
DRAWN = ("real", "completed", "generated", "reconstructed")
FEW = 3  # up to so many curves each is a line by itself


def volume_curves(
    times: Array, curves: Mapping[str, Array], *, title: str = "", label: str = "volume (mL)"
) -> Figure:
    """Draw volumes over time: the median of each group and the band that holds 90 % of its hearts.

    Args:
        times: (T,) place in the cycle, per cent.
        curves: structure or source → (n, T) mL, or (T,) of one heart.
        title: heading.
        label: of the upright axis, with its unit.
    """
    with panels(1, 1, size=(4.6, 3.1)) as (figure, axes):
        draw_curves(axes[0, 0], times, curves)
        axes[0, 0].set(ylabel=label)
        axes[0, 0].set_title(title, loc="left")
        figure.legend(loc="outside upper right", ncols=4, frameon=False)
    return figure


def draw_curves(axis: Axes, times: Array, curves: Mapping[str, Array]) -> None:
    """Draw the groups of `volume_curves` into a panel.

    Raises:
        ValueError: a group whose curves are of another length than `times`.
    """
    times = np.asarray(times, dtype=float)
    for place, (name, values) in enumerate(curves.items()):
        rows = np.atleast_2d(np.asarray(values, dtype=float))
        if rows.shape[1] != len(times):
            raise ValueError(f"the curves of {name} have {rows.shape[1]} times, not {len(times)}")
        rows = rows[np.isfinite(rows).all(axis=1)]
        if not len(rows):
            continue
        colour = colour_of(name, place)
        if len(rows) <= FEW:
            for k, row in enumerate(rows):
                shown = source_word(name) if k == 0 else None
                axis.plot(times, row, color=colour, linewidth=1.6, marker="o", markersize=2.5, label=shown)
            continue
        low, middle, high = np.percentile(rows, (BAND[0], 50.0, BAND[1]), axis=0)
        axis.fill_between(times, low, high, color=colour, alpha=0.12, linewidth=0)
        for edge in (low, high):
            axis.plot(times, edge, color=colour, linewidth=0.6, alpha=0.6)
        axis.plot(
            times, middle, color=colour, linewidth=2.2 if name == "real" else 1.5, label=source_word(name)
        )
    axis.set_xlabel("place in the cycle (%)")
    axis.set_xlim(float(times.min()), float(max(times.max(), times.min() + 1e-6)))
    axis.set_ylim(bottom=0.0)
    axis.grid(axis="y")
    axis.set_axisbelow(True)


def curve_panels(curves: Mapping[str, Mapping[str, Array]]) -> Figure | None:
    """Draw the volumes of all structures, a panel each; None of hearts at ED and ES alone.

    Args:
        curves: source → structure → (n, T) mL; all of one T.
    """
    structures = [name for name in STRUCTURES if any(len(by.get(name, ())) for by in curves.values())]
    frames = {rows.shape[1] for by in curves.values() for rows in by.values()}
    if not structures or len(frames) != 1 or max(frames) <= 2:
        return None
    with panels(1, len(structures), size=(3.1 * len(structures) + 0.2, 3.0)) as (figure, axes):
        for axis, name in zip(axes[0], structures, strict=True):
            own = {source: by[name] for source, by in curves.items() if len(by.get(name, ()))}
            draw_curves(axis, cycle_times(*frames), own)
            axis.set_title(WORDS[name], loc="left")
        axes[0, 0].set_ylabel("volume (mL)")
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper right", ncols=4, frameon=False)
    return figure


def read_curves(run: RunFolder) -> dict[str, dict[str, Array]]:
    """The curves of a run's `curves.csv` by source and structure; empty where there is none.

    Raises:
        DataError: a table without the columns source and structure.
    """
    file = run.path / FILE
    if not file.is_file() or file.stat().st_size == 0:
        return {}
    table = pd.read_csv(file)
    missing = {"source", "structure"} - set(table.columns)
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(sorted(missing))}; evaluate the run again.")
    columns = [str(name) for name in table.columns if str(name).startswith(FRAME)]
    times = sorted(columns, key=lambda name: int(name.removeprefix(FRAME)))
    found: dict[str, dict[str, Array]] = {}
    for source in (name for name in SOURCE_COLOURS if name in DRAWN):
        for structure in STRUCTURES:
            own = table[(table["source"] == source) & (table["structure"] == structure)]
            if len(own):
                found.setdefault(source, {})[structure] = own[times].to_numpy(float)
    return found


def cycle_times(frames: int) -> Array:
    """(T,) places of the frames in the cycle, per cent; the frame after the last is the first again."""
    return 100.0 * np.arange(frames) / frames


def volumes_ml(shape: Array, spacing_mm: Array) -> Array:
    """(3, T) volumes of the structures of a heart (T, X, Y, Z), mL."""
    voxel_ml = float(np.prod(np.ravel(np.asarray(spacing_mm, dtype=float))[:3])) / 1000.0
    flat = np.asarray(shape).reshape(len(shape), -1)
    return np.stack([(flat == place).sum(axis=1) * voxel_ml for place in (1, 2, 3)])
