"""The speeds and sizes that we set out to reach, and how far the measurements are from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from experiments.performance.frame import (
    contenders,
    fastest,
    geometric_mean,
    in_order,
    one,
    pick,
    speed_up,
)
from experiments.performance.learn2reg import ITEMS
from experiments.performance.operators import OPERATORS
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number
from experiments.performance.sheets import BARE

BOTH = "forward+backward"
METRICS = ("dice", "hd95", "hd95_area")


@dataclass(frozen=True)
class Target:
    """One thing to reach.

    Attributes:
        text: in words.
        found: what was measured; NaN where it was not.
        wanted: the bound.
        at_least: whether the bound is a lower one.
    """

    text: str
    found: float
    wanted: float
    at_least: bool

    @property
    def verdict(self) -> str:
        """Reached, missed or not measured."""
        if math.isnan(self.found):
            return "not measured"
        reached = self.found >= self.wanted if self.at_least else self.found <= self.wanted
        return "reached" if reached else "**missed**"


def _operators(frame: pd.DataFrame) -> Iterator[Target]:
    rows = pick(frame, section="operators")
    rows = rows[rows["contender"] != BARE]
    times = [
        fastest(rows, item=item, mode=mode, size=size)[1]
        for item in OPERATORS
        for mode in ("forward", BOTH)
        for size in in_order(pick(rows, item=item), "size")
    ]
    known = [value for value in times if not math.isnan(value)]
    yield Target(
        "slowest operator against the fastest other package", min(known, default=math.nan), 1.0, True
    )
    yield Target("geometric mean over operators and sizes", geometric_mean(known), 1.5, True)
    lncc = speed_up(rows, "MONAI", item="lncc", mode=BOTH, size="128x128x128")
    yield Target("LNCC 9 with backward at 128³ against MONAI", lncc, 4.0, True)
    widths = [
        one(frame, item=f"lncc window {width}", contender=OURS, mode=BOTH, quantity="cpu_min_s")
        for width in (3, 21)
    ]
    yield Target("LNCC with window 21 over window 3, CPU", widths[1] / widths[0], 1.1, False)
    for name in ("MONAI", "deepali"):
        least = [
            speed_up(rows, name, item="mi", mode=mode, size=size)
            for mode in ("forward", BOTH)
            for size in in_order(pick(rows, item="mi"), "size")
        ]
        known = [value for value in least if not math.isnan(value)]
        yield Target(f"MI against {name}, worst size", min(known, default=math.nan), 10.0, True)


def _memory(frame: pd.DataFrame) -> Iterator[Target]:
    rows = pick(frame, section="operators", quantity="memory_mib")
    worst, halves = [], []
    for item in OPERATORS:
        for size in in_order(pick(rows, item=item), "size"):
            found = pick(rows, item=item, size=size)
            ours = one(found, contender=OURS)
            others = [one(found, contender=name) for name in contenders(found) if name != BARE]
            least = min((value for value in others if value > 0), default=math.nan)
            worst.append(ours / least)
            if item in ("lncc", "mi"):
                halves.append(ours / one(found, contender="MONAI"))
    yield Target("memory over the smallest other package, worst", largest(worst), 1.0, False)
    yield Target("memory of LNCC and MI over MONAI's, worst", largest(halves), 0.5, False)


def _steps(frame: pd.DataFrame) -> Iterator[Target]:
    rows = pick(frame, section="steps")
    for size, title in (("10*160x160", "2-D 160², batch 10"), ("96x96x96", "3-D 96³")):
        found = pick(rows, item="gradirn", size=size)
        memory = {
            name: one(found, contender=name, quantity="memory_mib") for name in in_order(found, "contender")
        }
        release = speed_up(found, "GraDIRN release")
        yield Target(f"GraDIRN's step against the release, {title}", release, 2.0, True)
        less = memory.get(f"{OURS}, checkpoint", math.nan) / memory.get("GraDIRN release", math.nan)
        yield Target(f"its memory with checkpointing over the release's, {title}", less, 0.5, False)
        more = one(found, contender=f"{OURS}, checkpoint", quantity="wall_s") / one(
            found, contender=OURS, quantity="wall_s"
        )
        yield Target(f"its time with checkpointing over without, {title}", more, 1.15, False)
        apart = one(found, contender=f"{OURS}, checkpoint", quantity="gradient_difference")
        yield Target(f"difference of its gradients with checkpointing, {title}", apart, 1e-6, False)
        monai = speed_up(pick(rows, item="voxelmorph", size=size), "MONAI")
        yield Target(f"VoxelMorph's step against MONAI's network and losses, {title}", monai, 1.0, True)


def _rest(frame: pd.DataFrame) -> Iterator[Target]:
    rows = pick(frame, section="evaluation", size="160x192x224")
    for item in ITEMS.values():
        script = pick(rows, item=item)
        faster = speed_up(script, "Learn2Reg script", quantity="cpu_ratio")
        yield Target(f"{item} against the official script, CPU time", faster, 10.0, True)
        peaks = [one(script, contender=name, quantity="peak_mib") for name in (OURS, "Learn2Reg script")]
        yield Target(f"{item}, peak memory over the script's", peaks[0] / peaks[1], 1.0, False)
    apart = pick(rows, contender="Learn2Reg script", quantity="difference")["value"]
    yield Target("largest difference from its values", largest(list(apart)), 1e-6, False)
    loop = pick(frame, section="loop")
    for item in in_order(pick(loop, mode="epoch"), "item"):
        share = one(loop, item=item, quantity="outside_wall_share")
        yield Target(f"share outside the step, {item}", share, 0.05, False)
    yield Target(
        "seconds until `train --help` answers",
        one(loop, item="train --help", quantity="wall_min_s"),
        2.0,
        False,
    )
    fitted = frame[frame["quantity"].str.startswith("exponent_") & (frame["mode"] == "voxels")]
    yield Target("largest exponent in voxels", largest(list(fitted["value"])), 1.05, False)


def largest(values: list[float]) -> float:
    """Of the values that are known."""
    return max((value for value in values if not math.isnan(value)), default=math.nan)


CHECKS: tuple[Callable[[pd.DataFrame], Iterator[Target]], ...] = (_operators, _memory, _steps, _rest)
SECTIONS = ("operators", "steps", "evaluation", "loop", "scaling")


def targets_sheet(frame: pd.DataFrame) -> Sheet:
    """Every target of operators, training and evaluation that a benchmark can judge."""
    if pick(frame, section=SECTIONS).empty:
        return judged("targets", "Targets", ())
    return judged("targets", "Targets", (target for check in CHECKS for target in check(frame)))


def judged(name: str, title: str, targets: Iterable[Target]) -> Sheet:
    """A table of targets with their verdicts."""
    rows = [
        [
            target.text,
            number(target.found),
            f"{'≥' if target.at_least else '≤'} {target.wanted:g}",
            target.verdict,
        ]
        for target in targets
    ]
    return Sheet(name, title, ("target", "measured", "wanted", ""), rows)
