"""From who beats whom to rank scores in [0.1, 1] with shared places, and their geometric mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LOWEST, HIGHEST = 0.1, 1.0  # ends of the ladder of scores
DIGITS = 12  # scores that agree so far share a place: powers of equal products differ in the last bits


def counts(better: NDArray[np.bool_], *, count: str) -> NDArray[np.int64]:
    """Return a number per method that is larger the better it did.

    Args:
        better: (..., N, N), whether the method of the row is significantly better than that of the column.
        count: "losses": minus the number of methods that are better (as the organisers' code does); "wins":
            the number of methods that it beats (as their text says).
    """
    if count == "losses":
        return -better.sum(axis=-2, dtype=np.int64)
    return better.sum(axis=-1, dtype=np.int64)


def ladder(keys: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Return rank scores: 0.1 for the smallest key to 1 for the largest in equal steps; equal keys share the mean.

    With m the mean place (1 to N) of the methods with the same key, the score is 0.1 + 0.9 (m − 1)/(N − 1). One
    method alone gets 1.

    Args:
        keys: (..., N), larger is better.
    """
    number = keys.shape[-1]
    if number == 1:
        return np.full(keys.shape, HIGHEST)
    mine, others = keys[..., :, None], keys[..., None, :]
    below = (others < mine).sum(axis=-1)
    shared = (others == mine).sum(axis=-1)
    place = below + (shared + 1) / 2
    return LOWEST + (HIGHEST - LOWEST) * (place - 1) / (number - 1)


def geometric_mean(
    scores: Sequence[NDArray[np.float64]], *, exponent: float | None = None
) -> NDArray[np.float64]:
    """Return the product of the scores of all factors to the power 1/M, or to another exponent.

    Args:
        scores: M arrays of equal shape; a factor that counts twice is there twice.
        exponent: what the organisers' notebooks use where it is not 1/M.
    """
    product = np.prod(np.stack(list(scores)), axis=0)
    return np.power(product, 1 / len(scores) if exponent is None else exponent)


def places(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the place 1, 2, … of each score, (..., N); equal scores share the first of their places."""
    rounded = np.round(scores, DIGITS)
    better: NDArray[np.int64] = (rounded[..., None, :] > rounded[..., :, None]).sum(axis=-1)
    return better + 1


def worst_count(items: int, *, share: float) -> int:
    """Return how many items the given share is, rounded as Python rounds (half to even)."""
    return max(1, round(items * share)) if items else math.floor(items)
