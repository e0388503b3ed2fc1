"""A step of supervised segmentation, without and with the consistency of an adversarial chain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from experiments.performance.inputs import Inputs
from experiments.performance.work import StepMaker, TrainingStep
from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.morph import Morph
from medreg.augmentation.noise import Noise
from medreg.models.unet16 import UNet16

CLASSES = 4  # background and three structures of a heart
Consistency = Callable[[Any, Tensor], Tensor]


@dataclass(frozen=True)
class Segmenting:
    """What every contender trains on.

    Attributes:
        network: with the same first weights everywhere.
        images: (B, 1, *S) in [0, 1].
        target: (B, 4, *S), one-hot.
    """

    network: nn.Module
    images: Tensor
    target: Tensor

    @classmethod
    def of(cls, inputs: Inputs) -> Segmenting:
        """For images of the size of the inputs."""
        torch.manual_seed(0)
        network = (
            UNet16(
                ndim=inputs.size.ndim,
                in_channels=1,
                out_channels=CLASSES,
                width=16,
                norm="batch",
                dropout=0.0,
            )
            .to(inputs.device)
            .train()
        )
        codes = inputs.fixed_labels[:, 0].long() % CLASSES
        target = nn.functional.one_hot(codes, CLASSES).movedim(-1, 1).float()
        return cls(network, inputs.fixed, target.expand(inputs.size.batch, -1, *inputs.size.shape))


def one_pass(segmenting: Segmenting, consistency: Consistency | None) -> TrainingStep:
    """One step of Dice, cross-entropy and, where there is one, the consistency with weight 1."""
    network, compare = segmenting.network, DiceCELoss(softmax=True)

    def loss() -> Tensor:
        # First the adversary: the release clears the gradients of the network when it is done.
        apart = consistency(network, segmenting.images) if consistency is not None else 0.0
        supervised: Tensor = compare(network(segmenting.images), segmenting.target)
        return supervised + apart

    return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


def shared_pass(segmenting: Segmenting, adversary: AdvChain) -> TrainingStep:
    """As `one_pass`, with the scores of the supervised pass as the reference, as training shares them by default."""
    network, compare = segmenting.network, DiceCELoss(softmax=True)

    def loss() -> Tensor:
        scores = network(segmenting.images)
        apart = adversary(network, segmenting.images, clean=scores)
        supervised: Tensor = compare(scores, segmenting.target)
        return supervised + apart

    return TrainingStep(network, loss, torch.optim.Adam(network.parameters(), lr=1e-4))


def our_steps() -> Mapping[str, StepMaker]:
    """A step with the paper's chain of four members; one with a pass of its own for the reference; others for scale."""
    return {
        "advchain": lambda inputs: shared_pass(Segmenting.of(inputs), chain_of_four(inputs)),
        "advchain unshared pass": lambda inputs: one_pass(Segmenting.of(inputs), chain_of_four(inputs)),
        "advchain random chain": lambda inputs: shared_pass(
            Segmenting.of(inputs), chain_of_four(inputs, steps=0)
        ),
        "advchain plain step": lambda inputs: one_pass(Segmenting.of(inputs), None),
    }


def chain_of_four(inputs: Inputs, *, steps: int = 1) -> AdvChain:
    """Preset `paper` with all its members in every step; control points as dense as in the released experiment."""
    members = [
        Noise.paper(),
        BiasField.paper(spacing=0.25),
        Morph.paper(),
        AffineMap.paper(),
    ]
    return AdvChain.paper(inputs.size.ndim, members=members, rule=ChainRule("fixed"), steps=steps)
