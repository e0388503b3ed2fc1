"""The tables of the report, made from the measurements."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from experiments.performance.frame import (
    FLOOR,
    contenders,
    fastest,
    geometric_mean,
    in_order,
    one,
    pick,
    size_title,
    speed_up,
)
from experiments.performance.operators import OPERATORS
from experiments.performance.session import OURS
from experiments.performance.sheet import Sheet, number

BARE = "torch grid_sample"  # a floor of the sampler and no tool that warps by a displacement


def machine_sheet(frame: pd.DataFrame) -> Sheet:
    """Hardware, versions and what memory and arithmetic reach."""
    last = frame.iloc[-1]
    copy = one(frame, section="floors", item="copy")
    matmul = one(frame, section="floors", item="matmul")
    versions = pick(frame, quantity="wall_s")[["contender", "version"]].drop_duplicates()
    pairs = zip(versions["contender"], versions["version"], strict=True)
    named = {str(name): str(version) for name, version in pairs if version}
    rows = [
        (
            "processor",
            f"{last['cpu']}, {last['cores']} cores, {last['threads']} threads used, {last['device']}",
        ),
        ("copy", f"{copy / 1e9:.1f} GB/s read and written"),
        ("matrix product, 2048²", f"{matmul / 1e9:.0f} GFLOP/s, single precision"),
        (
            "software",
            f"medreg {last['medreg']} ({last['commit']}), torch {last['torch']}, Python {last['python']}",
        ),
        ("others", ", ".join(" ".join(pair) for pair in named.items() if pair[0] != OURS)),
        ("measured", f"{frame['date'].min()} to {frame['date'].max()}"),
        ("load average", f"{frame['load'].min():.1f} to {frame['load'].max():.1f}"),
    ]
    return Sheet("machine", "Machine", ("", ""), rows)


def operator_sheet(frame: pd.DataFrame) -> Sheet:
    """Every operator at every size."""
    rows = pick(frame, section="operators")
    out = []
    for size in in_order(rows, "size"):
        for item in in_order(pick(rows, size=size), "item"):
            for mode in ("forward", "forward+backward"):
                found = pick(rows, size=size, item=item, mode=mode)
                if item in OPERATORS and not pick(found, quantity="wall_s", contender=OURS).empty:
                    out.append(_operator_row(found, size=size, item=item, mode=mode))
    columns = (
        "operator",
        "size",
        "pass",
        "medreg ms",
        "CPU ms",
        "× floor",
        "fastest other",
        "it takes",
        "all",
    )
    note = (
        "ms: medians of wall time, CPU: least process time of all threads. × floor: over the least time in which "
        "this machine could move the bytes (m) or do the arithmetic (a). “It takes”: ratio of medians, with the "
        "95 % interval over rounds; “all”: how many times as long as ours every package takes."
    )
    return Sheet("operators", "Operators", columns, out, note)


def _operator_row(found: pd.DataFrame, *, size: str, item: str, mode: str) -> list[str]:
    ours = one(found, contender=OURS, quantity="wall_s")
    cpu = one(found, contender=OURS, quantity="cpu_min_s")
    floor = pick(found, contender=FLOOR, quantity="wall_s")
    least = float(floor["value"].iloc[-1]) if len(floor) else math.nan
    bound = str(floor["note"].iloc[-1])[:1] if len(floor) else ""
    name, times = fastest(found[found["contender"] != BARE])
    interval = pick(found, contender=name, quantity="wall_ratio")
    spread = ""
    if len(interval) and interval["low"].iloc[-1] > 0:
        low, high = 1 / interval["high"].iloc[-1], 1 / interval["low"].iloc[-1]
        spread = f" ({number(low, 2)}–{number(high, 2)})"
    everyone = ", ".join(
        f"{other} {number(speed_up(found, other), 2)}" for other in contenders(pick(found, quantity="wall_s"))
    )
    return [
        OPERATORS[item].title, size_title(size), mode, number(1e3 * ours), number(1e3 * cpu),
        f"{number(ours / least, 2)} {bound}", name or "none", f"{number(times, 2)} ×{spread}" if name else "",
        everyone,
    ]  # fmt: skip


def summary_sheet(frame: pd.DataFrame) -> Sheet:
    """Geometric mean over sizes of how many times as long the fastest other package takes."""
    rows, out = pick(frame, section="operators"), []
    for item, operator in OPERATORS.items():
        if pick(rows, item=item).empty:
            continue
        cells = []
        for mode in ("forward", "forward+backward"):
            for quantity in ("wall_ratio", "cpu_ratio_of_minima"):
                times = [
                    fastest(
                        rows[rows["contender"] != BARE], quantity=quantity, item=item, mode=mode, size=size
                    )[1]
                    for size in in_order(pick(rows, item=item), "size")
                ]
                least = min((value for value in times if not math.isnan(value)), default=math.nan)
                cells.append(f"{number(geometric_mean(times), 2)} (least {number(least, 2)})")
        out.append([operator.title, *cells])
    columns = ("operator", "forward, wall", "forward, CPU", "with backward, wall", "with backward, CPU")
    note = "Times the duration of ours: geometric mean over sizes, and the worst size. CPU: ratio of minima."
    return Sheet("summary", "The fastest other package", columns, out, note)


def memory_sheet(frame: pd.DataFrame) -> Sheet:
    """Peak of forward and backward beyond the inputs."""
    rows, out = pick(frame, section="operators", quantity="memory_mib"), []
    for size in in_order(rows, "size"):
        for item in in_order(pick(rows, size=size), "item"):
            if item not in OPERATORS:
                continue
            found = pick(rows, size=size, item=item)
            ours = one(found, contender=OURS)
            others = {name: one(found, contender=name) for name in contenders(found)}
            text = ", ".join(f"{name} {number(value)}" for name, value in others.items())
            least = min((v for name, v in others.items() if name != BARE and v == v), default=math.nan)
            share = number(ours / least, 2) if least else "–"
            out.append([OPERATORS[item].title, size_title(size), number(ours), text, share])
    columns = ("operator", "size", "medreg MiB", "others MiB", "ours over the smallest other")
    return Sheet("memory", "Memory of forward and backward", columns, out)


def window_sheet(frame: pd.DataFrame) -> Sheet:
    """LNCC against the width of its window."""
    rows = frame[frame["item"].str.startswith("lncc window ")]
    out = []
    for item in in_order(rows, "item"):
        cells = []
        for name in (OURS, "MONAI"):
            for mode in ("forward", "forward+backward"):
                seconds = one(rows, item=item, contender=name, mode=mode, quantity="cpu_min_s")
                cells.append(number(1e3 * seconds))
        out.append([item.removeprefix("lncc window "), *cells])
    size = size_title(in_order(rows, "size")[0]) if len(rows) else ""
    columns = ("window", "medreg forward", "with backward", "MONAI forward", "with backward")
    return Sheet("windows", f"LNCC against its window, CPU ms, {size}", columns, out)


def value_sheet(frame: pd.DataFrame) -> Sheet:
    """How near the values are, so that the same operators were timed."""
    rows = pick(frame, section="operators", quantity="difference")
    rows = rows[rows["item"].isin(list(OPERATORS))]
    out = []
    for item in in_order(rows, "item"):
        for name in in_order(pick(rows, item=item), "contender"):
            found = pick(rows, item=item, contender=name)
            notes = ", ".join(dict.fromkeys(note for note in found["note"] if note))
            out.append([OPERATORS[item].title, name, f"{found['value'].max():.1g}", notes])
    columns = (
        "operator",
        "package",
        "largest relative difference",
        "known difference, or why it is left out",
    )
    return Sheet("values", "Agreement of values", columns, out)


SHEETS: tuple[Callable[[pd.DataFrame], Sheet], ...] = (
    machine_sheet, summary_sheet, operator_sheet, memory_sheet, window_sheet, value_sheet,
)  # fmt: skip
