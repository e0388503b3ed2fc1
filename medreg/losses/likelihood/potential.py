"""Any similarity of the framework as the potential of a posterior."""

from __future__ import annotations

from torch import Tensor

from medreg.losses.likelihood.base import Likelihood, samples_mask
from medreg.losses.likelihood.residual import for_samples
from medreg.losses.reduction import checked_weight, voxel_count
from medreg.losses.similarity.base import Similarity


class Potential(Likelihood):
    """−ln p(F | W) = w·N·D(W, F) + const, D a similarity of the framework, N the number of voxels in the mask.

    D is a mean over voxels and a likelihood is a sum: N turns one into the other. How sharp the posterior is hangs
    on w, which no data teach here: w is how many nats a voxel is worth at D = 1.

    Args:
        similarity: D.
        weight: w, nats a voxel; None takes the similarity's own.
    """

    def __init__(self, *, similarity: Similarity, weight: float | None = None) -> None:
        super().__init__()
        self.similarity = similarity
        self.weight = similarity.weight if weight is None else checked_weight(weight, "likelihood")

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"weight={self.weight}"

    def _evaluate(self, warped: Tensor, fixed: Tensor, mask: Tensor | None, adapt: bool) -> Tensor:
        samples = len(warped)
        weights = samples_mask(mask, samples)
        values = self.similarity(warped, for_samples(fixed, samples), mask=weights)
        return self.weight * voxel_count(warped[:, :1], weights) * values
