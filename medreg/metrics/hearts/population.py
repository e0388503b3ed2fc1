"""Rows about all hearts of an evaluation together: the case `population` of results.csv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medreg.metrics.hearts.pooling import Pooling
from medreg.metrics.rows import MetricRow

if TYPE_CHECKING:
    import pandas as pd


def pooled_rows(frame: pd.DataFrame, pooling: Pooling) -> list[MetricRow]:
    """Return what real and modelled hearts have in common as populations.

    Args:
        frame: a row a heart, see `sources`.
        pooling: numbers that it needs.
    """
    raise NotImplementedError
