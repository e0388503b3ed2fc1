"""Rows about the cycle of modelled hearts: whether ED and ES fall where they do in real ones, and whether it closes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.completion import ES_TOLERANCE
from medreg.metrics.hearts.distributions import finite
from medreg.metrics.hearts.pooled_hearts import Hearts
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("lvedv_ml", "lvm_g", "rvedv_ml")  # a heart that lacks one of these structures at ED is none


def cycle_rows(hearts: Hearts, modelled: pd.DataFrame) -> Iterator[MetricRow]:
    """Yield, for modelled hearts and (`…_real_…`) real ones, shares of hearts in % and the wrap-around.

    `modelled_largest_first_percent`: the left ventricle is largest in frame 0. `modelled_es_frame_percent`: it is
    smallest within one frame of the usual ES frame of real test hearts. `wrap_ratio`: mean |V(T − 1) − V(0)| divided by
    that of real hearts. `incomplete_percent`: hearts that lack a structure at ED.

    Args:
        hearts: all of them.
        modelled: new hearts over the cycle.
    """
    yield MetricRow("all", "incomplete_percent", _percent(_incomplete(hearts, modelled)), "%")
    real = hearts.real
    if "wrap_ml" not in modelled or not len(finite(modelled["wrap_ml"].to_numpy())):
        return  # ED and ES alone
    usual = float(real["es_frame"].median())
    for frame, end in ((modelled, ""), (real, "_real")):
        first, late = frame["largest_frame"].to_numpy() == 0, frame["es_frame"].to_numpy() - usual
        yield MetricRow("all", f"modelled{end}_largest_first_percent", _percent(first), "%")
        yield MetricRow("all", f"modelled{end}_es_frame_percent", _percent(np.abs(late) <= ES_TOLERANCE), "%")
        yield MetricRow("all", f"wrap{end}_ml", _mean(frame), "ml")
    yield MetricRow("all", "wrap_ratio", _mean(modelled) / _mean(real) if _mean(real) else math.nan, "1")


def _incomplete(hearts: Hearts, modelled: pd.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    there = [name for name in NEEDED if name in hearts.measures]
    return np.asarray((modelled[there].to_numpy(dtype=float) <= 0).any(axis=1))


def _mean(frame: pd.DataFrame) -> float:
    known = finite(frame["wrap_ml"].to_numpy(dtype=float))
    return float(known.mean()) if len(known) else math.nan


def _percent(holds: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    return 100.0 * float(holds.mean()) if holds.size else math.nan
