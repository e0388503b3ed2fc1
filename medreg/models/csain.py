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
from medreg.models.conditional import ConditionalModel, WeightRange
from medreg.models.lapirn import PyramidModel


class ConditionalPyramid(PyramidModel, ConditionalModel):
    """φ(F, M; λ) by a Laplacian pyramid with conditioned instance normalisation.

    With `SpatiallyAdaptive` conditioning it is CSAIN, which takes maps Λ (Wang et al., ISBI 2023; 43 297 536
    parameters at sc = 64 in 2-D), with `InstanceConditioned` it is cLapIRN, which takes one λ a pair (Mok & Chung,
    MICCAI 2021; 26 783 424). A level sees the map subsampled to its grid by the nearest value.

    Arguments as `PyramidModel`, and:

    Args:
        weight_range: low and high, the λ of training.
        weight: λ of a call that names none.
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
        weight_range: Sequence[float],
        weight: float,
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
        self.weight_range = WeightRange(*weight_range)
        self.weight = weight

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        *,
        spacing_mm: Tensor | None = None,
        fixed_mask: Tensor | None = None,
        moving_mask: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Registration:
        """Register with λ (B,) or, with spatially adaptive conditioning, a map (B, 1, *S).

        Spacing and masks are not seen by the network.

        Raises:
            CompositionError: a map for a model of one λ a pair, or a λ of another shape.
        """
        return self.at_levels(fixed, moving, weights=self.level_weights(fixed, weight))

    def level_weights(self, fixed: Tensor, weight: Tensor | None) -> list[Tensor]:
        """λ of every level, coarse to fine, from the λ of a call; arguments and errors as `forward`."""
        batch, shape = len(fixed), tuple(fixed.shape[2:])
        if weight is None:
            weight = torch.full((batch,), self.weight, device=fixed.device)
        weight = weight.to(fixed)
        if tuple(weight.shape) not in ((batch,), (batch, 1, *shape)):
            raise CompositionError(
                f"λ has shape {tuple(weight.shape)}; give one number a pair, ({batch},), or a map on the grid "
                f"of the fixed image, {(batch, 1, *shape)}."
            )
        if self.takes_maps:
            weight = weight.view(batch, *[1] * (1 + len(shape))) if weight.ndim == 1 else weight
            weight = weight.expand(batch, 1, *shape)
            return [subsample(weight, times=stride.bit_length() - 1) for stride in self.strides]
        if weight.ndim != 1:
            raise CompositionError(
                "This model takes one λ a pair, not a map; give a number, or train model=csain, whose λ may "
                "differ from voxel to voxel."
            )
        return [weight] * len(self.strides)
