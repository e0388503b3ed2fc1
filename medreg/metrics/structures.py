"""Overlap and surfaces of two label maps as rows of the results table: what evaluators of any kind of case share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from medreg.errors import ConfigError, DataError
from medreg.metrics import surface, surfel
from medreg.metrics.overlap import (
    Aggregation,
    Lost,
    Vanished,
    dice_from_counts,
    joint_histogram,
    label_index,
    lost_structures,
    voxel_counts,
)
from medreg.metrics.rows import MetricRow, mean_of_numbers, row, rows_with_mean

Convention = Literal["exact", "authors"]
Distances = dict[str, float]


def _surface_distances(
    first: surface.BoolArray, second: surface.BoolArray, spacing_mm: list[float]
) -> Distances:
    found = surface.surface_distances(first, second, spacing_mm=spacing_mm)
    return {"hd95_mm": found.hd95_mm, "assd_mm": found.assd_mm}


def _area_distances(
    first: surface.BoolArray, second: surface.BoolArray, spacing_mm: list[float]
) -> Distances:
    hd95_mm = surfel.hd95_mm(first, second, spacing_mm=spacing_mm)
    return {"hd95_mm": hd95_mm, "assd_mm": surface.assd_mm(first, second, spacing_mm=spacing_mm)}


def _itk_distances(first: surface.BoolArray, second: surface.BoolArray, spacing_mm: list[float]) -> Distances:
    found = surface.itk_hausdorff(first, second, spacing_mm=spacing_mm)
    return {"hd_mm": found.maximum_mm, "itk_avg_hd_mm": found.average_mm}


SURFACES: Mapping[str, Callable[[surface.BoolArray, surface.BoolArray, list[float]], Distances]] = {
    "assd": _surface_distances,
    "area": _area_distances,
    "itk_avg_hd": _itk_distances,
}
SPACINGS: Mapping[str, Callable[[float], float]] = {"exact": lambda mm: mm, "authors": lambda mm: 1 / mm}


def diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    """Diagonal of an image, mm: the distance of a structure that was lost, as none inside the image is longer."""
    return math.hypot(*(size * mm for size, mm in zip(shape, spacing_mm, strict=True)))


class StructureEvaluator:
    """Dice and surface distances of each structure between two label maps of one case.

    A batch of several slices is one stack: Dice counts its voxels together unless `dice="per_slice"`, surface
    distances are taken in each slice and averaged over those where both structures are present. A structure that
    cannot be scored gives a row with NaN, and the "mean" row leaves it out. One that counts but was lost (its Dice is
    0) has no surface: its distance is the diagonal of the image (of the slice in which it was lost), so that losing
    structures never improves a mean, and `lost_structures` counts them. With `vanished="skip"` they are left out.

    Args:
        labels: structure name → label code; only these are scored. None: not known before the data are read.
        surface: whether to compute surface distances, the slowest part.
        surface_definition: "assd" gives hd95_mm and assd_mm; "itk_avg_hd" gives hd_mm and itk_avg_hd_mm, over
            voxels instead of surfaces (GraDIRN release, where the latter is called ASD).
        vanished: which structures have a Dice, see `overlap.dice`.
        dice: "per_volume" or "per_slice", see `overlap.dice`.
        spacing: "exact"; "authors", its reciprocal in surface distances (brain task of the GraDIRN release).

    Raises:
        ConfigError: an argument is not one of its choices, or two structures share a code.
    """

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "surface_definition": tuple(SURFACES),
        "vanished": ("zero", "skip", "either"),
        "dice": ("per_volume", "per_slice"),
        "spacing": tuple(SPACINGS),
    }

    def __init__(
        self,
        labels: Mapping[str, int] | None,
        *,
        surface: bool = True,
        surface_definition: Literal["assd", "area", "itk_avg_hd"] = "assd",
        vanished: Vanished = "zero",
        dice: Aggregation = "per_volume",
        spacing: Convention = "exact",
    ) -> None:
        self.labels = {str(name): int(code) for name, code in (labels or {}).items()}
        self.surface = surface
        self.surface_definition = surface_definition
        self.vanished = vanished
        self.dice = dice
        self.spacing = spacing
        label_index(torch.zeros(1), list(self.labels.values()))  # refuses shared codes before any case is run

    def check_choices(self) -> None:
        """Refuse options that are not among their choices, as soon as all are set."""
        for option, choices in self.CHOICES.items():
            if (given := getattr(self, option)) not in choices:
                raise ConfigError(f"{option}={given!r} of the evaluator is not one of {', '.join(choices)}.")

    def compare(
        self, fixed: Tensor, other: Tensor, spacing_mm: list[float], *, before: Tensor | None = None
    ) -> Iterator[MetricRow]:
        """Rows of Dice, lost structures and surface distances.

        Args:
            fixed: (N, *S) integers 0…L from `label_index`, the reference.
            other: (N, *S) the same of the map that is judged.
            spacing_mm: voxel size along each axis of S.
            before: (N, ...) the same of the judged map before it was warped; None where nothing was.
        """
        histogram, counts = self._counts(fixed, other, before)
        yield from self._overlaps(histogram, counts)
        lost = lost_structures(histogram, counts, vanished=self.vanished)
        yield row("all", "lost_structures", float(lost.structures.sum()))
        if self.vanished == "either" and len(fixed) > 1:
            there = [histogram.sum(axis)[:, 1:] > 0 for axis in (1, 2)]
            yield row("all", "unmatched_slices", float((there[0] != there[1]).sum()))
        if self.surface:
            yield from self._surfaces(fixed, other, spacing_mm, lost)

    def cut_off(self, batch: Mapping[str, Any]) -> Iterator[MetricRow]:
        """Rows of the share of each structure that preprocessing has cut off; none where it crops nothing."""
        shares = batch.get("cut_percent")
        if shares is not None and self.labels:
            known = {str(code): values for code, values in shares.items()}
            yield from rows_with_mean(
                "cut_percent",
                {
                    name: float(known[str(code)].max()) if str(code) in known else 0.0
                    for name, code in self.labels.items()
                },
            )

    def overlaps(self, fixed: Tensor, other: Tensor) -> Iterator[MetricRow]:
        """Rows of Dice alone; arguments as for `compare`."""
        yield from self._overlaps(*self._counts(fixed, other, None))

    def _counts(self, fixed: Tensor, other: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Joint histogram (N, L+1, L+1) and sizes (N, L) before warping, in voxels."""
        count = len(self.labels)
        return joint_histogram(fixed, other, count), voxel_counts(fixed if before is None else before, count)

    def _overlaps(self, histogram: Tensor, counts: Tensor) -> Iterator[MetricRow]:
        scores = dice_from_counts(histogram, counts, vanished=self.vanished, aggregate=self.dice)
        yield from rows_with_mean("dice", dict(zip(self.labels, scores.tolist(), strict=True)))

    def _surfaces(
        self, fixed: Tensor, other: Tensor, spacing_mm: list[float], lost: Lost
    ) -> Iterator[MetricRow]:
        measure, convert = SURFACES[self.surface_definition], SPACINGS[self.spacing]
        spacing = [convert(mm) for mm in spacing_mm]
        small = torch.int16 if len(self.labels) < 2**15 else torch.int64  # fewer bytes to scan for boxes
        maps = zip(fixed.to("cpu", small).numpy(), other.to("cpu", small).numpy(), strict=True)
        slices = [
            [measure(*masks, spacing) for masks in surface.structure_masks(*pair, len(self.labels))]
            for pair in maps
        ]
        penalty = math.nan if self.vanished == "skip" else diagonal_mm(fixed.shape[1:], spacing)
        items, whole = lost.items.tolist(), lost.whole.tolist()
        for metric in slices[0][0]:
            values = {}
            for place, name in enumerate(self.labels):
                found = [
                    penalty if gone[place] else item[place][metric]
                    for item, gone in zip(slices, items, strict=True)
                ]
                values[name] = penalty if whole[place] else mean_of_numbers(found)
            yield from rows_with_mean(metric, values)


def case_name(batch: Mapping[str, Any]) -> str:
    """The one case of the batch."""
    names = list(dict.fromkeys(batch.get("case", [])))
    if len(names) > 1:
        raise DataError(
            f"The evaluator takes one case a batch and got {len(names)} ({', '.join(map(str, names[:3]))}…); "
            "use batch_size=1 for validation and test."
        )
    return str(names[0]) if names else "(unnamed)"


def spacing_of(batch: Mapping[str, Any], case: str) -> Tensor:
    """(N, D) voxel size in mm."""
    spacing = batch.get("spacing_mm")
    if spacing is None:
        raise DataError(f"Case {case} has no spacing_mm, which every distance in millimetres needs.")
    return torch.atleast_2d(torch.as_tensor(spacing))
