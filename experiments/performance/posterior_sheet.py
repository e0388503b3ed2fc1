"""The table of inference, and what it was to reach."""

from __future__ import annotations

from types import MappingProxyType

import pandas as pd

from experiments.performance.frame import in_order, one, pick, size_title
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number

TITLES = MappingProxyType(
    {
        "notebook": "engine, 8-D normal, 1000 steps",
        "vi": "VI iteration, mirrored pair",
        "transition": "SGLD transition, two chains",
        "chains": "SGLD transition, four chains",
    }
)


def posterior_sheet(frame: pd.DataFrame) -> Sheet:
    """Every piece of inference, on one thread and on all."""
    rows, out = pick(frame, section="posterior"), []
    for item in TITLES:
        for size in in_order(pick(rows, item=item), "size"):
            for mode in in_order(pick(rows, item=item, size=size), "mode"):
                found = pick(rows, item=item, size=size, mode=mode)
                for name in in_order(pick(found, quantity="wall_s"), "contender"):
                    out.append([TITLES[item], size_title(size), mode, name, *_cells(found, name)])
    columns = ("work", "size", "", "package", "wall ms", "CPU ms", "times ours", "CPU", "reached")
    note = (
        "Medians of alternating rounds in one process. Times ours: ratio of medians over medreg, with the 95 % "
        "interval over rounds. Bare energy: the same samples' energy forward and backward, nothing else. Lean: "
        "without what the release computes for its logs alone. KL: from the truth to the fit, nats."
    )
    return Sheet("posterior", "Inference", columns, out, f"{note} {measured_on(rows)}" if out else "")


def parity_sheet(frame: pd.DataFrame) -> Sheet:
    """How near our posterior is to the released one, under the switches of the released code."""
    rows = pick(frame, section="posterior", mode="values")
    out = [
        [str(quantity).removesuffix("_difference"), str(name), f"{value:.1g}"]
        for quantity, name, value in zip(rows["quantity"], rows["contender"], rows["value"], strict=True)
    ]
    note = f"Mean size of the difference over that of the release's; {rows['note'].iloc[-1]}." if out else ""
    return Sheet("posterior_values", "Agreement of posteriors", ("term", "release", "difference"), out, note)


def measured_on(rows: pd.DataFrame) -> str:
    """When and where rows were measured, in a sentence."""
    last = rows.iloc[-1]
    return (
        f"Measured {rows['date'].min()[:16]} to {rows['date'].max()[:16]} on {last['cpu']}, {last['cores']} cores, "
        f"torch {last['torch']}, commit {last['commit']}, load average {rows['load'].min():.1f} to "
        f"{rows['load'].max():.1f}."
    )


def _cells(found: pd.DataFrame, name: str) -> list[str]:
    wall, cpu = (one(found, contender=name, quantity=quantity) for quantity in ("wall_s", "cpu_s"))
    reached = one(found, contender=name, quantity="kl")
    return [
        number(1e3 * wall), number(1e3 * cpu),
        times_ours(found, name, "wall_ratio"), times_ours(found, name, "cpu_ratio"),
        f"KL {number(reached)}" if reached == reached else "",
    ]  # fmt: skip


def times_ours(found: pd.DataFrame, name: str, quantity: str) -> str:
    """How many times as long as ours, with its interval."""
    if name == OURS:
        return "1"
    ratio = pick(found, contender=name, quantity=quantity)
    if ratio.empty:
        return "–"
    value, low, high = (1 / float(ratio[column].iloc[-1]) for column in ("value", "high", "low"))
    return f"{number(value, 3)} ({number(low, 3)}–{number(high, 3)})"
