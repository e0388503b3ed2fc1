"""What models of hearts have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medreg.models.hearts.conditions import Conditions, Covariates


@dataclass(frozen=True)
class SequenceOutput:
    """What a network says of some frames of some hearts.

    Attributes:
        scores: (B, F, L + 1, *S), a number a class, before the softmax; class 0 is background.
        frames: (F,) which frames of the cycle.
        mean: (B, z) of the code; None of a model without.
        log_variance: (B, z) of the code; None of a code that is not drawn.
        penalty: scalar that the loss adds with a weight of its own, such as the roughness of a motion.
    """

    scores: Tensor
    frames: Tensor
    mean: Tensor | None = None
    log_variance: Tensor | None = None
    penalty: Tensor | None = None


class ShapeModel(nn.Module, ABC):
    """A model of label maps over the cardiac cycle, given conditions.

    Shapes are (B, T, *S) uint8, places of structures from 1 in the order of `data.labels` (LV, MYO, RV), 0 background;
    S = (X, Y, Z) with the long axis last, apex first; frame 0 is ED.

    Args:
        conditions: what it is conditioned on.
        frames: T of its sequences.
        classes: L + 1.
        size: S, voxels.

    Attributes:
        completes: whether `complete` answers.
        generates: whether `generate` does.
    """

    completes: bool = True
    generates: bool = True

    def __init__(self, conditions: Conditions, *, frames: int, classes: int, size: Sequence[int]) -> None:
        super().__init__()
        self.conditions = conditions
        self.frames, self.classes, self.size = frames, classes, tuple(size)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.conditions.low.device

    @property
    def requires(self) -> frozenset[str]:
        """Keys of a batch that it needs beside the shape."""
        return frozenset({"covariates"}) if self.conditions.size else frozenset()

    @abstractmethod
    def complete(
        self, first: Tensor, covariates: Covariates, *, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return whole sequences, (B, T, *S) uint8, from their first frames.

        Args:
            first: (B, *S) uint8, ED.
            covariates: name → (B,).
            generator: draws one of the sequences that fit; None: the most probable one, or that of the mean code.
        """

    @abstractmethod
    def generate(self, covariates: Covariates, *, generator: torch.Generator) -> Tensor:
        """Return hearts of new people with the given conditions, (B, T, *S) uint8.

        Raises:
            CompositionError: a model that cannot.
        """


class AgeingModel(ShapeModel):
    """A model that says what a heart is like at another age; T = 2, ED and ES."""

    @abstractmethod
    def age(self, shape: Tensor, covariates: Covariates, later: Covariates) -> Tensor:
        """Return hearts at another age, (B, 2, *S) uint8.

        Args:
            shape: (B, 2, *S) uint8.
            covariates: of the people as they are, name → (B,).
            later: of the same people at the other age.
        """

    def reconstruct(self, shape: Tensor, covariates: Covariates) -> Tensor:
        """Return the same hearts at their own age, (B, 2, *S) uint8.

        What a model blurs or shrinks it blurs at both ages, so that a change is measured from here.
        """
        return self.age(shape, covariates, covariates)

    def identity(self, shape: Tensor) -> Tensor | None:
        """Return a code of who it is, free of age, (B, z); None of a model without such a code."""
        return None


def count_of(covariates: Covariates) -> int:
    """Return how many hearts some covariates speak of; 1 where they say nothing."""
    return next((len(values) for values in covariates.values()), 1)
