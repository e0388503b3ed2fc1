"""Whether a model gives back hearts of its training: distances of modelled hearts to the nearest training heart.

The distance of two hearts is 1 − the mean Dice of their structures at ED, as they lie on the grid. Two questions are
asked. Are modelled hearts nearer to training hearts than held-out real ones are? A model whose hearts spread too little
is nearer without having memorised anything. And are they nearer to training hearts than to as many held-out hearts?
That holds for a model that memorises, whatever its spread.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from medreg.metrics.hearts.measures import FloatArray

Outlines = NDArray[np.uint8]
MOST_VOXELS: Final = 2**17  # of a first frame; a larger grid is looked at in every second, third, … voxel
PART: Final = 2**15  # voxels compared at once
DRAWS: Final = 50  # sets of training hearts, as many as there are held-out ones


@dataclass(frozen=True)
class Memorisation:
    """What nearest neighbours say.

    Attributes:
        ratio: median distance of modelled hearts to the nearest training heart, divided by that of held-out hearts;
            1 for hearts like the real ones.
        p: that modelled hearts are not nearer to training hearts than held-out ones (Mann–Whitney, one-sided).
        against_held_out: median over modelled hearts of the distance to the nearest of n training hearts divided by
            that to the nearest of the n held-out hearts of other cases; 1 without memorisation.
        against_held_out_p: that it is not below 1 (Wilcoxon signed-rank, one-sided).
        copies_percent: modelled hearts nearer to a training heart than any held-out heart is.
        median_modelled: median distance of modelled hearts to the nearest training heart.
        median_held_out: the same of held-out hearts.
        hearts: modelled hearts looked at.
    """

    ratio: float
    p: float
    against_held_out: float
    against_held_out_p: float
    copies_percent: float
    median_modelled: float
    median_held_out: float
    hearts: int


def outline(shape: NDArray[np.uint8]) -> Outlines:
    """Return what of a heart is compared: the label map of ED, flat, thinned out on large grids.

    Args:
        shape: (T, X, Y, Z) uint8.
    """
    first, step = shape[0], 1
    while first[::step, ::step, ::step].size > MOST_VOXELS:
        step += 1
    return np.ascontiguousarray(first[::step, ::step, ::step]).ravel()


def distances_between(ones: Sequence[Outlines], others: Sequence[Outlines], count: int) -> FloatArray:
    """Return 1 − mean Dice over the structures that one of two hearts shows, (n, m).

    Args:
        ones: n outlines of one grid.
        others: m outlines of it.
        count: number of structures.
    """
    a, b = np.stack(ones), np.stack(others)
    total, known = np.zeros((len(a), len(b))), np.zeros((len(a), len(b)))
    for place in range(1, count + 1):
        sizes = (a == place).sum(1)[:, None] + (b == place).sum(1)[None]
        shared = np.zeros((len(a), len(b)))
        for start in range(0, a.shape[1], PART):  # whole numbers below 2^24: exact in float32
            left, right = (x[:, start : start + PART] == place for x in (a, b))
            used = left.any(0) & right.any(0)
            shared += left[:, used].astype(np.float32) @ right[:, used].astype(np.float32).T
        total += np.where(sizes > 0, 2 * shared / np.maximum(sizes, 1), 0.0)
        known += sizes > 0
    return 1 - total / np.maximum(known, 1)


def memorisation(
    modelled: Sequence[Outlines],
    held_out: Sequence[Outlines],
    training: Sequence[Outlines],
    count: int,
    *,
    own: Sequence[int],
    seed: int,
) -> Memorisation | None:
    """Return what nearest neighbours say of modelled hearts; None for fewer than three hearts of a kind.

    Args:
        modelled: outlines of modelled hearts.
        held_out: outlines of real hearts that the model has not seen.
        training: outlines of those that it has.
        count: number of structures.
        own: for each modelled heart, the place of the held-out heart of its case, to which it is not compared.
        seed: of the draws of training hearts.
    """
    from scipy.stats import mannwhitneyu

    if min(len(modelled), len(held_out), len(training)) < 3:
        return None
    to_training = distances_between(modelled, training, count)
    real = distances_between(held_out, training, count).min(1)
    near = to_training.min(1)
    relative, relative_p = _against_held_out(modelled, held_out, to_training, count, own, seed)
    return Memorisation(
        ratio=_ratio(float(np.median(near)), float(np.median(real))),
        p=float(mannwhitneyu(near, real, alternative="less").pvalue),
        against_held_out=relative,
        against_held_out_p=relative_p,
        copies_percent=100.0 * float((near < real.min()).mean()),
        median_modelled=float(np.median(near)),
        median_held_out=float(np.median(real)),
        hearts=len(modelled),
    )


def _ratio(one: float, other: float) -> float:
    """Return one / other; 1 of two that are nothing, infinity where the other alone is."""
    if other:
        return one / other
    return 1.0 if one == 0 else math.inf


def _against_held_out(
    modelled: Sequence[Outlines],
    held_out: Sequence[Outlines],
    to_training: FloatArray,
    count: int,
    own: Sequence[int],
    seed: int,
) -> tuple[float, float]:
    """Return the median ratio of distances to as many training as held-out hearts, and its p value."""
    from scipy.stats import wilcoxon

    to_held_out = distances_between(modelled, held_out, count)
    to_held_out[np.arange(len(modelled)), list(own)] = np.inf
    many = min(len(held_out) - 1, to_training.shape[1])
    generator = np.random.default_rng([seed, 1])
    draws = [generator.choice(to_training.shape[1], many, replace=False) for _ in range(DRAWS)]
    near_training = np.mean([to_training[:, chosen].min(1) for chosen in draws], axis=0)
    if many < len(held_out) - 1:  # fewer training hearts: draw as many held-out ones
        chances = [generator.choice(len(held_out), many, replace=False) for _ in range(DRAWS)]
        found = np.stack([to_held_out[:, chosen].min(1) for chosen in chances])
        near_held_out = np.nanmean(np.where(np.isinf(found), np.nan, found), axis=0)
    else:
        near_held_out = to_held_out.min(1)
    logs = np.log(np.maximum(near_training, 1e-6) / np.maximum(near_held_out, 1e-6))
    p = float(wilcoxon(logs, alternative="less").pvalue) if np.any(logs) else 1.0
    return float(np.exp(np.median(logs))), p
