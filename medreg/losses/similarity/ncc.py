"""Normalised cross correlation over the whole image, for a linear relation of intensities."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from medreg.losses.similarity.base import Similarity


class Covariance(NamedTuple):
    """Sums over the voxels of each sample and channel, (B, C) each, of centred products."""

    cross: Tensor
    warped: Tensor
    fixed: Tensor


def global_covariance(warped: Tensor, fixed: Tensor, mask: Tensor | None = None) -> Covariance:
    """Σ ŵf̂, Σ ŵ², Σ f̂² with ŵ, f̂ centred by their means inside the mask.

    Args:
        warped: (B, C, *S).
        fixed: (B, C, *S).
        mask: (B, 1, *S) or None.
    """
    warped, fixed = warped.flatten(2), fixed.flatten(2)
    if mask is None:
        w, f = warped - warped.mean(2, keepdim=True), fixed - fixed.mean(2, keepdim=True)
        return Covariance((w * f).sum(2), w.square().sum(2), f.square().sum(2))
    m = mask.flatten(2)
    count = m.sum(2, keepdim=True)
    count = count.masked_fill(count == 0, 1.0)
    w = warped - (m * warped).sum(2, keepdim=True) / count
    f = fixed - (m * fixed).sum(2, keepdim=True) / count
    return Covariance((m * w * f).sum(2), (m * w.square()).sum(2), (m * f.square()).sum(2))


class NCC(Similarity):
    """Squared global correlation: D = −(Σ ŵf̂)² / (Σ ŵ²·Σ f̂² + ε), mean over channels.

    In [−1, 0]; blind to the sign of the correlation (Qiu et al., GraDIRN, MICCAI 2022, loss `ncc`).

    Args:
        weight: factor in the energy.
        eps: ε, in sums of intensities to the fourth power.
    """

    def __init__(self, *, weight: float, eps: float = 1e-5) -> None:
        super().__init__(weight=weight)
        self.eps = eps

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) negative squared correlation."""
        sums = global_covariance(warped, fixed, mask)
        return -(sums.cross.square() / (sums.warped * sums.fixed + self.eps)).mean(1)


class NCCSigned(NCC):
    """Global correlation with its sign: D = −Σ ŵf̂ / √(Σ ŵ²·Σ f̂² + ε), mean over channels.

    In [−1, 1]; an inverted contrast costs +1 where the squared form would reward it. Arguments as `NCC`.
    """

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) negative correlation."""
        sums = global_covariance(warped, fixed, mask)
        return -(sums.cross / (sums.warped * sums.fixed + self.eps).sqrt()).mean(1)
