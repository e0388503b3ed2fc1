"""How the grey values of two images follow one another where they lie on each other, from their joint histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medreg.geometry.grid import Grid
from medreg.geometry.pair_transform import PairTransform, inside
from medreg.geometry.warp import sample
from medreg.io.stack import grid_of, tensor_of
from medreg.registering.pair import Pair

SAMPLES_PER_AXIS = 64  # of the fixed grid: enough for a histogram, whatever the size of the image
TAILS = (0.5, 99.5)  # %, clipped as the presets do
BINS = 24  # per image
BACKGROUND = 0.1  # of the voxels in one of 64 bins, from which it is the background and tells nothing
ENOUGH = 1000  # voxels below which nothing is said about a pair
UNRELATED = 0.3  # correlation below which one contrast is not that of the other; unregistered people have 0.36 or more
STRAIGHT = 0.8  # correlation from which one contrast is that of the other, whatever else there is
BENT = 0.07  # correlation ratio above the squared correlation: the relation is there, but is no straight line
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Relation:
    """What the joint histogram of two images says.

    Attributes:
        correlation: Pearson's r outside the common background.
        ratio: the larger of the two correlation ratios η² there: the variance of one that any function of the other
            explains (Roche et al., MICCAI 1998, eq. 5).
        information: normalised mutual information (H(f) + H(m)) / H(f, m) of all voxels; 1 without any relation.
    """

    correlation: float
    ratio: float
    information: float


def relation(first: Array, second: Array) -> Relation | None:
    """Compare values (n,) of two images at the same places; None where there are too few of them to say anything."""
    if len(first) < ENOUGH:
        return None
    information = _information(_histogram(first, second))
    foreground = ~(_background(first) & _background(second))
    if foreground.sum() < ENOUGH:
        return None
    counts = _histogram(first[foreground], second[foreground])
    return Relation(_correlation(counts), max(_ratio(counts), _ratio(counts.T)), information)


def different_contrasts(relations: Mapping[str, Relation]) -> str | None:
    """Return why two images are of different contrasts or modalities, None where they may be of one.

    Args:
        relations: under every position that the images may have: a pair of one modality far apart must not be taken
            for two modalities, so the position where the images agree best speaks.
    """
    if not relations:
        return None
    best = max(relations.values(), key=lambda found: found.correlation)
    if best.correlation < UNRELATED:
        return f"the grey values of one image do not follow those of the other (correlation {best.correlation:.2f})"
    closest = max(relations.values(), key=lambda found: found.ratio)
    excess = closest.ratio - closest.correlation**2
    if excess > BENT and best.correlation < STRAIGHT:
        return (
            f"the grey values of the two images are related, but not by a straight line (correlation "
            f"{closest.correlation:.2f}, correlation ratio {closest.ratio:.2f})"
        )
    return None


def related_under(pair: Pair, world: Tensor) -> Relation | None:
    """Return how the values follow one another under a world map (4, 4), masks aside.

    Masks of one organ hold hardly any contrast, and where the images start far apart hardly any common place.
    """
    places = _places(grid_of(pair.fixed))
    moved = grid_of(pair.fixed).voxel_to_world(places) @ world[:3, :3].T + world[:3, 3]
    return relation(*_values(replace(pair, fixed_mask=None, moving_mask=None), places, [moved])[0])


def information(pair: Pair, transforms: Sequence[PairTransform]) -> list[float]:
    """Normalised mutual information under several maps, at the places that all of them send inside the moving image.

    The same places for all, so that no map gains by pushing out of sight what does not match. All are 1 where nothing
    can be said.
    """
    places = _places(grid_of(pair.fixed))
    mm = grid_of(pair.fixed).voxel_to_world(places)
    pairs = _values(pair, places, [each.points_to_moving(mm) for each in transforms])
    found = [relation(first, second) for first, second in pairs]
    return [1.0 if each is None else each.information for each in found]


def _places(fixed: Grid) -> Tensor:
    """Voxels (n, 3) spread over a grid."""
    counts = [min(size, SAMPLES_PER_AXIS) for size in fixed.shape]
    axes = [
        torch.linspace(0, size - 1, count, dtype=torch.float64).round()
        for size, count in zip(fixed.shape, counts, strict=True)
    ]
    return torch.cartesian_prod(*axes)


def _values(pair: Pair, places: Tensor, moved_mm: Sequence[Tensor]) -> list[tuple[Array, Array]]:
    """Values (n,) of both images under each map, where all of them see both images."""
    grid = grid_of(pair.moving)
    positions = [grid.world_to_voxel(points) for points in moved_mm]
    known = torch.ones(len(places), dtype=torch.bool)
    for voxels in positions:
        known &= inside(voxels.T.unsqueeze(0), grid.shape)[0, 0]
    for mask, where in ((pair.fixed_mask, [places]), (pair.moving_mask, positions)):
        if mask is not None:
            seen = tensor_of(mask).gt(0).float()
            for voxels in where:
                known &= _at(seen, voxels) > 0.5
    fixed, moving = tensor_of(pair.fixed), tensor_of(pair.moving)
    first = _at(fixed, places[known]).double().numpy()
    return [(first, _at(moving, voxels[known]).double().numpy()) for voxels in positions]


def _at(volume: Tensor, voxels: Tensor) -> Tensor:
    """Values (n,) of (1, 1, *S) at voxels (n, 3), linear."""
    return sample(volume, voxels.to(volume.dtype).unsqueeze(0), padding="border").flatten()


def _clipped(values: Array) -> Array:
    low, high = np.percentile(values, TAILS)
    return np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)


def _histogram(first: Array, second: Array) -> Array:
    unit = ((0.0, 1.0), (0.0, 1.0))
    counts, _, _ = np.histogram2d(_clipped(first), _clipped(second), bins=BINS, range=unit)
    return counts / counts.sum()


def _background(values: Array) -> NDArray[np.bool_]:
    """Where a value is the one that most voxels share, if many do."""
    bins = np.minimum((_clipped(values) * 64).astype(np.int64), 63)
    counts = np.bincount(bins, minlength=64)
    most = int(counts.argmax())
    return (bins == most) & bool(counts[most] > BACKGROUND * len(values))


def _correlation(joint: Array) -> float:
    levels = np.arange(BINS, dtype=np.float64)
    rows, columns = joint.sum(1), joint.sum(0)
    mean = rows @ levels, columns @ levels
    spread = np.sqrt((rows @ (levels - mean[0]) ** 2) * (columns @ (levels - mean[1]) ** 2))
    product = (levels - mean[0]) @ joint @ (levels - mean[1])
    return float(product / spread) if spread > 0 else 0.0


def _ratio(joint: Array) -> float:
    """η² of the columns' variable given the rows'."""
    levels = np.arange(BINS, dtype=np.float64)
    rows = joint.sum(1)
    there = rows > 0
    means = (joint[there] @ levels) / rows[there]
    mean = rows[there] @ means
    total = joint.sum(0) @ (levels - mean) ** 2
    return float(rows[there] @ (means - mean) ** 2 / total) if total > 0 else 0.0


def _information(joint: Array) -> float:
    def entropy(probability: Array) -> float:
        kept = probability[probability > 0]
        return float(-(kept * np.log(kept)).sum())

    together = entropy(joint.ravel())
    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / together if together > 0 else 1.0
