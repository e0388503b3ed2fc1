"""VoxelMorph 0.3 (torch) with neurite, which holds its losses."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import Agreement, Contender, Maker, StepMaker, TrainingStep, Work


class Voxelmorph(Contender):
    """VoxelMorph's layers and neurite's losses; what lies outside an image is zero for them."""

    name = "voxelmorph"
    distribution = "voxelmorph"
    module = "voxelmorph"

    def operators(self) -> Mapping[str, Maker]:
        """Warp, integration, NCC and gradient penalty; there is no mutual information."""
        return {"warp": _warp, "exponential": _exponential, "lncc": _lncc, "diffusion": _diffusion}

    def steps(self) -> Mapping[str, StepMaker]:
        """Its own network, without integration, with neurite's losses."""
        return {"voxelmorph": _step}


def _margin(inputs: Inputs) -> int:
    """Voxels that a displacement can bring in from outside."""
    return int(min(4 * inputs.amplitude + 1, min(inputs.size.shape) // 2 - 2))


def _warp(inputs: Inputs) -> Work:
    from voxelmorph.nn.modules import SpatialTransformer

    block, image, field = SpatialTransformer(), inputs.moving, inputs.displacement
    return Work(
        lambda: block(image, field),
        (field,),
        inputs.cotangent[:, :1],
        agreement=Agreement(1e-3, margin=_margin(inputs), reason="zeros outside"),
    )


def _exponential(inputs: Inputs) -> Work:
    from voxelmorph.nn.modules import IntegrateVelocityField

    block, field = IntegrateVelocityField(steps=inputs.squarings), inputs.displacement
    agreement = Agreement(1e-3, margin=2 * _margin(inputs), reason="zeros outside")
    return Work(lambda: block(field), (field,), inputs.cotangent, agreement=agreement)


def _lncc(inputs: Inputs) -> Work:
    from neurite.nn.modules import NCC

    loss, warped = NCC(inputs.window), inputs.moving
    agreement = Agreement(5e-2, factor=-1.0, reason="other sign and smoothing term")
    return Work(lambda: loss(warped, inputs.fixed).mean(), (warped,), agreement=agreement)


def _diffusion(inputs: Inputs) -> Work:
    from neurite.nn.modules import SpatialGradient

    loss, field = SpatialGradient("l2"), inputs.displacement
    factor = 1 / inputs.size.ndim**2
    agreement = Agreement(0.1, factor=factor, reason="mean over components and axes, differences inside")
    return Work(lambda: loss(field).mean(), (field,), agreement=agreement)


def _step(inputs: Inputs) -> TrainingStep:
    from neurite.nn.modules import NCC, SpatialGradient
    from voxelmorph.nn.models import VxmPairwise

    network = VxmPairwise(
        inputs.size.ndim, 1, 1, nb_features=(16, 32, 32, 32, 32), integration_steps=0, device=inputs.device
    ).to(inputs.device)
    similarity, penalty, fixed, moving = (
        NCC(inputs.window), SpatialGradient("l2"), inputs.fixed, inputs.moving
    )  # fmt: skip

    def loss() -> Tensor:
        field, warped = network(moving, fixed, return_warped_source=True)
        return penalty(field).mean() - similarity(warped, fixed).mean()

    return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))
