"""Section `scaling`: time and memory of steps and evaluation against voxels and against the batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments.performance.inputs import Inputs
from experiments.performance.measurements import Row
from experiments.performance.memory import cost_alone
from experiments.performance.peers.ours import Ours
from experiments.performance.session import OURS, Session
from experiments.performance.sizes import Size
from medreg.kernels.allocator import keep_freed_memory

SECTION = "scaling"
VOXELS, BATCH = "voxels", "batch"
QUANTITIES = ("wall_min_s", "cpu_min_s", "memory_mib")
_CALLS = 5  # of which the least time counts, unless one takes seconds
_LEAST = 64**3  # voxels from which an exponent is fitted: below, the start of every operation counts


@dataclass(frozen=True)
class Series:
    """Work of growing size.

    Attributes:
        item: a training step by its name, or "evaluation".
        mode: what grows, voxels or batch.
        sizes: from small to large.
        quick: the same for a quick run.
    """

    item: str
    mode: str
    sizes: tuple[Size, ...]
    quick: tuple[Size, ...] = ()


def _cubes(*sides: int) -> tuple[Size, ...]:
    return tuple(Size(1, (side,) * 3) for side in sides)


def _batches(*batches: int, side: int) -> tuple[Size, ...]:
    return tuple(Size(batch, (side,) * 2) for batch in batches)


SERIES = (
    Series("gradirn checkpoint", VOXELS, _cubes(32, 48, 64, 96, 128, 160)),
    Series("voxelmorph", VOXELS, _cubes(32, 48, 64, 96, 128, 160), _cubes(32, 48)),
    Series("evaluation", VOXELS, _cubes(32, 48, 64, 96, 128, 160), _cubes(32, 48)),
    Series("gradirn", BATCH, _batches(1, 2, 4, 8, 16, side=160), _batches(1, 2, side=48)),
    Series("voxelmorph", BATCH, _batches(1, 2, 4, 8, 16, side=160)),
)


def run_scaling(session: Session) -> None:
    """Measure every series, each size in a process of its own, and fit the exponents."""
    for series in SERIES:
        sizes = series.quick if session.settings.quick else series.sizes
        if sizes:
            session.say(f"{series.item} against {series.mode}")
        for size in sizes:
            if not session.measured.has(SECTION, series.item, size.name, series.mode):
                _measure(session, series, size)
        if sizes and not session.measured.has(SECTION, series.item, "", series.mode):
            _fit(session, series, sizes)


def make_work(item: str, size: Size) -> Callable[[], object]:
    """The work of a series at a size, ready to run; made in the process that is measured."""
    inputs, ours = Inputs(size), Ours()
    if item in ours.steps():
        keep_freed_memory()  # as training does
        step = ours.steps()[item](inputs)
        # the images are made before anything is counted; a pass of the network would leave pages that hide its memory
        assert inputs.fixed.shape == inputs.moving.shape
        return step.run
    return ours.evaluation(inputs)


def _measure(session: Session, series: Series, size: Size) -> None:
    small = Size(1, (24,) * size.ndim)
    cost = cost_alone(
        partial(make_work, series.item, size),
        partial(make_work, series.item, small),
        threads=session.settings.threads,
        device="cpu",
        calls=_CALLS,
    )
    values = dict(zip(QUANTITIES, (cost.wall_s, cost.cpu_s, cost.mib), strict=True))
    session.measured.add(
        Row(SECTION, series.item, size.name, OURS, series.mode, quantity, value, note=cost.note)
        for quantity, value in values.items()
    )
    text = ", ".join(f"{quantity} {value:.3g}" for quantity, value in values.items())
    session.say(f"  {size.title}: {text}")


def _fit(session: Session, series: Series, sizes: Sequence[Size]) -> None:
    rows = session.measured.rows()
    for quantity in QUANTITIES:
        found = {
            row["size"]: float(row["value"])
            for row in rows
            if (row["section"], row["item"], row["mode"], row["quantity"])
            == (SECTION, series.item, series.mode, quantity)
        }
        points = [(size.voxels, found[size.name]) for size in sizes if size.name in found]
        value = exponent(points, least=0 if series.mode == BATCH else _LEAST)
        row = Row(SECTION, series.item, "", OURS, series.mode, f"exponent_{quantity}", value)
        session.measured.add([row])
        session.say(f"  {quantity} ∝ {series.mode}^{value:.2f}")


def exponent(points: Sequence[tuple[int, float]], *, least: int) -> float:
    """Slope of log(cost) over log(voxels) by least squares, of the points from `least` voxels on; NaN below two."""
    kept = [(math.log(n), math.log(cost)) for n, cost in points if n >= least and cost > 0]
    if len(kept) < 2:
        return math.nan
    n, cost = np.array(kept).T
    return float(np.polyfit(n, cost, 1)[0])
