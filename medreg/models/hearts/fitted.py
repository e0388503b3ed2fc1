"""Models of hearts that are fitted to all training hearts at once, without an optimiser."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.errors import CheckpointError
from medreg.models.hearts.base import ShapeModel
from medreg.models.hearts.conditions import Conditions, Covariates


class FittedModel(ShapeModel):
    """A model that looks at every training heart once and then settles.

    What it has found lies in buffers, so that checkpoints hold it. Their shapes are known from the options.

    Args:
        conditions: what it is conditioned on.
        frames: T of its sequences.
        classes: L + 1.
        size: S, voxels.

    Attributes:
        trainable: whether there is anything to be fitted.
        settled: () bool, whether it has been.
    """

    trainable: bool = True
    settled: Tensor

    def __init__(self, conditions: Conditions, *, frames: int, classes: int, size: Sequence[int]) -> None:
        super().__init__(conditions, frames=frames, classes=classes, size=size)
        self.register_buffer("settled", torch.tensor(False))

    def begin(self) -> None:
        """Begin: forget what an interrupted fit has gathered. Overridden by models that gather."""

    @abstractmethod
    def observe(self, shape: Tensor, covariates: Covariates) -> None:
        """Take note of some training hearts.

        Args:
            shape: (B, T, *S) uint8.
            covariates: name → (B,).
        """

    def settle(self) -> None:
        """Make of all that was observed what it answers from, and forget the hearts themselves."""
        self.settled.fill_(True)

    def check_settled(self) -> None:
        """Refuse to answer before it was fitted.

        Raises:
            CheckpointError: it was not.
        """
        if not self.settled:
            raise CheckpointError(
                "The model was not fitted to any hearts yet. Train it first: python train.py model=NAME."
            )
