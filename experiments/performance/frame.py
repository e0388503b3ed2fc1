"""The table of measurements read back, and the questions that tables and figures ask of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.performance.measurements import FILE
from experiments.performance.session import OURS
from experiments.performance.sizes import parse_size

FLOOR = "floor"
KEYS = ("section", "item", "size", "contender", "mode", "quantity")


def read_frame(folder: Path) -> pd.DataFrame:
    """Rows of `bench.csv`; the last measurement of a number counts."""
    frame = pd.read_csv(folder / FILE, keep_default_na=False)
    for column in ("value", "low", "high", "load"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce")
    return frame.drop_duplicates([*KEYS, "note"], keep="last")


def pick(frame: pd.DataFrame, **wanted: str | Sequence[str]) -> pd.DataFrame:
    """Rows whose columns have the given values."""
    for column, value in wanted.items():
        values = [value] if isinstance(value, str) else list(value)
        frame = frame[frame[column].isin(values)]
    return frame


def one(frame: pd.DataFrame, **wanted: str) -> float:
    """The value of the one row that fits, or NaN."""
    values = pick(frame, **wanted)["value"]
    return float(values.iloc[-1]) if len(values) else math.nan


def in_order(frame: pd.DataFrame, column: str) -> list[str]:
    """Values of a column in the order of their first row."""
    return [str(value) for value in pd.unique(frame[column])]


def size_title(name: str) -> str:
    """A size for people."""
    return parse_size(name).title if name else ""


def contenders(frame: pd.DataFrame) -> list[str]:
    """Others than ours, without the floor."""
    return [name for name in in_order(frame, "contender") if not name.startswith(OURS) and name != FLOOR]


def speed_up(frame: pd.DataFrame, contender: str, *, quantity: str = "wall_ratio", **wanted: str) -> float:
    """How many times as long the contender takes as we do; NaN where it was not measured."""
    ratio = one(frame, contender=contender, quantity=quantity, **wanted)
    return 1 / ratio if ratio > 0 else math.nan


def fastest(frame: pd.DataFrame, *, quantity: str = "wall_ratio", **wanted: str) -> tuple[str, float]:
    """The contender that comes nearest to us, and how many times as long it takes."""
    found = [
        (name, speed_up(frame, name, quantity=quantity, **wanted))
        for name in contenders(pick(frame, **wanted))
    ]
    known = [(name, value) for name, value in found if not math.isnan(value)]
    return min(known, key=lambda pair: pair[1]) if known else ("", math.nan)


def geometric_mean(values: Sequence[float]) -> float:
    """Of the values that are known."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.exp(np.mean(np.log(known)))) if known else math.nan
