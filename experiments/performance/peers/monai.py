"""MONAI: warp, integration, losses and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.scipy import numpy_determinant
from experiments.performance.work import Agreement, Contender, Evaluate, Maker, StepMaker, TrainingStep, Work


class Monai(Contender):
    """MONAI's registration operators at the settings nearest to ours."""

    name = "MONAI"
    distribution = "monai"
    module = "monai"
    limits = MappingProxyType({"mi": 3_000_000})

    def operators(self) -> Mapping[str, Maker]:
        """All but FFD and Jacobian determinant."""
        return {
            "warp": _warp,
            "exponential": _exponential,
            "lncc": _lncc,
            "mi": _mi,
            "bending": _bending,
            "diffusion": _diffusion,
            "dice": _dice,
            "hd95": _hd95,
        }

    def steps(self) -> Mapping[str, StepMaker]:
        """VoxelMorph with MONAI's losses."""
        return {"voxelmorph": _voxelmorph_step}

    def evaluation(self, inputs: Inputs) -> Evaluate:
        """Dice, HD95 and ASSD a structure at a time, as one-hot volumes of all do not fit; it has no Jacobian."""
        return _evaluation(inputs)


def _warp(inputs: Inputs) -> Work:
    from monai.networks.blocks import Warp

    block, image, field = Warp(mode="bilinear", padding_mode="border"), inputs.moving, inputs.displacement
    return Work(lambda: block(image, field), (field,), inputs.cotangent[:, :1])


def _exponential(inputs: Inputs) -> Work:
    from monai.networks.blocks import DVF2DDF

    block = DVF2DDF(num_steps=inputs.squarings, mode="bilinear", padding_mode="border")
    field = inputs.displacement
    return Work(lambda: block(field), (field,), inputs.cotangent)


def _lncc(inputs: Inputs) -> Work:
    from monai.losses import LocalNormalizedCrossCorrelationLoss

    loss = LocalNormalizedCrossCorrelationLoss(spatial_dims=inputs.size.ndim, kernel_size=inputs.window)
    warped = inputs.moving
    return Work(
        lambda: loss(warped, inputs.fixed),
        (warped,),
        agreement=Agreement(1e-2, reason="other smoothing term"),
    )


def _mi(inputs: Inputs) -> Work:
    from monai.losses import GlobalMutualInformationLoss

    loss, warped = GlobalMutualInformationLoss(num_bins=inputs.bins), inputs.moving
    reason = "windows wider by 1.2, normalised at each voxel"
    return Work(lambda: loss(warped, inputs.fixed), (warped,), agreement=Agreement(0.2, reason=reason))


def _bending(inputs: Inputs) -> Work:
    from monai.losses import BendingEnergyLoss

    loss, field = BendingEnergyLoss(), inputs.displacement
    agreement = Agreement(0.1, factor=1 / inputs.size.ndim, reason="inner voxels only, mean over components")
    return Work(lambda: loss(field), (field,), agreement=agreement)


def _diffusion(inputs: Inputs) -> Work:
    from monai.losses import DiffusionLoss

    loss, field = DiffusionLoss(), inputs.displacement
    reason = "central differences on inner voxels, mean over components"
    agreement = Agreement(0.15, factor=1 / inputs.size.ndim, reason=reason)
    return Work(lambda: loss(field), (field,), agreement=agreement)


def _one_hot(labels: Tensor, count: int) -> Tensor:
    hot = F.one_hot(labels[:, 0].long(), count + 1)
    return hot.movedim(-1, 1).to("cpu").byte().contiguous()


def _dice(inputs: Inputs) -> Work:
    from monai.metrics import compute_dice

    fixed = _one_hot(inputs.fixed_labels, inputs.labels)
    warped = _one_hot(inputs.warped_labels, inputs.labels)
    return Work(
        lambda: compute_dice(warped, fixed, include_background=False), value=lambda scores: scores.flatten()
    )


def _hd95(inputs: Inputs) -> Work:
    from monai.metrics import compute_hausdorff_distance

    fixed, warped = inputs.fixed_labels, inputs.warped_labels

    def run() -> list[float]:
        return [
            float(
                compute_hausdorff_distance(
                    (warped == code).float(), (fixed == code).float(), include_background=True, percentile=95
                )
            )
            for code in range(1, inputs.labels + 1)
        ]

    return Work(run)


def _voxelmorph_step(inputs: Inputs) -> TrainingStep:
    from monai.losses import DiffusionLoss, LocalNormalizedCrossCorrelationLoss
    from monai.networks.nets import VoxelMorph, VoxelMorphUNet

    ndim = inputs.size.ndim
    # four levels of the channels of configs/model/voxelmorph.yaml, in MONAI's order of pairs
    backbone = VoxelMorphUNet(ndim, 2, 32, (16, 32, 32, 32, 32, 32, 32, 32), (16, 16))
    network = VoxelMorph(backbone, integration_steps=0, spatial_dims=ndim).to(inputs.device)
    similarity = LocalNormalizedCrossCorrelationLoss(spatial_dims=ndim, kernel_size=inputs.window)
    penalty, fixed, moving = DiffusionLoss(), inputs.fixed, inputs.moving

    def loss() -> Tensor:
        warped, field = network(moving, fixed)
        return similarity(warped, fixed) + penalty(field)

    return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


def _evaluation(inputs: Inputs) -> Evaluate:
    from monai.metrics import compute_average_surface_distance, compute_dice, compute_hausdorff_distance
    from monai.networks.blocks import Warp

    block, labels, field = (
        Warp(mode="nearest", padding_mode="zeros"),
        inputs.fixed_labels,
        inputs.displacement,
    )

    def run() -> dict[str, float]:
        warped = block(labels.float(), field)
        values = []
        for code in range(1, inputs.labels + 1):
            one, other = (warped == code).float(), (labels == code).float()
            values.append(
                [
                    float(compute_dice(one, other)),
                    float(compute_hausdorff_distance(one, other, include_background=True, percentile=95)),
                    float(
                        compute_average_surface_distance(one, other, include_background=True, symmetric=True)
                    ),
                ]
            )
        folds = 100 * (numpy_determinant(field[0].numpy()) <= 0).mean()
        means = torch.tensor(values).nanmean(0).tolist()
        return {
            **dict(zip(("dice", "hd95_mm", "assd_mm"), means, strict=True)),
            "folding_percent": float(folds),
        }

    return run
