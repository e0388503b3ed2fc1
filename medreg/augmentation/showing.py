"""What an adversary does to one image, step by step, as arrays to draw."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.chain import Chain
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.chance import Chance
from medreg.augmentation.network_pass import Network, NetworkPass

SAME = 1e-5  # difference below which the handling of intensities has done nothing
SMALLEST = 1e-8  # probability, of logarithms
INTENSITY = "intensity"  # what the adversary does to grey values after the members


@dataclass(frozen=True)
class ShownAttack:
    """One attack on N images, with everything in the frame of the clean images but the stages.

    Attributes:
        names: of the stages, members in their order and perhaps "intensity".
        stages: (M, N, C, *S) images after each of them; the network is given the last.
        before: (N, *S) classes predicted for the clean images, as the adversary compares them.
        after: (N, *S) classes predicted for the transformed images, brought back; 0 where nothing is compared.
        divergence: (N, *S) Kullback–Leibler divergence of the two predictions in every voxel, nats.
        start: (N,) the adversary's own divergence at its random start.
        end: (N,) and after its ascent.
    """

    names: tuple[str, ...]
    stages: Tensor
    before: Tensor
    after: Tensor
    divergence: Tensor
    start: Tensor
    end: Tensor


def attack_arrays(
    adversary: AdvChain,
    network: Network,
    images: Tensor,
    *,
    module: nn.Module | None = None,
    labels: Tensor | None = None,
    step: int = 0,
) -> ShownAttack:
    """Attack images with all members in their listed order, and keep what there is to see.

    Args:
        adversary: its rule alone is not followed.
        network: from images to scores.
        images: (N, C, *S).
        module: whose statistics and mode are meant if the network is a function.
        labels: as of `AdvChain.attack`.
        step: from which chance is derived.

    Raises:
        DataError, CompositionError: images, labels and network do not fit each other.
    """
    whole = replace(adversary, rule=ChainRule("fixed"))
    found = whole.attack(network, images, step=step, module=module, labels=labels)
    members, parameters = found.chain.members, found.parameters
    inside = module if module is not None else network if isinstance(network, nn.Module) else None
    asked = NetworkPass(network, inside, adversary.scores, images.dtype, Chance(adversary.seed, step))
    with torch.no_grad(), asked.standing_still(images.device):
        stages = [
            Chain(members[:count]).apply(images.detach().float(), parameters[:count])
            for count in range(1, len(members) + 1)
        ]
        names = [type(member).__name__ for member in members]
        if float((stages[-1] - found.images).abs().max()) > SAME:
            stages, names = [*stages, found.images.float()], [*names, INTENSITY]
        returned = found.chain.invert(asked.quiet(found.images), parameters).softmax(1)
        expected = found.reference if adversary.truth else found.reference.softmax(1)
        logs = [values.clamp_min(SMALLEST).log() for values in (expected, returned)]
        mask = found.mask[:, 0]
        return ShownAttack(
            tuple(names),
            torch.stack(stages).cpu(),
            expected.argmax(1).cpu(),
            (returned.argmax(1) * (mask > 0)).cpu(),
            ((expected * (logs[0] - logs[1])).sum(1) * mask).cpu(),
            found.before.cpu(),
            found.after.cpu(),
        )
