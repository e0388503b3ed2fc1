"""The figures of the benchmark: speed beside others, distance from the floor, and cost as work grows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.performance.frame import contenders, in_order, one, pick, size_title, speed_up
from experiments.performance.operators import OPERATORS
from experiments.performance.scaling_section import BATCH, VOXELS
from experiments.performance.session import OURS
from experiments.performance.sizes import parse_size
from medreg.reporting.style import METHOD_COLOURS, MUTED, STYLE, save

BOTH = "forward+backward"


def operator_figure(frame: pd.DataFrame) -> Any | None:
    """Times the duration of ours, every package and size, forward with backward where there is one."""
    rows = pick(frame, section="operators", quantity="wall_ratio")
    items = [item for item in OPERATORS if not pick(rows, item=item).empty]
    if not items:
        return None
    names = contenders(rows)
    figure, axes = _figure((9.0, 2.0 + 1.6 * ((len(items) + 3) // 4)), (len(items) + 3) // 4, 4)
    for axis, item in zip(axes.flat, items, strict=False):
        mode = BOTH if not pick(rows, item=item, mode=BOTH).empty else "forward"
        found = pick(rows, item=item, mode=mode)
        sizes = in_order(found, "size")
        for name in contenders(found):
            values = [speed_up(found, name, size=size) for size in sizes]
            colour = METHOD_COLOURS[names.index(name) % len(METHOD_COLOURS)]
            axis.plot(range(len(sizes)), values, "o-", color=colour, markersize=4, label=name)
        axis.axhline(1, color=MUTED, linewidth=0.8)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}" if _narrow(axis) else "")
        axis.set_xticks(range(len(sizes)), [size_title(size) for size in sizes], rotation=30, fontsize=6)
        axis.set_title(f"{OPERATORS[item].title}{'' if mode == BOTH else ', forward'}")
    for axis in list(axes.flat)[len(items) :]:
        axis.set_visible(False)
    handles: dict[str, Any] = {}
    for axis in axes.flat:
        handles.update(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False
    )
    figure.supylabel("times the duration of medreg", fontsize=9)
    return figure


def floor_figure(frame: pd.DataFrame) -> Any | None:
    """Our time over the least that the machine allows."""
    rows = pick(frame, section="operators", quantity="wall_s")
    items = [item for item in OPERATORS if not pick(rows, item=item).empty]
    if not items:
        return None
    figure, axes = _figure((7.5, 3.4), 1, 1)
    axis, sizes = axes.flat[0], in_order(rows, "size")
    for place, size in enumerate(sizes):
        mode = {item: BOTH if not pick(rows, item=item, mode=BOTH).empty else "forward" for item in items}
        values = [
            one(rows, item=item, size=size, mode=mode[item], contender=OURS)
            / one(rows, item=item, size=size, mode=mode[item], contender="floor")
            for item in items
        ]
        left = np.arange(len(items)) + (place - len(sizes) / 2 + 0.5) * 0.8 / len(sizes)
        axis.bar(left, values, 0.8 / len(sizes), color=METHOD_COLOURS[place % 7], label=size_title(size))
    axis.set_yscale("log")
    axis.set_xticks(range(len(items)), [OPERATORS[item].title for item in items], rotation=30, ha="right")
    axis.set_ylabel("duration over the floor")
    axis.legend(frameon=False)
    return figure


def scaling_figure(frame: pd.DataFrame) -> Any | None:
    """CPU time and memory against voxels and batch, in logarithms, with the fitted exponents."""
    rows = pick(frame, section="scaling")
    if rows.empty:
        return None
    figure, axes = _figure((8.6, 5.4), 2, 2)
    for column, mode in enumerate((VOXELS, BATCH)):
        for row, (quantity, label) in enumerate((("cpu_min_s", "CPU s"), ("memory_mib", "peak MiB"))):
            axis = axes[row][column]
            for place, item in enumerate(in_order(pick(rows, mode=mode), "item")):
                found = pick(rows, item=item, mode=mode, quantity=quantity)
                voxels = [parse_size(name).voxels for name in found["size"]]
                slope = one(rows, item=item, mode=mode, quantity=f"exponent_{quantity}")
                axis.plot(
                    voxels, found["value"], "o-", color=METHOD_COLOURS[place], markersize=4,
                    label=f"{item}: exponent {slope:.2f}",
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_yscale("log")
            # within two decades matplotlib would label them, one over another
            axis.xaxis.set_minor_formatter("")
            axis.set_xlabel("voxels" if mode == VOXELS else "pixels, batch growing")
            axis.set_ylabel(label)
            if axis.lines:
                axis.legend(frameon=False)
    return figure


FIGURES: dict[str, Callable[[pd.DataFrame], Any | None]] = {
    "performance_operators": operator_figure,
    "performance_floors": floor_figure,
    "performance_scaling": scaling_figure,
}


def save_figures(frame: pd.DataFrame, folder: Path) -> list[Path]:
    """Write every figure that the measurements allow, as PNG and SVG."""
    import matplotlib as mpl

    written = []
    with mpl.rc_context({**STYLE, "svg.hashsalt": "medreg"}):
        for name, draw in FIGURES.items():
            figure = draw(frame)
            if figure is not None:
                written += [save(figure, folder / f"{name}.{ending}") for ending in ("png", "svg")]
    return written


def _narrow(axis: Any) -> bool:
    """Whether the axis spans less than a decade, where ticks at powers of ten alone would say nothing."""
    low, high = axis.get_ylim()
    return bool(high < 10 * low)


def _figure(size: tuple[float, float], rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)
