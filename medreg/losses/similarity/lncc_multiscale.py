"""LNCC on a pyramid of pooled images: small structures and large ones in one measure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medreg.errors import ConfigError
from medreg.losses.similarity.base import Similarity
from medreg.losses.similarity.lncc import LNCC, Border


def pool(image: Tensor, *, times: int = 1) -> Tensor:
    """Halve the grid by means over 3^D windows around every second voxel; the border does not count.

    Voxel i of the result is the mean around voxel 2i (Mok & Chung, LapIRN; average pooling 3, stride 2, pad 1).

    Args:
        image: (B, C, *S).
        times: number of halvings.

    Returns:
        (B, C, *⌈S / 2^times⌉).
    """
    average = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    for _ in range(times):
        image = average(image, kernel_size=3, stride=2, padding=1, count_include_pad=False)
    return image


class MultiscaleLNCC(Similarity):
    """D = Σ_k 2^−k LNCC_{w−2k}(pool^k W, pool^k F), k = 0…scales−1, in [−(2 − 2^(1−scales)), 0].

    With window 7 and three scales the measure of LapIRN's finest level; `coarser` gives those of its other
    levels. Source: Mok & Chung, MICCAI 2020 and 2021; equal in the release of CSAIN (Wang et al., ISBI 2023).

    Args:
        window: odd width at full resolution, voxels.
        scales: number of resolutions.
        weight: factor in the energy.
        eps: ε of every LNCC, window sums of intensities to the fourth power.
        border: "zeros" as in the releases or "inside", see `LNCC`.

    Raises:
        ConfigError: a window that falls below 3 voxels at the coarsest scale.
    """

    def __init__(self, *, window: int, scales: int, weight: float, eps: float, border: Border) -> None:
        super().__init__(weight=weight)
        if scales < 1 or window - 2 * (scales - 1) < 3:
            raise ConfigError(
                f"similarity.window={window} shrinks by 2 at each of similarity.scales={scales}; "
                "it must stay 3 voxels or more, and there must be one scale at least."
            )
        self.window, self.scales, self.eps = window, scales, eps
        self.border: Border = border
        self.terms = torch.nn.ModuleList(
            LNCC(window=window - 2 * k, weight=0.5**k, eps=eps, border=border) for k in range(scales)
        )

    def coarser(self, levels: int) -> MultiscaleLNCC:
        """The measure for images pooled so many times already: each time the window is 2 smaller and a scale less."""
        return MultiscaleLNCC(
            window=max(3, self.window - 2 * levels),
            scales=max(1, self.scales - levels),
            weight=self.weight,
            eps=self.eps,
            border=self.border,
        )

    def compare(self, warped: Tensor, fixed: Tensor, mask: Tensor | None) -> Tensor:
        """Return the (B,) weighted sum; a pooled voxel counts as far as its centre lies in the mask."""
        total = warped.new_zeros(len(warped))
        for number, term in enumerate(self.terms):
            if number:
                warped, fixed = pool(warped), pool(fixed)
                mask = None if mask is None else subsample(mask)
            total = total + term.weight * term(warped, fixed, mask=mask)
        return total


def subsample(image: Tensor, *, times: int = 1) -> Tensor:
    """Every 2^times-th voxel of each axis of (B, C, *S): the nearest value, for labels, masks and maps."""
    for axis in range(2, image.ndim):
        image = image[(slice(None),) * axis + (slice(None, None, 2**times),)]
    return image
