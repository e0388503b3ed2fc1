"""How a search keeps λ within the range of training: not at all, by projection, or by a sigmoid."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from medreg.models.conditional import SmoothnessRange

EDGE = 1e-3  # of the range: a sigmoid cannot start at its ends, where its slope is zero


class Bound(ABC):
    """Variables v that an optimiser moves freely, and the λ that they stand for."""

    @abstractmethod
    def start(self, weights: Tensor, trained: SmoothnessRange) -> Tensor:
        """Return the variables (K,) of a start λ (K,)."""

    @abstractmethod
    def weights(self, variables: Tensor, trained: SmoothnessRange) -> Tensor:
        """Return λ (K,), differentiable in the variables."""

    def project(self, variables: Tensor, trained: SmoothnessRange) -> Tensor:
        """Return the variables after a step, brought back where they have left the range."""
        return variables


class Free(Bound):
    """λ = v, wherever it goes: the released code."""

    def start(self, weights: Tensor, trained: SmoothnessRange) -> Tensor:
        """The λ themselves."""
        return weights.clone()

    def weights(self, variables: Tensor, trained: SmoothnessRange) -> Tensor:
        """The variables themselves."""
        return variables


class Clamp(Free):
    """λ = v, clamped to the range after every step (projected descent)."""

    def project(self, variables: Tensor, trained: SmoothnessRange) -> Tensor:
        """Clamp to the range of training."""
        return variables.clamp(trained.low, trained.high)


class Sigmoid(Bound):
    """λ = low + (high − low)·σ(v): never at an end of the range, and slower near it."""

    def start(self, weights: Tensor, trained: SmoothnessRange) -> Tensor:
        """Logit of the place in the range, a little inside of it."""
        place = (weights - trained.low) / (trained.high - trained.low)
        return torch.logit(place.clamp(EDGE, 1 - EDGE))

    def weights(self, variables: Tensor, trained: SmoothnessRange) -> Tensor:
        """Place in the range by the logistic function."""
        return trained.low + (trained.high - trained.low) * torch.sigmoid(variables)
