"""Two regions with a λ each: whether a map makes a field smooth here and free there (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import ConfigError
from medreg.metrics.gradient_energy import gradient_energy, mean_within
from medreg.models.chosen_smoothness import require_conditional, require_maps
from medreg.runs.trained import TrainedRun
from medreg.studies.smoothness.problem import Batch
from medreg.studies.smoothness.run_cases import Cases

EROSION = 3  # voxels from the border of a region that are not counted: a convolution sees across it


@dataclass(frozen=True, eq=False)
class MapAnswer:
    """A model's answer to a map.

    Attributes:
        name: of the map, such as "A high, B low".
        smoothness: (N, 1, *S) λ.
        displacement: (N, D, *S) voxels.
    """

    name: str
    smoothness: Tensor
    displacement: Tensor


def region_of(batch: Batch, codes: Sequence[int] | None) -> Tensor:
    """Return region A (N, 1, *S) bool: voxels with one of the labels, or the first half of the first axis.

    Raises:
        ConfigError: labels that the case does not have.
    """
    fixed = batch["fixed_image"]
    if codes is None:
        inside = torch.zeros_like(fixed[:, :1], dtype=torch.bool)
        inside[:, :, : fixed.shape[2] // 2] = True
        return inside
    labels = batch.get("fixed_label")
    inside = (
        torch.zeros(1, dtype=torch.bool) if labels is None else torch.isin(labels, torch.tensor(list(codes)))
    )
    if not bool(inside.any()):
        raise ConfigError(
            f"--region {','.join(map(str, codes))}: {batch['case'][0]} has none of these labels; give others, or leave "
            "the option out for halves."
        )
    return inside


def answers(run: TrainedRun, batch: Batch, region: Tensor, *, low: float, high: float) -> list[MapAnswer]:
    """Register a case with both λ everywhere and with one in each region, both ways.

    Args:
        run: of a conditional model that takes maps.
        batch: one case.
        region: region A, (N, 1, *S) bool; the rest is B.
        low: λ of little smoothness.
        high: λ of much smoothness.

    Raises:
        CompositionError: the model takes no maps.
    """
    require_maps(require_conditional(run.model))
    levels = {
        f"{low:g} everywhere": (low, low),
        f"{high:g} everywhere": (high, high),
        f"A {high:g}, B {low:g}": (high, low),
        f"A {low:g}, B {high:g}": (low, high),
    }
    maps = {name: torch.where(region, *pair).to(batch["fixed_image"]) for name, pair in levels.items()}
    return [MapAnswer(name, one, run.displacement(batch, smoothness=one)) for name, one in maps.items()]


def two_region_rows(
    run: TrainedRun, cases: Cases, codes: Sequence[int] | None, *, low: float, high: float
) -> list[dict[str, object]]:
    """Return gradient energy in A and B, each eroded by `EROSION` voxels, mean over cases, one row a map."""
    sums: dict[str, list[Mapping[str, float]]] = {}
    for batch in cases.batches:
        region = region_of(batch, codes)
        inner = {"a": eroded(region), "b": eroded(~region)}
        for answer in answers(run, batch, region, low=low, high=high):
            energy = gradient_energy(answer.displacement)
            values = {side: float(mean_within(energy, mask).nanmean()) for side, mask in inner.items()}
            sums.setdefault(answer.name, []).append(values)
    return [
        {
            "map": name,
            "cases": len(found),
            **{f"energy_{side}": _mean([v[side] for v in found]) for side in "ab"},
        }
        for name, found in sums.items()
    ]


def eroded(region: Tensor) -> Tensor:
    """Return the voxels (N, 1, *S) that are further than `EROSION` from the outside of a region, in the cube norm."""
    outside = (~region).float()
    pool = F.max_pool2d if region.ndim == 4 else F.max_pool3d
    return pool(outside, 2 * EROSION + 1, stride=1, padding=EROSION) == 0


def _mean(values: Sequence[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).nanmean())
