"""The tables of training steps, evaluation, loop and scaling."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from experiments.performance.augmentation_sheet import agreement_sheet, augmentation_sheet
from experiments.performance.frame import in_order, one, pick, size_title
from experiments.performance.hearts_sheet import grid_sheet, hearts_sheet, values_sheet
from experiments.performance.posterior_sheet import parity_sheet, posterior_sheet
from experiments.performance.scaling_section import QUANTITIES
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number

TITLES = {"gradirn": "GraDIRN", "voxelmorph": "VoxelMorph", "vrnet": "VR-Net"}


def steps_sheet(frame: pd.DataFrame) -> Sheet:
    """Training steps of every package."""
    rows, out = pick(frame, section="steps"), []
    for item in in_order(rows, "item"):
        for size in in_order(pick(rows, item=item), "size"):
            found = pick(rows, item=item, size=size)
            for name in in_order(pick(found, quantity="wall_s"), "contender"):
                cells = _step_cells(found, name)
                out.append([TITLES.get(item, item), size_title(size), name, *cells])
    columns = (
        "network",
        "size",
        "package",
        "wall s",
        "CPU s",
        "peak MiB",
        "times ours",
        "CPU",
        "memory",
        "parameters",
    )
    note = (
        "Forward, loss, backward and Adam; VR-Net with one warp unless said otherwise. × floor: over the "
        "arithmetic of our convolutions at the rate of a matrix product. Times ours: ratio of medians over "
        "medreg without checkpointing; CPU and memory likewise. Peak: beyond weights and images, in a process of its "
        "own."
    )
    return Sheet("steps", "One step of training", columns, out, note)


def _step_cells(found: pd.DataFrame, name: str) -> list[str]:
    wall, cpu, memory = (
        one(found, contender=name, quantity=q) for q in ("wall_s", "cpu_min_s", "memory_mib")
    )
    mine = {q: one(found, contender=OURS, quantity=q) for q in ("wall_s", "cpu_min_s", "memory_mib")}
    floor = one(found, contender="floor", quantity="floor_s")
    return [
        number(wall), number(wall / floor, 2), number(cpu), number(memory), number(wall / mine["wall_s"], 2),
        number(cpu / mine["cpu_min_s"], 2), number(memory / mine["memory_mib"], 2),
        f"{one(found, contender=name, quantity='parameters'):.0f}",
    ]  # fmt: skip


def evaluation_sheet(frame: pd.DataFrame) -> Sheet:
    """All metrics of a pair."""
    rows, out = pick(frame, section="evaluation"), []
    for item in in_order(rows, "item"):
        found = pick(rows, item=item)
        for name in in_order(pick(found, quantity="wall_s"), "contender"):
            wall, cpu = (one(found, contender=name, quantity=q) for q in ("wall_s", "cpu_min_s"))
            mine = {q: one(found, contender=OURS, quantity=q) for q in ("wall_s", "cpu_min_s")}
            values = ", ".join(
                f"{metric} {number(one(found, contender=name, quantity=metric), 4)}"
                for metric in ("dice", "hd95_mm", "assd_mm")
                if len(pick(found, contender=name, quantity=metric))
            )
            differences = pick(found, contender=name, quantity="difference")
            values = values or ", ".join(f"{r.note}: {r.value:.1g}" for r in differences.itertuples())
            out.append(
                [item, size_title(in_order(found, "size")[0]), name, number(wall), number(cpu),
                 number(wall / mine["wall_s"], 2), number(cpu / mine["cpu_min_s"], 2), values]
            )  # fmt: skip
    columns = (
        "work",
        "size",
        "package",
        "wall s",
        "CPU s",
        "times ours",
        "CPU",
        "values, or difference from ours",
    )
    return Sheet("evaluation", "All metrics of a pair, 35 labels", columns, out)


def loop_sheet(frame: pd.DataFrame) -> Sheet:
    """Shares of an epoch."""
    rows = pick(frame, section="loop", mode="epoch")
    out = []
    for item in in_order(rows, "item"):
        found = {q: one(rows, item=item, quantity=q) for q in in_order(rows, "quantity")}
        cells = [number(found["step_wall_s"]), number(found["step_cpu_s"])]
        for part in ("outside", "data", "checkpoint"):
            cells.append(
                " / ".join(f"{100 * found[f'{part}_{clock}_share']:.1f}" for clock in ("wall", "cpu"))
            )
        cells += [
            number(found["validation_case_wall_s"]),
            f"{100 * found['validation_of_epoch_wall_share']:.1f}",
        ]
        out.append([item, *cells])
    starts = pick(frame, section="loop", mode="start")
    note = "; ".join(
        f"`medreg {item}` answers in {one(starts, item=item, quantity='wall_min_s'):.2f} s "
        f"(CPU {number(one(starts, item=item, quantity='cpu_min_s'))} s)"
        for item in in_order(starts, "item")
    )
    columns = (
        "run", "step s", "step CPU s", "outside forward, backward, optimiser: % of wall / CPU", "data %",
        "checkpoints %", "validation case s", "one validation, % of an epoch",
    )  # fmt: skip
    return Sheet("loop", "The loop around the step", columns, out, note)


def scaling_sheet(frame: pd.DataFrame) -> Sheet:
    """Time and memory against size, with the exponents."""
    rows, out = pick(frame, section="scaling"), []
    for item in in_order(rows, "item"):
        for mode in in_order(pick(rows, item=item), "mode"):
            found = pick(rows, item=item, mode=mode)
            for size in [name for name in in_order(found, "size") if name]:
                cells = [number(one(found, size=size, quantity=quantity)) for quantity in QUANTITIES]
                out.append([item, size_title(size), *cells])
            fitted = [one(found, size="", quantity=f"exponent_{quantity}") for quantity in QUANTITIES]
            out.append([item, f"exponent in {mode}", *(f"**{value:.2f}**" for value in fitted)])
    columns = ("work", "size", "wall s", "CPU s", "peak MiB")
    note = "Exponents: least squares in logarithms, against voxels from 64³ on, against the batch from all."
    return Sheet("scaling", "Cost as work grows", columns, out, note, figure="performance_scaling")


RUN_SHEETS: tuple[Callable[[pd.DataFrame], Sheet], ...] = (
    steps_sheet, evaluation_sheet, loop_sheet, scaling_sheet, posterior_sheet, parity_sheet,
    augmentation_sheet, agreement_sheet, hearts_sheet, grid_sheet, values_sheet,
)  # fmt: skip
