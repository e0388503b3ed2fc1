"""Overlap of label maps: Dice of all structures from one joint histogram."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from medreg.errors import ConfigError
from medreg.kernels.compile import available, run_chunks
from medreg.kernels.labels import count_pairs, look_up

Vanished: TypeAlias = Literal["zero", "skip", "either"]
Aggregation: TypeAlias = Literal["per_volume", "per_slice"]

_TABLE_SIZE = 2**16  # up to here a look-up table, five times as fast as a search
_PARTS = 8  # counts of their own, to be added, that an item is cut into
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def label_index(labels: Tensor, codes: Sequence[int]) -> Tensor:
    """Position 1…L of each voxel's code in `codes`, and 0 for every code that is not asked for.

    Args:
        labels: integer tensor of any shape; codes may be large and sparse (FreeSurfer, Allen atlas).
        codes: the L distinct label codes.

    Returns:
        int64 tensor of the same shape with values 0…L.

    Raises:
        ConfigError: two structures have the same code.
    """
    if len(set(codes)) != len(codes):
        raise ConfigError(f"Two structures have the same label code in {list(codes)}; give each its own.")
    if not codes:
        return torch.zeros_like(labels, dtype=torch.int64)
    wanted = torch.tensor(codes, dtype=torch.int64, device=labels.device)
    small = min(codes) >= 0 and max(codes) < _TABLE_SIZE
    if small and _readable(labels) and labels.numel():
        return _looked_up(labels.contiguous(), wanted)
    values = labels.to(torch.int64)
    if small:
        table = torch.zeros(max(codes) + 2, dtype=torch.int64, device=labels.device)
        table[wanted] = torch.arange(1, len(codes) + 1, device=labels.device)
        return table[values.clamp(-1, len(table) - 1)]  # other codes read the last entry, which is 0
    ordered, order = wanted.sort()
    slot = torch.searchsorted(ordered, values.contiguous()).clamp_(max=len(codes) - 1)
    return torch.where(ordered[slot] == values, order[slot] + 1, 0)


def _readable(labels: Tensor) -> bool:
    """Whether a kernel can read the labels."""
    return labels.device.type == "cpu" and labels.dtype in _INTEGERS and available()


def _looked_up(labels: Tensor, wanted: Tensor) -> Tensor:
    table = torch.zeros(int(wanted.max()) + 1, dtype=torch.int64)
    table[wanted] = torch.arange(1, len(wanted) + 1)
    found = torch.empty(labels.shape, dtype=torch.int64)
    run_chunks(look_up, labels.numel(), labels.view(-1).numpy(), table.numpy(), found.view(-1).numpy())
    return found


def joint_histogram(fixed_index: Tensor, warped_index: Tensor, count: int) -> Tensor:
    """Voxels that carry label i in the fixed and label j in the warped map, for each item of the batch.

    Args:
        fixed_index: (N, ...) integers 0…count from `label_index`.
        warped_index: (N, ...) the same for the warped map.
        count: number L of structures.

    Returns:
        (N, L+1, L+1) int64; row i fixed, column j warped, index 0 all other labels.
    """
    items, bins = fixed_index.shape[0], count + 1
    if _readable(fixed_index) and _readable(warped_index) and fixed_index.numel():
        return _counted(fixed_index, warped_index, bins).reshape(items, bins, bins)
    item = torch.arange(items, device=fixed_index.device).reshape(-1, *[1] * (fixed_index.ndim - 1))
    flat = ((item * bins + fixed_index) * bins + warped_index).flatten()
    return torch.bincount(flat, minlength=items * bins * bins).reshape(items, bins, bins)


def _counted(first: Tensor, second: Tensor, bins: int) -> Tensor:
    """Voxels of each pair of values, (N, bins²), in parts that are added."""
    items = len(first)
    counts = torch.zeros(items * _PARTS, bins * bins, dtype=torch.int64)
    maps = (index.reshape(items, -1).numpy() for index in (first, second))
    run_chunks(count_pairs, len(counts), _PARTS, *maps, bins, counts.numpy(), work=first.numel())
    if int(counts.sum()) != first.numel():
        raise ValueError(f"label positions outside 0 … {bins - 1}")
    return counts.view(items, _PARTS, -1).sum(1)


def voxel_counts(index: Tensor, count: int) -> Tensor:
    """Size of each structure in voxels: (N, ...) integers 0…L from `label_index` to (N, L) int64."""
    items, bins = index.shape[0], count + 1
    if _readable(index) and index.numel():
        nothing = torch.zeros(1, 1, dtype=torch.int64).expand(items, index[0].numel())
        return _counted(nothing, index, bins).reshape(items, bins, bins)[:, 0, 1:]
    item = torch.arange(items, device=index.device).reshape(-1, *[1] * (index.ndim - 1))
    counted = torch.bincount((item * bins + index).flatten(), minlength=items * bins)
    return counted.reshape(items, bins)[:, 1:]


def _in_both_originals(fixed: Tensor, warped: Tensor, moving: Tensor) -> Tensor:
    return (fixed > 0) & (moving > 0)


def _in_warped(fixed: Tensor, warped: Tensor, moving: Tensor) -> Tensor:
    return warped > 0


def _in_either(fixed: Tensor, warped: Tensor, moving: Tensor) -> Tensor:
    return (fixed > 0) | (warped > 0)


SCORED: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "zero": _in_both_originals,
    "skip": _in_warped,
    "either": _in_either,
}
POOLED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "per_volume": lambda counts: counts.sum(dim=0, keepdim=True),
    "per_slice": lambda counts: counts,
}


def dice_from_counts(
    histogram: Tensor,
    moving_counts: Tensor,
    *,
    vanished: Vanished = "zero",
    aggregate: Aggregation = "per_volume",
) -> Tensor:
    """Dice 2|F∩W| / (|F|+|W|) of each structure of one case; NaN where the structure is not scored.

    Args:
        histogram: (N, L+1, L+1) from `joint_histogram`; N slices of one case, or 1.
        moving_counts: (N, L) voxels of each structure in the moving map before warping.
        vanished: score of a structure lost in warping, see `dice`.
        aggregate: order of averages, see `dice`.

    Returns:
        (L,) float64.
    """
    pool = POOLED[aggregate]
    fixed, warped = pool(histogram.sum(dim=2)[:, 1:]), pool(histogram.sum(dim=1)[:, 1:])
    shared = pool(histogram.diagonal(dim1=1, dim2=2)[:, 1:])
    score = 2 * shared.double() / (fixed + warped).clamp(min=1)
    scored = SCORED[vanished](fixed, warped, pool(moving_counts))
    return torch.where(scored, score, torch.nan).nanmean(dim=0)


@dataclass(frozen=True)
class Lost:
    """Where a structure counts but has no surface distance, because only one of the two maps has it.

    Attributes:
        items: (N, L) bool, lost by warping in this item: both originals have it there.
        whole: (L,) bool, scored, but in no item are there two surfaces to compare.
    """

    items: Tensor
    whole: Tensor

    @property
    def structures(self) -> Tensor:
        """(L,) bool, lost in the whole case or in a slice of it."""
        return self.items.any(0) | self.whole


def lost_structures(histogram: Tensor, moving_counts: Tensor, *, vanished: Vanished = "zero") -> Lost:
    """Find the structures that have no distance although they count.

    Args:
        histogram: (N, L+1, L+1) from `joint_histogram`; N slices of one case, or 1.
        moving_counts: (N, L) voxels of each structure in the moving map before warping.
        vanished: rule of what counts, see `dice`; "skip" is judged as "zero", so that what it skips is known.
    """
    fixed, warped = histogram.sum(dim=2)[:, 1:], histogram.sum(dim=1)[:, 1:]
    both = (fixed > 0) & (warped > 0)
    # Which end slices show a structure is a rater's judgement; a slice of one map alone counts in Dice.
    lost = (fixed > 0) & (moving_counts > 0) & (warped == 0)
    items = torch.zeros_like(lost) if vanished == "either" else lost
    rule = SCORED["zero" if vanished == "skip" else vanished]
    scored = rule(fixed.sum(0), warped.sum(0), moving_counts.sum(0))
    return Lost(items, scored & ~both.any(0))


def dice(
    fixed_labels: Tensor,
    warped_labels: Tensor,
    labels: Mapping[str, int],
    *,
    moving_labels: Tensor | None = None,
    vanished: Vanished = "zero",
    aggregate: Aggregation = "per_volume",
) -> dict[str, float]:
    """Dice coefficient 2|F∩W| / (|F|+|W|) of each named structure of one case, without unit.

    One joint histogram serves all structures, so the cost does not grow with their number.

    Args:
        fixed_labels: (N, 1, *S) integers; N slices of one case, or 1 for a volume.
        warped_labels: (N, 1, *S) integers, the moving labels after warping.
        labels: structure name → code.
        moving_labels: (N, 1, *S) labels before warping; without them every structure counts as present there.
        vanished: "zero": a structure is scored when it is in the fixed and in the moving map, so one that
            warping has lost gets 0 and one that a rater did not draw gets NaN (the rule of Learn2Reg).
            "skip": a structure is scored when it is in the warped map, so a lost one gets NaN (the rule of
            the GraDIRN release). "either": it is scored when it is in one of the maps that are compared, so one
            that was invented gets 0 too (segmentations).
        aggregate: "per_volume": all N slices form one volume; "per_slice": mean of the Dice of the slices
            in which the structure is scored (the rule of midir).

    Returns:
        structure name → Dice in [0, 1], or NaN where the structure is not scored.

    Raises:
        ConfigError: two structures have the same code.
    """
    codes = list(labels.values())
    fixed, warped = label_index(fixed_labels, codes), label_index(warped_labels, codes)
    if moving_labels is None:
        moving = torch.ones(fixed.shape[0], len(codes), dtype=torch.int64, device=fixed.device)
    else:
        moving = voxel_counts(label_index(moving_labels, codes), len(codes))
    histogram = joint_histogram(fixed, warped, len(codes))
    scores = dice_from_counts(histogram, moving, vanished=vanished, aggregate=aggregate)
    return dict(zip(labels, scores.tolist(), strict=True))
