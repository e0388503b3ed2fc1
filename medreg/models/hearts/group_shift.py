"""The simplest answers to what a heart is like at another age: as it is, or moved as the groups differ on average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medreg.errors import CompositionError
from medreg.models.hearts.age_codes import GROUPS
from medreg.models.hearts.ageheart import refuse_other_frames
from medreg.models.hearts.base import AgeingModel
from medreg.models.hearts.condition import age_group
from medreg.models.hearts.conditions import Conditions, Covariates
from medreg.models.hearts.fitted import FittedModel

SEXES = 2


class NoChange(FittedModel, AgeingModel):
    """The heart as it is, at every age."""

    trainable = False
    completes = False
    generates = False

    def __init__(self, conditions: Conditions, *, frames: int, classes: int, size: Sequence[int]) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        refuse_other_frames(frames)

    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Nothing."""

    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """The heart itself."""
        return shape

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Refused, see `_no_completion`."""
        raise _no_completion()

    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Refused, see `_no_generation`."""
        raise _no_generation()


class GroupShift(FittedModel, AgeingModel):
    """The heart moved as groups of age differ on average, within the sex.

    Every class of a label map is told by its signed distance, mm, positive inside; that of the other age is the one of
    the heart plus the difference of the means of the two groups, and a voxel belongs to the class with the largest. A
    group without training hearts takes the mean of the nearest one with some.

    Args:
        conditions: `age_years`, and `sex` where groups are told apart by it too; like the rest as in `FittedModel`.
        spacing_mm: along X, Y and Z.
    """

    completes = False
    generates = False
    sums: Tensor
    counts: Tensor

    def __init__(
        self,
        conditions: Conditions,
        *,
        frames: int,
        classes: int,
        size: Sequence[int],
        spacing_mm: Sequence[float],
    ) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        refuse_other_frames(frames)
        self.spacing_mm = tuple(map(float, spacing_mm))
        self.register_buffer("sums", torch.zeros(SEXES, GROUPS, frames, classes, *self.size))
        self.register_buffer("counts", torch.zeros(SEXES, GROUPS, dtype=torch.int64))

    def begin(self) -> None:
        """Forget all hearts."""
        self.sums.zero_()
        self.counts.zero_()

    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Add the distances of some hearts to those of their groups; hearts of unknown age count nothing."""
        sex, group = self._place(covariates)
        for place, heart in enumerate(shape):
            if not covariates["age_years"][place].isnan():
                self.sums[sex[place], group[place]] += self._distances(heart)
                self.counts[sex[place], group[place]] += 1

    def settle(self) -> None:
        """Divide the sums, and fill groups without hearts.

        Raises:
            CompositionError: a sex without any heart.
        """
        for sex in range(SEXES):
            there = self.counts[sex].nonzero().flatten().tolist()
            if not there:
                if "sex" not in self.conditions.names:
                    continue
                raise CompositionError(
                    f"model=group_shift has seen no heart of a {('woman', 'man')[sex]} of known age; it needs both."
                )
            means = self.sums[sex] / self.counts[sex].clamp(min=1).view(-1, 1, 1, 1, 1, 1)
            for group in range(GROUPS):
                self.sums[sex, group] = means[min(there, key=lambda other: abs(other - group))]
        super().settle()

    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """The heart moved from the group of now to the later one."""
        self.check_settled()
        sex, now = self._place(covariates)
        _, then = self._place(later)
        found = []
        for place, heart in enumerate(shape):
            moved = (
                self._distances(heart)
                + self.sums[sex[place], then[place]]
                - self.sums[sex[place], now[place]]
            )
            same = now[place] == then[place]
            found.append(heart if same else moved.argmax(1).to(heart))
        return torch.stack(found)

    def _place(self, covariates: Covariates) -> tuple[list[int], list[int]]:
        """Sex and group of every heart; a sex that is not told or not known counts as the first."""
        group = age_group(covariates["age_years"]).nan_to_num(0.0).long().tolist()
        if "sex" not in self.conditions.names:
            return [0] * len(group), group
        return (covariates["sex"].nan_to_num(0.0) > 0.5).long().tolist(), group

    def _distances(self, heart: Tensor) -> Tensor:
        """Signed distances (2, L + 1, *S), mm, of one heart (2, *S); of a class that is not there, far outside."""
        labels = heart.cpu().numpy()
        far = float(np.linalg.norm(np.multiply(self.size, self.spacing_mm)))
        found = np.empty((len(labels), self.classes, *self.size), np.float32)
        for frame, place in np.ndindex(*found.shape[:2]):
            inside = labels[frame] == place
            if inside.all() or not inside.any():
                found[frame, place] = far if inside.all() else -far
                continue
            within, without = (
                ndimage.distance_transform_edt(mask, sampling=self.spacing_mm) for mask in (inside, ~inside)
            )
            found[frame, place] = within - without
        return torch.from_numpy(found).to(self.sums)

    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Refused, see `_no_completion`."""
        raise _no_completion()

    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Refused, see `_no_generation`."""
        raise _no_generation()


def _no_completion() -> CompositionError:
    return CompositionError("It changes whole hearts and cannot complete one from ED; use model=cheart.")


def _no_generation() -> CompositionError:
    return CompositionError("It changes hearts that there are and cannot make new ones; use model=ageheart.")
