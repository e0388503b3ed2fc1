"""The curves of each method over all cases with their standard errors, as one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from medreg.metrics.uncertainty.intervals import Numbers
from medreg.metrics.uncertainty.over_cases import bootstrap
from medreg.studies.uncertainty.counts import cube, structures
from medreg.studies.uncertainty.reading import Method

COLUMNS = ("method", "kind", "structure", "position", "value", "error", "ideal", "count")
# kind → (observed, ideal) of pooled counts (P, 3) of count, observed and expected
SHARES = ("coverage", "coverage_ranks", "sparsification")
HISTOGRAMS = ("ranks", "transform")


def curves_of(method: Method, *, seed: int = 0) -> pd.DataFrame:
    """Return coverage, histograms, sparsification and reliability of a method.

    Returns:
        columns `COLUMNS`: `value` at a position, its standard error over cases, `ideal`: what it would be if right (of
        sparsification, the oracle), `count` of what was pooled. Of reliability, `value` is the share that came true and
        `ideal` the mean probability.
    """
    rows = [*_rows(method, SHARES, _shares, seed), *_rows(method, HISTOGRAMS, _densities, seed)]
    for structure in [*structures(method.counts), "all"]:
        kind = "reliability_top" if structure == "all" else "reliability"
        rows += _rows(method, (kind,), _shares, seed, structure)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(
    method: Method,
    kinds: tuple[str, ...],
    statistic: Callable[[Numbers], Numbers],
    seed: int,
    structure: str = "all",
) -> Iterator[tuple[object, ...]]:
    for kind in kinds:
        found = cube(method.counts, kind, structure)
        if found is None:
            continue
        with np.errstate(invalid="ignore"):  # a bin that holds nothing
            value, error = bootstrap(statistic, found.values, seed=seed)
        for place, position in enumerate(found.positions):
            (observed, ideal), (spread, _) = value[:, place], error[:, place]
            count = found.pooled[place, 0]
            yield method.name, kind, structure, position, observed, spread, ideal, count


def _shares(pooled: Numbers) -> Numbers:
    """(2, P) observed and expected over count."""
    with np.errstate(invalid="ignore"):
        return np.asarray((pooled[:, 1:] / pooled[:, :1]).T)


def _densities(pooled: Numbers) -> Numbers:
    """(2, P) share of each bin times their number, 1 where uniform."""
    observed = pooled[:, 1] / pooled[:, 1].sum() * len(pooled)
    return np.stack([observed, np.ones(len(pooled))])
