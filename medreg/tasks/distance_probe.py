"""Known misalignments on which a distance is judged: random poses, and one parameter varied at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.misalignment import moved
from medreg.augmentation.random_affine import RandomPose
from medreg.geometry.affine_distance import affine_distance, inverse_matrix
from medreg.geometry.affine_pose import pose_matrix, turns_of

Measure = Callable[[Tensor, Tensor], Tensor]  # fixed (B, 1, *S), moving (B, 1, *S) → (B,)


@dataclass(frozen=True)
class Points:
    """True and predicted distances of N images at K random poses.

    Attributes:
        truth: (N·K,) ½ (d(T) + d(T⁻¹)), half-extents: what a symmetric measure can know.
        predicted: (N·K,) half-extents.
    """

    truth: Tensor
    predicted: Tensor

    def rows(self, half_extent_mm: float) -> list[dict[str, float]]:
        """Every pair of distances, mm."""
        pairs = zip(self.truth.tolist(), self.predicted.tolist(), strict=True)
        return [
            {"truth_mm": half_extent_mm * truth, "predicted_mm": half_extent_mm * predicted}
            for truth, predicted in pairs
        ]


@dataclass(frozen=True)
class Curve:
    """A measure along one parameter, the mean over images.

    Attributes:
        motion: name of the parameter.
        unit: of its values.
        values: V values.
        measure: (V,).
    """

    motion: str
    unit: str
    values: tuple[float, ...]
    measure: Tensor

    def rows(self, half_extent_mm: float) -> list[dict[str, float | str]]:
        """Every point of the curve; the distance in mm."""
        return [
            {
                "motion": self.motion,
                "unit": self.unit,
                "value": value,
                "distance_mm": half_extent_mm * distance,
            }
            for value, distance in zip(self.values, self.measure.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Probe:
    """What a distance is asked.

    Attributes:
        poses: distribution of random misalignments, that of training.
        repeats: K, random poses of every image.
        rotation_deg: degrees, values of the landscape about every axis.
        translation: half-extents, values of the landscape along every axis.
        batch: pairs measured at once.
        seed: of poses and appearances; not that of the training, so that all trainings are asked the same.
    """

    poses: RandomPose
    repeats: int
    rotation_deg: Sequence[float]
    translation: Sequence[float]
    batch: int
    seed: int

    def chance(self, number: int, device: torch.device) -> torch.Generator:
        """Source of chance that depends on the seed and a number only."""
        return torch.Generator(device).manual_seed(self.seed * 1_000_003 + number)

    def points(self, fixed: Tensor, moving: Tensor, measure: Measure) -> Points:
        """Distances of aligned images after random misalignment of the moving one.

        Args:
            fixed: (N, 1, *S).
            moving: (N, 1, *S), aligned with the fixed images.
            measure: of distance.
        """
        ndim = fixed.ndim - 2
        chance = self.chance(0, fixed.device)
        pose = self.poses(len(fixed) * self.repeats, ndim=ndim, generator=chance)
        unit = fixed.new_ones(ndim)
        matrix = pose_matrix(pose, unit)
        truth = (affine_distance(matrix, unit) + affine_distance(inverse_matrix(matrix), unit)) / 2
        return Points(truth, self._measured(fixed, moving, matrix, measure))

    def curves(self, fixed: Tensor, moving: Tensor, measure: Measure) -> list[Curve]:
        """Landscapes of rotation and translation: mean over images and axes."""
        ndim = fixed.ndim - 2
        turns = turns_of(ndim)
        angles = [float(torch.deg2rad(torch.tensor(value))) for value in self.rotation_deg]
        plans: Mapping[str, tuple[str, Sequence[float], Sequence[float], range]] = {
            "rotation": ("deg", self.rotation_deg, angles, range(turns)),
            "translation": ("half-extents", self.translation, self.translation, range(turns, turns + ndim)),
        }
        found = []
        for motion, (unit, shown, values, entries) in plans.items():
            pose = fixed.new_zeros(len(values), len(entries), ndim * (ndim + 1))
            for number, entry in enumerate(entries):
                pose[:, number, entry] = fixed.new_tensor(list(values))
            matrix = pose_matrix(pose.flatten(0, 1), fixed.new_ones(ndim)).repeat(len(fixed), 1, 1)
            measured = self._measured(fixed, moving, matrix, measure)
            mean = measured.reshape(len(fixed), len(values), len(entries)).mean((0, 2))
            found.append(Curve(motion, unit, tuple(shown), mean))
        return found

    @torch.no_grad()
    def _measured(self, fixed: Tensor, moving: Tensor, matrix: Tensor, measure: Measure) -> Tensor:
        """Measure at (N·K) maps, all K of the first image first."""
        times = len(matrix) // len(fixed)
        parts = []
        for start in range(0, len(matrix), self.batch):
            rows = torch.arange(start, min(start + self.batch, len(matrix)), device=fixed.device)
            image = rows // times
            parts.append(measure(fixed[image], moved(moving[image], matrix[rows])))
        return torch.cat(parts)
