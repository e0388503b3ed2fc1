"""What an adversary found, and the round of the game in which it looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.chain import Chain, Parameters
from medreg.augmentation.comparison import Comparison, Judged
from medreg.augmentation.network_pass import NetworkPass


@dataclass(frozen=True)
class Attack:
    """What an adversary found; nothing in it has a gradient.

    Attributes:
        images: (N, C, *S) transformed, in the range of the clean ones.
        chain: that was drawn.
        parameters: φ of its members.
        reference: (N, K, *S) scores with which predictions were compared, in the frame of the clean images.
        mask: (N, 1, *S) where they were compared, 0 or 1.
        before: (N,) divergence at the random start.
        after: (N,) divergence now. Both are measured in the same mode, with still statistics.
    """

    images: Tensor
    chain: Chain
    parameters: Parameters
    reference: Tensor
    mask: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class Disagreement:
    """The loss of a batch, and where its adversary has started.

    Attributes:
        loss: mean divergence at the parameters found, with the gradient of the network.
        before: mean divergence at the random start, or, of members under power iteration, at the tiny perturbation
            where they take their gradient; without gradient.
    """

    loss: Tensor
    before: Tensor


@dataclass(frozen=True)
class Round:
    """One call of an adversary.

    Attributes:
        chain: that was drawn.
        order: indices of its members among those of the adversary.
        network: that is asked.
        comparison: what is compared.
        structures: (N, 1, *S) that must survive, or None.
        generator: of parameters.
    """

    chain: Chain
    order: Sequence[int]
    network: NetworkPass
    comparison: Comparison
    structures: Tensor | None
    generator: torch.Generator

    def judged(self, parameters: Parameters) -> tuple[Judged, Tensor]:
        """Divergence at parameters, with the gradient in them, and the transformed images."""
        moved, fellows = self.comparison.transformed(self.chain, parameters)
        scores = self.network.quiet(moved)
        return self.comparison.compared(self.chain, parameters, scores, fellows), moved
