"""What the conditions do to the measures of hearts: linear regression of each measure on all conditions.

Coefficients are told per step of a condition (a decade of age, man against woman, …). Standard errors are robust: those
of real hearts against unequal spread (HC1), those of modelled hearts also against hearts of the same case being alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medreg.metrics.hearts.measures import FloatArray

if TYPE_CHECKING:
    import pandas as pd

KNOWN_SHARE = 0.5  # of hearts that must tell a condition for it to be regressed on
LEAST_FREE = 5  # hearts more than coefficients, below which nothing is fitted


@dataclass(frozen=True)
class Effect:
    """A coefficient per step, in the unit of the measure, with its 95 % interval."""

    value: float
    se: float
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """A modelled effect as a share of the real one, with its 95 % bootstrap interval over cases."""

    value: float
    low: float
    high: float


Effects = dict[str, dict[str, Effect]]  # measure → condition → effect


def usable(frame: pd.DataFrame, steps: Mapping[str, float]) -> list[str]:
    """Return the conditions of `steps` that most hearts tell and that differ among them."""
    return [
        name
        for name in steps
        if name in frame and frame[name].notna().mean() >= KNOWN_SHARE and frame[name].nunique() > 1
    ]


def design(frame: pd.DataFrame, names: Sequence[str], steps: Mapping[str, float]) -> FloatArray:
    """Return (n, 1 + C): a constant, and each condition in steps from its mean in the frame."""
    columns = [(frame[name] - frame[name].mean()) / steps[name] for name in names]
    return np.column_stack([np.ones(len(frame)), *columns]).astype(float)


def complete_rows(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows in which all of some columns are known numbers."""
    return frame[np.isfinite(frame[list(columns)].to_numpy(dtype=float)).all(axis=1)]


def effects(
    frame: pd.DataFrame, measures: Sequence[str], names: Sequence[str], steps: Mapping[str, float]
) -> Effects:
    """Return the effect of every condition on every measure; a measure with too few hearts is left out.

    Args:
        frame: columns case, the conditions, the measures; a row a heart.
        measures: to be explained.
        names: of the conditions.
        steps: condition → step.
    """
    import statsmodels.api as sm

    found: Effects = {}
    for measure in measures:
        rows = complete_rows(frame, [measure, *names])
        if not names or len(rows) < len(names) + 1 + LEAST_FREE:
            continue
        clusters = rows["case"].astype("category").cat.codes.to_numpy()
        many = len(np.unique(clusters)) < len(clusters)
        model = sm.OLS(rows[measure].to_numpy(dtype=float), design(rows, names, steps))
        with (
            warnings.catch_warnings()
        ):  # fewer cases than coefficients, as in a trial of a minute: the interval says so
            warnings.simplefilter("ignore")
            fit = (
                model.fit(cov_type="cluster", cov_kwds={"groups": clusters})
                if many
                else model.fit(cov_type="HC1")
            )
            limits = fit.conf_int(0.05)
        found[measure] = {
            name: Effect(float(fit.params[i]), float(fit.bse[i]), float(limits[i][0]), float(limits[i][1]))
            for i, name in enumerate(names, start=1)
        }
    return found


def ratios(
    real: pd.DataFrame,
    modelled: pd.DataFrame,
    measures: Sequence[str],
    names: Sequence[str],
    steps: Mapping[str, float],
    *,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Ratio]]:
    """Return every modelled effect divided by the real one; arguments as for `effects`.

    Args:
        real: real hearts.
        modelled: modelled hearts, several a case.
        measures: to be explained.
        names: of the conditions.
        steps: condition → step.
        resamples: draws of cases, of the real and of the modelled hearts by themselves.
        seed: of the draws.
    """
    found: dict[str, dict[str, Ratio]] = {}
    for measure in measures:
        fits = []
        for place, frame in enumerate((real, modelled)):
            rows = complete_rows(frame, [measure, *names])
            if not names or len(rows) < len(names) + 1 + LEAST_FREE:
                break
            fits.append(_drawn(rows, measure, names, steps, resamples, np.random.default_rng([seed, place])))
        if len(fits) < 2:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            share = fits[1] / fits[0]
        limits = np.nanpercentile(share[1:], [2.5, 97.5], axis=0)
        found[measure] = {
            name: Ratio(float(share[0, i]), float(limits[0, i]), float(limits[1, i]))
            for i, name in enumerate(names)
        }
    return found


def _drawn(
    rows: pd.DataFrame,
    measure: str,
    names: Sequence[str],
    steps: Mapping[str, float],
    resamples: int,
    generator: np.random.Generator,
) -> FloatArray:
    """Return coefficients, (1 + resamples, C): of all cases, then of cases drawn with replacement."""
    x, y = design(rows, names, steps), rows[measure].to_numpy(dtype=float)
    codes, cases = _codes(rows)
    size = x.shape[1]
    squares, products = np.zeros((cases, size, size)), np.zeros((cases, size))
    np.add.at(squares, codes, x[:, :, None] * x[:, None, :])
    np.add.at(products, codes, x * y[:, None])
    weights = np.vstack(
        [np.ones(cases), generator.multinomial(cases, np.full(cases, 1 / cases), size=resamples)]
    )
    left, right = np.tensordot(weights, squares, 1), weights @ products
    # A draw that shows one sex alone has no coefficient of it: the least-squares one of least size.
    return np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(left, right, strict=True)])[:, 1:]


def _codes(rows: pd.DataFrame) -> tuple[np.ndarray[tuple[int], np.dtype[np.intp]], int]:
    names, codes = np.unique(rows["case"].astype(str).to_numpy(), return_inverse=True)
    return codes.reshape(-1), len(names)


def predicted(
    real: pd.DataFrame, asked: pd.DataFrame, measure: str, names: Sequence[str], steps: Mapping[str, float]
) -> FloatArray | None:
    """Return what the regression of real hearts says of a measure at other hearts' conditions, (n,); None without fit.

    Args:
        real: real hearts.
        asked: hearts whose conditions are known.
        measure: to be explained.
        names: of the conditions.
        steps: condition → step.
    """
    rows = complete_rows(real, [measure, *names])
    if not names or len(rows) < len(names) + 1 + LEAST_FREE:
        return None
    x = design(rows, names, steps)
    coefficients = np.linalg.lstsq(x, rows[measure].to_numpy(dtype=float), rcond=None)[0]
    means = rows[list(names)].mean().to_numpy(dtype=float)
    sizes = np.array([steps[name] for name in names])
    away = (asked[list(names)].to_numpy(dtype=float) - means) / sizes
    return np.asarray(coefficients[0] + away @ coefficients[1:], dtype=float)


def correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson's correlation of two samples where both are finite; NaN for fewer than three pairs or without spread."""
    known = np.isfinite(one) & np.isfinite(other)
    a, b = one[known], other[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])
