"""The two sides of an adversarial game over the log odds that a frame is real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medreg.errors import require_number


@dataclass(frozen=True)
class AdversarialLoss:
    """The non-saturating game of Goodfellow et al., 2014, as binary cross-entropy of log odds.

    Attributes:
        weight: of the makers' side beside their other terms, above 0.
        real_target: probability that the judge is to give real frames: 1, or a little less, so that it does not become
            sure of itself (Salimans et al., 2016).
        judge_prior: whether frames of codes from the prior are judged beside reconstructions, where a model has both
            (Larsen et al., 2016).
        hard: whether the judge sees made frames as ones and zeros, like real ones, with the gradient of the
            probabilities; False: the probabilities, whose softness gives them away.

    Raises:
        ConfigError: numbers that make no sense.
    """

    weight: float
    real_target: float
    judge_prior: bool
    hard: bool

    def __post_init__(self) -> None:
        require_number("loss.adversarial.weight", self.weight, least=0)
        require_number("loss.adversarial.real_target", self.real_target, least=0.5)

    def shown(self, scores: Tensor) -> Tensor:
        """Return frames as the judge sees them, (B, F, C, *S), of scores."""
        shares = scores.float().softmax(2)
        if not self.hard:
            return shares
        sure = torch.zeros_like(shares).scatter_(2, shares.argmax(2, keepdim=True), 1.0)
        return sure + (shares - shares.detach())

    def of_judge(self, real: Tensor, made: Sequence[Tensor]) -> Tensor:
        """Return −½ (log D(real) + log(1 − D(made))), the mean over frames and over kinds of made ones."""
        target = torch.full_like(real, self.real_target)
        missed = torch.stack([F.softplus(odds.float()).mean() for odds in made]).mean()
        return 0.5 * (F.binary_cross_entropy_with_logits(real.float(), target.float()) + missed)

    def of_makers(self, made: Sequence[Tensor]) -> Tensor:
        """Return −log D(made), the mean over frames and over kinds of made ones, before its weight."""
        return torch.stack([F.softplus(-odds.float()).mean() for odds in made]).mean()
