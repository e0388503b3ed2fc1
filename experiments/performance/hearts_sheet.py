"""The tables of CHeart's step, of its full grid, how near it is to the release, and what it was to reach."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from experiments.performance.frame import contenders, in_order, one, pick, size_title, speed_up
from experiments.performance.hearts_section import ALONE, SECTION
from experiments.performance.posterior_sheet import measured_on, times_ours
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number
from experiments.performance.targets import Target, judged, largest

PER_FRAME, SPARING = f"{OURS}, per frame", f"{OURS}, checkpoint four frames"
RATIO = "cpu_ratio"  # which other work on the machine does not touch
MEMORY_MIB = 8 * 1024


def hearts_sheet(frame: pd.DataFrame) -> Sheet:
    """Every step, on one thread and on all."""
    rows, out = _timed(frame), []
    for size in in_order(rows, "size"):
        for mode in in_order(pick(rows, size=size), "mode"):
            found = pick(rows, size=size, mode=mode)
            for name in in_order(pick(found, quantity="wall_s"), "contender"):
                wall, cpu = (
                    one(found, contender=name, quantity=quantity) for quantity in ("wall_s", "cpu_s")
                )
                times = [times_ours(found, name, quantity) for quantity in ("wall_ratio", RATIO)]
                out.append([size_title(size), mode, name, number(1e3 * wall), number(1e3 * cpu), *times])
    columns = ("size", "", "package", "wall ms", "CPU ms", "times ours", "CPU")
    note = (
        "Twenty frames, four channels, 32 numbers of the code and of the conditions; forward, loss, backward and Adam. "
        "Per frame: frames are normalised one by one, as in the release; medreg normalises them together. Four frames: "
        "a step decodes four of the twenty. Medians of alternating rounds in one process. Times ours: ratio of medians "
        "over medreg, with the 95 % interval over rounds."
    )
    return Sheet("hearts", "One step of CHeart", columns, out, f"{note} {measured_on(rows)}" if out else "")


def grid_sheet(frame: pd.DataFrame) -> Sheet:
    """Peak memory and time of a step of the full grid."""
    rows, out = _alone(frame), []
    for size in in_order(rows, "size"):
        for name in in_order(pick(rows, size=size), "contender"):
            found = pick(rows, size=size, contender=name)
            cells = [number(one(found, quantity=key), 4) for key in ("memory_mib", "wall_s", "cpu_s")]
            out.append([size_title(size), name, *cells])
    note = "Peak of the resident memory beyond code, weights and hearts, in a process each; the faster of two steps."
    columns = ("size", "package", "peak MiB", "wall s", "CPU s")
    text = f"{note} {measured_on(rows)}" if out else ""
    return Sheet("hearts_grid", "CHeart on the full grid", columns, out, text)


def values_sheet(frame: pd.DataFrame) -> Sheet:
    """How near our CHeart is to the released one, under the switches of the released code."""
    rows = pick(frame, section=SECTION, mode="values")
    out = [
        [str(quantity).removesuffix("_difference"), str(name), f"{value:.1g}"]
        for quantity, name, value in zip(rows["quantity"], rows["contender"], rows["value"], strict=True)
    ]
    note = (
        f"Relative to the release's value; gradients, the largest difference over the largest; {rows['note'].iloc[-1]}."
        if out
        else ""
    )
    return Sheet("hearts_values", "Agreement of CHeart", ("value", "release", "difference"), out, note)


def hearts_targets_sheet(frame: pd.DataFrame) -> Sheet:
    """What a step was to cost, by CPU time, and the full grid to need."""
    found = [] if pick(frame, section=SECTION).empty else list(_targets(frame))
    return judged("hearts_targets", "Targets of CHeart", found)


def _targets(frame: pd.DataFrame) -> Iterator[Target]:
    rows = _timed(frame)
    for mode in in_order(rows, "mode"):
        for size in in_order(pick(rows, mode=mode), "size"):
            found = pick(rows, size=size, mode=mode)
            where = f"{size_title(size)}, {mode}"
            for name in contenders(found):
                faster = speed_up(found, name, quantity=RATIO)
                yield Target(f"CHeart's step against {name}, {where}", faster, 2.0, True)
                alike = faster * one(found, contender=PER_FRAME, quantity=RATIO)
                yield Target(f"the same, frames normalised one by one as there, {where}", alike, 2.0, True)
    alone = _alone(frame)
    for size in in_order(alone, "size"):
        peak = one(alone, size=size, contender=SPARING, quantity="memory_mib")
        text = f"MiB of a step with checkpointing and four frames, {size_title(size)}"
        yield Target(text, peak, MEMORY_MIB, False)
    values = pick(frame, section=SECTION, mode="values")
    yield Target(
        "relative difference of loss and gradients from CHeart release",
        largest(list(values["value"])),
        1e-5,
        False,
    )


def _timed(frame: pd.DataFrame) -> pd.DataFrame:
    rows = pick(frame, section=SECTION)
    return rows[(rows["mode"] != "values") & ~rows["mode"].str.startswith(ALONE)]


def _alone(frame: pd.DataFrame) -> pd.DataFrame:
    rows = pick(frame, section=SECTION)
    return rows[rows["mode"].str.startswith(ALONE)]
