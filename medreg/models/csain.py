"""CSAIN: a Laplacian pyramid that takes the smoothness as an input, a number or one for every voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from medreg.errors import CompositionError
from medreg.geometry.transformation import Transformation
from medreg.inference.registration import Registration
from medreg.losses.similarity.lncc_multiscale import subsample
from medreg.models.blocks.laplacian import ConditioningFactory, Level, Upsampling
from medreg.models.conditional import ConditionalModel, SmoothnessRange
from medreg.models.lapirn import PyramidModel


class ConditionalPyramid(PyramidModel, ConditionalModel):
    """φ(F, M; λ) by a Laplacian pyramid with conditioned instance normalisation.

    With `SpatiallyAdaptive` conditioning it is CSAIN, which takes maps Λ (Wang et al., ISBI 2023; 43 297 536
    parameters at sc = 64 in 2-D), with `InstanceConditioned` it is cLapIRN, which takes one λ a pair (Mok & Chung,
    MICCAI 2021; 26 783 424). A level sees the map subsampled to its grid by the nearest value.

    Arguments as `PyramidModel`, and:

    Args:
        smoothness_range: low and high, the λ of training.
        smoothness: λ of a call that names none.
    """

    def __init__(
        self,
        ndim: int,
        transformation: Transformation,
        *,
        start_channels: int,
        levels: int,
        blocks: int,
        range_flow: float,
        conditioning: ConditioningFactory,
        upsampling: Upsampling,
        last_layer_scale: float,
        smoothness_range: Sequence[float],
        smoothness: float,
        channels: int = 1,
    ) -> None:
        super().__init__(
            ndim,
            transformation,
            start_channels=start_channels,
            levels=levels,
            blocks=blocks,
            range_flow=range_flow,
            conditioning=conditioning,
            upsampling=upsampling,
            last_layer_scale=last_layer_scale,
            channels=channels,
        )
        self.takes_maps = cast("Level", self.network.levels[0]).conditioning.takes_maps
        self.smoothness_range = SmoothnessRange(*smoothness_range)
        self.smoothness = smoothness

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        smoothness: Tensor | None = None,
    ) -> Registration:
        """Register with λ (B,) or, with spatially adaptive conditioning, a map (B, 1, *S).

        Spacing and masks are not seen by the network.

        Raises:
            CompositionError: a map for a model of one λ a pair, or a λ of another shape.
        """
        return self.at_levels(fixed, moving, weights=self.level_smoothness(fixed, smoothness))

    def level_smoothness(self, fixed: Tensor, smoothness: Tensor | None) -> list[Tensor]:
        """λ of every level, coarse to fine, from the λ of a call; arguments and errors as `forward`."""
        batch, shape = len(fixed), tuple(fixed.shape[2:])
        if smoothness is None:
            smoothness = torch.full((batch,), self.smoothness, device=fixed.device)
        smoothness = smoothness.to(fixed)
        if tuple(smoothness.shape) not in ((batch,), (batch, 1, *shape)):
            raise CompositionError(
                f"λ has shape {tuple(smoothness.shape)}; give one number a pair, ({batch},), or a map on the grid "
                f"of the fixed image, {(batch, 1, *shape)}."
            )
        if self.takes_maps:
            smoothness = (
                smoothness.view(batch, *[1] * (1 + len(shape))) if smoothness.ndim == 1 else smoothness
            )
            smoothness = smoothness.expand(batch, 1, *shape)
            return [subsample(smoothness, times=stride.bit_length() - 1) for stride in self.strides]
        if smoothness.ndim != 1:
            raise CompositionError(
                "This model takes one λ a pair, not a map; give a number, or train model=csain, whose λ may "
                "differ from voxel to voxel."
            )
        return [smoothness] * len(self.strides)
