"""Whether a map that was found can be believed: what it does to lengths, and what the similarity gained by it."""

from __future__ import annotations

import torch
from torch import Tensor

from medreg.errors import NumericalError
from medreg.geometry.pair_transform import PairTransform
from medreg.registering.modality import information
from medreg.registering.pair import Pair

ABSURD = 2.0  # factor by which no two images of one kind of body differ in length
DOUBTFUL = 1.3  # factor that people and ages reach, but which should be looked at
SLIGHT = 0.05  # share of the mutual information beyond none that interpolation alone may cost
LITTLE_TOLD = 0.03  # of normalised mutual information beyond none: hardly more than unrelated images share


def stretches(world: Tensor) -> list[float]:
    """Singular values of the linear part of a map of the world (4, 4): its factors of length, largest first."""
    return [float(value) for value in torch.linalg.svdvals(world[:3, :3])]


def check_map(world: Tensor) -> list[str]:
    """Return notes about an affine map of the world (4, 4), from the fixed to the moving image.

    Raises:
        NumericalError: a map that mirrors, or changes some length to less than half or more than twice.
    """
    values, volume = stretches(world), float(torch.linalg.det(world[:3, :3]))
    told = f"lengths change by the factors {', '.join(f'{value:.3g}' for value in values)}, volume by {volume:.3g}"
    if volume <= 0 or min(values) < 1 / ABSURD or max(values) > ABSURD:
        raise NumericalError(
            f"The affine registration ended in a map that cannot be right: {told}. The images may be too different for "
            "the similarity of this preset, or start too far apart: try --no-affine, --preset multimodal, --initialise "
            "centre or mass, or masks of the part to align."
        )
    if min(values) < 1 / DOUBTFUL or max(values) > DOUBTFUL:
        return [
            f"the affine registration is doubtful: {told}; look at the result, or leave it out with --no-affine"
        ]
    return []


def shared_too_little(pair: Pair, at: PairTransform, least: float | None) -> str | None:
    """Return why a stage must not begin: the images share too little to tell a right map from a wrong one.

    Args:
        pair: the images.
        at: where they are.
        least: normalised mutual information that the stage needs; None needs none.
    """
    if least is None:
        return None
    (found,) = information(pair, [at])
    if found >= least:
        return None
    return (
        f"the images share too little (normalised mutual information {found:.3f}; 1 is none) to estimate more than a "
        "rigid map: the result is doubtful, look at it; --set least_information.affine=1 and "
        "--set least_information.model=1 estimate more all the same"
    )


def gained(pair: Pair, before: PairTransform, after: PairTransform) -> float:
    """Return by which share of the mutual information beyond none a map has more of it than another."""
    old, new = information(pair, [before, after])
    return (new - old) / max(old - 1, 1e-6)


def remarks_on_gain(pair: Pair, start: PairTransform, found: PairTransform) -> list[str]:
    """Say so where the images are hardly related after registration, or less than before."""
    old, new = information(pair, [start, found])
    figures = f"normalised mutual information {old:.3f} before, {new:.3f} after; 1 is none"
    if old == new == 1.0:
        return []  # nothing can be said
    if new - 1 < (1 - SLIGHT) * (old - 1):
        return [f"the images agree less after registration than before ({figures}): the result is doubtful"]
    if new - 1 < LITTLE_TOLD:
        return [
            f"even after registration the images have hardly any grey value in common ({figures}): look at the result"
        ]
    return []
