"""How numbers stand in the cells of every table, and which of them is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medreg.reporting.vocabulary import Better

NONE = "–"


def number(value: float, digits: int, *, sign: bool = False) -> str:
    """A number as it is printed, with a true minus; a dash for none."""
    if math.isnan(value):
        return NONE
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−").replace("inf", "∞")


def spread(mean: float, sd: float, digits: int) -> str:
    """A mean with its standard deviation, such as "0.812 ± 0.031"; the mean alone where there is none."""
    known = math.isfinite(mean) and math.isfinite(sd)
    return f"{number(mean, digits)} ± {number(sd, digits)}" if known else number(mean, digits)


def best(means: Sequence[float], better: Better, digits: int) -> list[bool]:
    """Which means print as the best of them does; none where no direction is better or there is nothing to beat."""
    printed = [round(mean, digits) for mean in means]
    finite = [mean for mean in printed if math.isfinite(mean)]
    if better == "neither" or len(finite) < 2:
        return [False] * len(means)
    top = max(finite) if better == "higher" else min(finite)
    return [mean == top for mean in printed]
