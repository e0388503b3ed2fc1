"""How well chains have mixed and what their samples are worth: R-hat, effective sample sizes, autocorrelation time.

Everything takes the samples of one or many scalars, (C, n, ...) of C chains with n draws each, and answers for each
scalar, (...) float64. The formulas are those of Vehtari, Gelman, Simpson, Carpenter & Bürkner, Rank-normalization,
folding, and localization: an improved R-hat, Bayesian Analysis 2021, as in Stan and ArviZ.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, stats
from torch import Tensor

from medreg.errors import CompositionError

Array = NDArray[Any]
LEAST = 4  # draws of a chain: two in each half
TAILS = (0.05, 0.95)


def split_rhat(chains: Tensor) -> Tensor:
    """R-hat of the halves of the chains: root of the ratio of pooled to within-chain variance, 1 if they agree.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """
    return _answer(chains, lambda values: _rhat(_split(values)))


def rank_rhat(chains: Tensor) -> Tensor:
    """Rank-normalised split R-hat, the larger of that of the bulk and that of the tails (folded at the median).

    Recommended: below 1.01 for estimates that are to be trusted; 1.1 was the rule of old.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """

    def both(values: Array) -> Array:
        halves = _split(values)
        folded = np.abs(halves - np.median(halves, axis=(0, 1)))
        return np.maximum(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))

    return _answer(chains, both)


def ess_bulk(chains: Tensor) -> Tensor:
    """Independent samples that would place the bulk as well: effective sample size of normal scores of ranks.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """
    return _answer(chains, lambda values: _effective(_normal_scores(_split(values))))


def ess_tail(chains: Tensor) -> Tensor:
    """Independent samples that would place the tails as well: the smaller for the 5 % and the 95 % quantile.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """

    def worst(values: Array) -> Array:
        ends = np.quantile(values, TAILS, axis=(0, 1))
        return np.minimum(*[_effective(_split((values <= end).astype(float))) for end in ends])

    return _answer(chains, worst)


def ess_mean(chains: Tensor) -> Tensor:
    """Independent samples whose mean would be as exact.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """
    return _answer(chains, lambda values: _effective(_split(values)))


def autocorrelation_time(chains: Tensor) -> Tensor:
    """Integrated autocorrelation time 1 + 2 Σ_k ρ_k in draws: C·n / `ess_mean`.

    Thinning by about this number loses little.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """
    return chains.shape[0] * chains.shape[1] / ess_mean(chains)


def mcse_mean(chains: Tensor) -> Tensor:
    """Monte-Carlo standard error of the mean of all draws: their standard deviation / √`ess_mean`.

    Args:
        chains: (C, n, ...).

    Raises:
        CompositionError: fewer than four draws.
    """
    spread = chains.detach().double().cpu().flatten(0, 1).std(0)
    return spread / ess_mean(chains).sqrt()


def autocorrelation(chains: Tensor, *, lags: int) -> Tensor:
    """Autocorrelation at lags 0 … lags, the mean of the chains, each about its own mean; (lags + 1, ...) float64.

    Args:
        chains: (C, n, ...).
        lags: largest lag, below n.
    """
    values = chains.detach().double().cpu().numpy()
    covariance = _autocovariance(values).mean(0)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(covariance[: lags + 1] / covariance[0])


def _answer(chains: Tensor, measure: Any) -> Tensor:
    """Measure of (C, n, K) for (C, n, ...), NaN where a value is not finite."""
    if chains.ndim < 2 or not chains.shape[0] or chains.shape[1] < LEAST:
        raise CompositionError(
            f"Diagnostics need (chains, draws, ...) with at least {LEAST} draws, got {tuple(chains.shape)}; sample for "
            "longer, or lower thin."
        )
    rest = chains.shape[2:]
    values = chains.detach().double().cpu().reshape(*chains.shape[:2], -1).numpy()
    finite = np.isfinite(values).all(axis=(0, 1))
    out = np.full(len(finite), np.nan)
    if finite.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            out[finite] = measure(values[..., finite])
    return torch.from_numpy(out).reshape(rest)


def _split(values: Array) -> Array:
    """Both halves of every chain as chains; the middle draw of an odd number belongs to none."""
    half = values.shape[1] // 2
    return np.concatenate([values[:, :half], values[:, -half:]])


def _normal_scores(values: Array) -> Array:
    """Φ⁻¹ of the ranks over all chains, with Blom's offset."""
    flat = values.reshape(-1, values.shape[-1])
    ranks = stats.rankdata(flat, axis=0)
    return stats.norm.ppf((ranks - 3 / 8) / (len(flat) + 1 / 4)).reshape(values.shape)


def _rhat(values: Array) -> Array:
    draws = values.shape[1]
    within = values.var(axis=1, ddof=1).mean(0)
    between = draws * values.mean(1).var(axis=0, ddof=1)
    return np.asarray(np.sqrt((between / within + draws - 1) / draws))


def _autocovariance(values: Array) -> Array:
    """Of every chain about its mean, at all lags, divided by n; (C, n, ...)."""
    draws = values.shape[1]
    length = fft.next_fast_len(2 * draws)
    spectrum = fft.rfft(values - values.mean(1, keepdims=True), length, axis=1)
    return np.asarray(fft.irfft(np.abs(spectrum) ** 2, length, axis=1)[:, :draws] / draws)


def _effective(values: Array) -> Array:
    """Effective sample size (K,) of (C, n, K) with Geyer's initial positive and monotone sequence."""
    count, draws, _ = values.shape
    covariance = _autocovariance(values).mean(0)
    within = covariance[0] * draws / (draws - 1)
    pooled = covariance[0].copy()
    if count > 1:
        pooled += values.mean(1).var(axis=0, ddof=1)
    rho = 1 - (within - covariance) / pooled
    rho[0] = 1
    even, odd = rho[0 : 2 * (draws // 2) : 2], rho[1::2]
    sums = even + odd
    last = max((draws - 1) // 2 - 1, 0)  # pairs beyond are never looked at
    negative = sums[: last + 1] <= 0
    end = np.where(negative.any(0), negative.argmax(0), last)  # pair that ends the sequence
    inside = np.arange(len(sums))[:, None] < end
    monotone = np.where(inside, np.minimum.accumulate(sums), 0).sum(0)
    column = np.arange(values.shape[-1])
    tail = even[end, column]
    tail = np.where((tail > 0) | (sums[end, column] >= 0), tail, 0)  # half of the pair that ended it
    total = count * draws
    time = np.maximum(-1 + 2 * monotone + tail, 1 / np.log10(total))
    constant = np.ptp(values, axis=(0, 1)) < np.finfo(float).resolution
    return np.where(constant, total, total / time)
