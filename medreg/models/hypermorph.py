"""HyperMorph: the weights of a registration network as a function of the smoothness λ."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call

from medreg.errors import CompositionError
from medreg.geometry.precision import at_least_single
from medreg.geometry.transformation import Transformation
from medreg.inference.registration import Registration, check_pair
from medreg.models.blocks.unet import UNet
from medreg.models.conditional import ConditionalModel, SmoothnessRange


class HyperNetwork(nn.Module):
    """λ → all parameters of a template network: dense layers with ReLU, then one linear layer.

    The linear layer's bias starts at the template's own initial parameters, and its matrix starts so small that λ
    changes them by a fraction `spread` of their standard deviation (ours; a freshly drawn matrix alone would
    give a network that does not depend on its input's scale).

    Args:
        template: network whose parameters are to be generated; its own values are the start.
        layers: dense layers.
        units: number in every dense layer.
        spread: factor of the first weights, see above.
    """

    def __init__(self, template: nn.Module, *, layers: int, units: int, spread: float) -> None:
        super().__init__()
        sizes = [2] + [units] * layers
        self.dense = nn.Sequential(
            *(nn.Sequential(nn.Linear(a, b), nn.ReLU(inplace=True)) for a, b in pairwise(sizes))
        )
        parameters = dict(template.named_parameters())
        self.shapes = {name: tuple(value.shape) for name, value in parameters.items()}
        values = torch.cat([value.detach().flatten() for value in parameters.values()])
        scales = torch.cat([_deviation(value).expand(value.numel()) for value in parameters.values()])
        self.last = nn.Linear(units, len(values))
        with torch.no_grad():
            self.last.bias.copy_(values)
            nn.init.normal_(self.last.weight)
            self.last.weight.mul_(spread * scales[:, None])

    def forward(self, smoothness: Tensor) -> dict[str, Tensor]:
        """Parameters by name for one λ, a scalar tensor."""
        values = self.last(self.dense(torch.stack((smoothness, 1.0 - smoothness))))
        parts = values.split([_count(shape) for shape in self.shapes.values()])
        named = zip(self.shapes.items(), parts, strict=True)
        return {name: part.view(shape) for (name, shape), part in named}


class HyperMorph(ConditionalModel):
    """u = T(UNet_{h(λ)}([F, M])), where a hypernetwork h gives the U-Net of VoxelMorph its weights.

    One λ a pair; pairs of one batch with different λ pass through the U-Net one by one. Source: Hoopes et al.,
    IPMI 2021, and voxelmorph's train_hypermorph.py (6 dense layers of 128).

    Deviation: the hypernetwork is shown (λ, 1 − λ), so that no end of the range is a zero input, and starts
    from a VoxelMorph (see `HyperNetwork`); the U-Net is that of `VoxelMorph`.

    Args:
        ndim: spatial dimensions.
        transformation: map from parameters to displacement.
        encoder: channels of the U-Net's encoder, finest first.
        decoder: channels of its decoder, coarsest first.
        out: channels of its convolutions at full resolution.
        last_layer_scale: factor of the initial weights of its last convolution.
        hyper_layers: dense layers of the hypernetwork.
        hyper_units: number in each.
        spread: part of the initial weights that varies with λ.
        smoothness_range: low and high, the λ of training.
        smoothness: λ of a call that names none.
        channels: channels of one image.
    """

    def __init__(
        self,
        ndim: int,
        transformation: Transformation,
        *,
        encoder: Sequence[int],
        decoder: Sequence[int],
        out: Sequence[int],
        last_layer_scale: float,
        hyper_layers: int,
        hyper_units: int,
        spread: float,
        smoothness_range: Sequence[float],
        smoothness: float,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.ndim, self.transformation = ndim, transformation
        network = UNet(
            ndim, encoder, decoder=decoder, out=out, inputs=2 * channels, last_layer_scale=last_layer_scale
        )
        self.hypernetwork = HyperNetwork(network, layers=hyper_layers, units=hyper_units, spread=spread)
        # Only its structure is used from here on: kept in a tuple it has no parameters of the model's own.
        self._template = (network.to("meta"),)
        self.smoothness_range, self.smoothness = SmoothnessRange(*smoothness_range), smoothness

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
        """Register with λ (B,); spacing and masks are not seen by the network.

        Raises:
            CompositionError: a map of λ.
        """
        shape = check_pair(fixed, moving, ndim=self.ndim)
        if smoothness is None:
            smoothness = torch.full((len(fixed),), self.smoothness, device=fixed.device)
        if smoothness.shape != (len(fixed),):
            raise CompositionError(
                f"HyperMorph takes one λ a pair, ({len(fixed)},), not {tuple(smoothness.shape)}; train model=csain "
                "for maps."
            )
        pair = torch.cat((fixed, moving), dim=1)
        field = torch.cat([self._one(image[None], one) for image, one in zip(pair, smoothness, strict=True)])
        theta = self.transformation.restrict(at_least_single(field), shape)
        deformation = self.transformation(theta, shape)
        return Registration(deformation.displacement, deformation.regularised, theta)

    def _one(self, pair: Tensor, smoothness: Tensor) -> Tensor:
        parameters = self.hypernetwork(smoothness.to(self.hypernetwork.last.weight))
        field: Tensor = functional_call(self._template[0], parameters, (pair,))
        return field


def _deviation(value: Tensor) -> Tensor:
    return value.detach().std() if value.numel() > 1 else value.detach().abs().sum()


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
