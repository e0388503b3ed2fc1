"""The speeds of inference that we set out to reach."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from experiments.performance.frame import contenders, in_order, one, pick, size_title, speed_up
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet
from experiments.performance.targets import Target, judged, largest

RATIO = "cpu_ratio"  # which other work on the machine does not touch
TITLES = {"vi": "VI iteration", "transition": "transition of two chains"}


def posterior_targets_sheet(frame: pd.DataFrame) -> Sheet:
    """What VI, sampling and the engine were to reach, on one thread and on all, by CPU time."""
    rows = pick(frame, section="posterior")
    targets = [] if rows.empty else [*_of_speed(rows), *_of_values(rows)]
    return judged("posterior_targets", "Targets of inference, by CPU time", targets)


def _of_speed(rows: pd.DataFrame) -> Iterator[Target]:
    for mode in in_order(rows[rows["mode"] != "values"], "mode"):
        found = pick(rows, mode=mode)
        engine = speed_up(found, "dlvi release", quantity=RATIO, item="notebook")
        yield Target(f"the engine against dlvi on its notebook, {mode}", engine, 3.0, True)
        for item, title in TITLES.items():
            yield from _of_releases(pick(found, item=item, size="64x64x64"), f"{title} against", mode)
            for size in in_order(pick(found, item=item), "size"):
                over = _share(found, "bare energy", item=item, size=size)
                yield Target(f"{title} over its bare energy, {size_title(size)}, {mode}", over, 1.3, False)
        for size in in_order(pick(found, item="chains"), "size"):
            over = _share(found, "one after another", item="chains", size=size)
            text = f"four chains in a batch over one after another, {size_title(size)}, {mode}"
            yield Target(text, over, 0.7, False)


def _of_releases(found: pd.DataFrame, text: str, mode: str) -> Iterator[Target]:
    for name in contenders(found):
        yield Target(f"{text} {name} at 64³, {mode}", speed_up(found, name, quantity=RATIO), 2.0, True)


def _share(found: pd.DataFrame, variant: str, **wanted: str) -> float:
    """Our time over that of a variant of ours."""
    return one(found, contender=f"{OURS}, {variant}", quantity=RATIO, **wanted)


def _of_values(rows: pd.DataFrame) -> Iterator[Target]:
    reached = pick(rows, item="notebook", contender=OURS, quantity="kl")["value"]
    yield Target(
        "KL from the truth to the engine's fit of the notebook, nats", largest(list(reached)), 0.8, False
    )
    apart = largest(list(pick(rows, mode="values")["value"]))
    yield Target("largest relative difference from the posterior of ir-sgmcmc", apart, 1e-3, False)
