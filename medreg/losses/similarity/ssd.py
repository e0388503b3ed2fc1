"""Mean squared difference of intensities (SSD), for images of one modality and scanner."""

from __future__ import annotations

from torch import Tensor

from medreg.losses.reduction import masked_mean
from medreg.losses.similarity.base import Similarity


def mean_squared_difference(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over channels and voxels of (W − F)².

    Args:
        warped: (B, C, *S).
        fixed: (B, C, *S).
        mask: (B, 1, *S) or None.

    Returns:
        (B,) in squared intensities.
    """
    return masked_mean((warped - fixed).square(), mask)


class SSD(Similarity):
    """Sum of squared differences as a mean, D = (1/N) Σ (W − F)² (Qiu et al., GraDIRN, MICCAI 2022, `mse`).

    Args:
        weight: factor in the energy.
    """

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) mean squared difference."""
        return mean_squared_difference(warped, fixed, mask)
