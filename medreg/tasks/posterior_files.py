"""From the summary of a case to the files of `io.posterior`: where its voxels lie, and stacks of slices as volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from medreg.inference.posterior_summary import PosteriorSummary
from medreg.io.posterior import PosteriorArrays, write_posterior


@dataclass(frozen=True, eq=False)
class Slab:
    """Slices that follow one another at equal steps.

    Attributes:
        name: of a folder of its own; empty where the slab is the whole case.
        slices: which of the case.
        affine: (4, 4) voxel → RAS mm of the volume that they make.
    """

    name: str
    slices: list[int]
    affine: Tensor


def write_case(
    folder: Path, *, summary: PosteriorSummary, affine: Tensor, slice_index: Tensor | None = None
) -> list[Path]:
    """Write the posterior of a case of a run; slices become one volume, with nothing moving across them.

    Slices at unequal steps make no volume: each gets a folder `slice_<k>` of its own.

    Args:
        folder: of the case.
        summary: of its samples.
        affine: (P, 4, 4) as the batch has it.
        slice_index: (P,) as the batch has it.
    """
    if summary.mean.shape[1] == 3:
        return write_posterior(folder, _arrays(summary, affine[0], volume=True))
    files = []
    for slab in slabs(affine, slice_index):
        arrays = _arrays(summary, slab.affine, volume=False, slices=slab.slices)
        files += write_posterior(folder / slab.name if slab.name else folder, arrays)
    return files


def slabs(affine: Tensor, slice_index: Tensor | None) -> Iterator[Slab]:
    """Yield the volumes that the slices of a case make: one, or one for each slice where the steps differ."""
    index = [0] * len(affine) if slice_index is None else slice_index.tolist()
    steps = {after - before for before, after in pairwise(index)}
    if len(steps) <= 1 and steps != {0}:
        whole = affine[0].clone()
        whole[:3, 2] *= next(iter(steps), 1)
        yield Slab("", list(range(len(affine))), whole)
        return
    for place, number in enumerate(index):
        yield Slab(f"slice_{number if steps != {0} else place}", [place], affine[place])


def _arrays(
    summary: PosteriorSummary, affine: Tensor, *, volume: bool, slices: list[int] | None = None
) -> PosteriorArrays:
    chosen = [0] if volume else slices
    probabilities = {} if summary.probabilities is None else {
        name: _scalar(summary.probabilities[0, number], slices) for number, name in enumerate(summary.labels)
    }  # fmt: skip
    return PosteriorArrays(
        affine=affine.double().numpy(),
        mean=_vectors(summary.mean[chosen], volume),
        covariance=_tensors(summary.covariance[chosen], volume),
        probabilities=probabilities,
        volumes=list(summary.volume_rows()),
        samples=[_vectors(sample[chosen], volume) for sample in summary.samples],
    )


def _scalar(maps: Tensor, slices: list[int] | None) -> np.ndarray:
    """(X, Y, Z), or of a stack the chosen slices of it."""
    return (maps if slices is None else maps[..., slices]).numpy()


def _vectors(field: Tensor, volume: bool) -> np.ndarray:
    """(1, 3, X, Y, Z) or slices (n, 2, X, Y) as (3, X, Y, Z), with 0 across slices."""
    if volume:
        return field[0].numpy()
    flat = field.movedim(0, -1)
    return torch.cat([flat, torch.zeros_like(flat[:1])]).numpy()


def _tensors(field: Tensor, volume: bool) -> np.ndarray:
    """(1, 3, 3, X, Y, Z) or slices (n, 2, 2, X, Y) as (3, 3, X, Y, Z), with 0 across slices."""
    if volume:
        return field[0].numpy()
    flat = field.movedim(0, -1)
    whole = flat.new_zeros(3, 3, *flat.shape[2:])
    whole[:2, :2] = flat
    return whole.numpy()
