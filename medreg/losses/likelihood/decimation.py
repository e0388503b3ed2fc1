"""How many independent observations the voxels of an image are worth."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from medreg.errors import require_choice
from medreg.losses.reduction import precise

Measured = Literal["normalised", "squared_released"]


class VirtualDecimation(nn.Module):
    """α = Π_d √min(1, −(2/π) ln c_d), c_d the correlation of neighbouring residuals along axis d.

    Residuals of neighbouring voxels are alike, so that their number overstates what they say; α in [0, 1] is the
    share of them that counts. The log-likelihood is multiplied by it, as by a constant. For residuals whose
    autocorrelation is a Gaussian, α = Π min(1, 0.9394/FWHM_d), FWHM in voxels. The product runs over the two or
    three axes of the image; an axis along which neighbours are not positively correlated has the factor 1.

    Args:
        residual: whose correlation is measured: the residual divided by its standard deviation ("normalised"), or
            the square of that ("squared_released", what the released code does: white noise then has α = 0.585 in
            3-D instead of 1).

    References:
        Groves, Beckmann, Smith & Woolrich, Linked independent component analysis, NeuroImage 2011 (the idea);
        Grzech et al., MELBA 2021, and its released code.
    """

    def __init__(self, *, residual: Measured = "normalised") -> None:
        super().__init__()
        require_choice("likelihood.decimation.residual", residual, get_args(Measured))
        self.residual: Measured = residual

    @torch.no_grad()
    def forward(self, normalised: Tensor, mask: Tensor | None = None) -> Tensor:
        """Share of the observations that counts, without a gradient.

        Args:
            normalised: (S, C, *grid) residuals divided by their standard deviation.
            mask: (S, 1, *grid), or None.

        Returns:
            (S,) in the dtype of `precise`.
        """
        values = normalised.square() if self.residual == "squared_released" else normalised
        if mask is not None:
            values = values.masked_fill(mask == 0, 0.0) * (mask.to(values))
        kind = precise(values.device)
        power = values.square().flatten(1).sum(1).to(kind)
        share = torch.ones_like(power)
        for axis in range(2, values.ndim):
            size = values.shape[axis]
            if size < 2:
                continue
            pairs = values.narrow(axis, 0, size - 1) * values.narrow(axis, 1, size - 1)
            correlation = pairs.flatten(1).sum(1).to(kind) / power.clamp_min(torch.finfo(values.dtype).tiny)
            factor = (-2 / math.pi * correlation.clamp(1e-300, 1.0).log()).clamp(0.0, 1.0).sqrt()
            share = share * torch.where(correlation > 0, factor, 1.0)
        return share

    def extra_repr(self) -> str:
        """Settings for printing."""
        return f"residual={self.residual}"
