"""The table of steps with an adversarial chain, how near they are to the release, and what they were to reach."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from experiments.performance.frame import contenders, in_order, one, pick, size_title, speed_up
from experiments.performance.posterior_sheet import measured_on, times_ours
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number
from experiments.performance.targets import Target, judged, largest

PLAIN = f"{OURS}, plain step"
RATIO = "cpu_ratio"  # which other work on the machine does not touch


def augmentation_sheet(frame: pd.DataFrame) -> Sheet:
    """Every step, on one thread and on all."""
    rows, out = pick(frame, section="augmentation"), []
    for size in in_order(rows[rows["mode"] != "values"], "size"):
        for mode in in_order(pick(rows, size=size), "mode"):
            found = pick(rows, size=size, mode=mode)
            plain = one(found, contender=PLAIN, quantity="cpu_s")
            for name in in_order(pick(found, quantity="wall_s"), "contender"):
                wall, cpu = (
                    one(found, contender=name, quantity=quantity) for quantity in ("wall_s", "cpu_s")
                )
                times = [times_ours(found, name, quantity) for quantity in ("wall_ratio", RATIO)]
                cells = [number(1e3 * wall), number(1e3 * cpu), number(cpu / plain), *times]
                out.append([size_title(size), mode, name, *cells])
    columns = ("size", "", "package", "wall ms", "CPU ms", "CPU, plain steps", "times ours", "CPU")
    note = (
        "UNet_16 (16 channels), Dice and cross-entropy, Adam, the same images, labels and first weights; noise, bias, "
        "morph and affine in this order, one step of ascent. Medians of alternating rounds in one process. Times ours: "
        "ratio of medians over medreg, with the 95 % interval over rounds."
    )
    return Sheet(
        "augmentation", "Adversarial augmentation", columns, out, f"{note} {measured_on(rows)}" if out else ""
    )


def agreement_sheet(frame: pd.DataFrame) -> Sheet:
    """How near our chain is to the released one for the same parameters, under the switches of the released code."""
    rows = pick(frame, section="augmentation", mode="values")
    out = [
        [str(quantity).removesuffix("_difference").replace("_", " "), str(name), f"{value:.1g}"]
        for quantity, name, value in zip(rows["quantity"], rows["contender"], rows["value"], strict=True)
    ]
    note = (
        f"Mean size of the difference over that of the release's; of a direction, 1 − cosine; {rows['note'].iloc[-1]}."
        if out
        else ""
    )
    return Sheet("augmentation_values", "Agreement of chains", ("value", "release", "difference"), out, note)


def augmentation_targets_sheet(frame: pd.DataFrame) -> Sheet:
    """What a step was to cost, by CPU time."""
    rows = pick(frame, section="augmentation")
    targets = [] if rows.empty else list(_targets(rows))
    return judged("augmentation_targets", "Targets of augmentation, by CPU time", targets)


def _targets(rows: pd.DataFrame) -> Iterator[Target]:
    for mode in in_order(rows[rows["mode"] != "values"], "mode"):
        for size in in_order(pick(rows, mode=mode), "size"):
            found = pick(rows, size=size, mode=mode)
            where = f"{size_title(size)}, {mode}"
            plain = one(found, contender=PLAIN, quantity=RATIO)
            yield Target(f"AdvChain's step over a plain one, {where}", plain, 3.2, False)
            for name in contenders(found):
                faster = speed_up(found, name, quantity=RATIO)
                yield Target(f"AdvChain's step against {name}, {where}", faster, 1.3, True)
    values = pick(rows, mode="values")
    apart = largest(list(values[values["quantity"].str.startswith("divergence")]["value"]))
    yield Target("relative difference of the divergence from AdvChain release", apart, 1e-3, False)
