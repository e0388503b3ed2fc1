"""The loss of CHeart: cross-entropy of the sequence, divergence of the code, roughness of the motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from medreg.errors import ConfigError, require_choice, require_number, require_whole
from medreg.losses.generative.cross_entropy import FrameWeights, frame_weights, sequence_cross_entropy
from medreg.losses.generative.divergence import Reduction, gaussian_divergence


class Output(Protocol):
    """What a network says of some frames, see `medreg.models.hearts.base.SequenceOutput`."""

    @property
    def scores(self) -> Tensor:
        """(B, F, C, *S)."""

    @property
    def frames(self) -> Tensor:
        """(F,)."""

    @property
    def mean(self) -> Tensor | None:
        """(B, z)."""

    @property
    def log_variance(self) -> Tensor | None:
        """(B, z)."""

    @property
    def penalty(self) -> Tensor | None:
        """A number."""


@dataclass(frozen=True)
class LossParts:
    """A loss and what it is made of, each a number; 0 where a term is not there.

    Attributes:
        loss: what is minimised.
        ce: cross-entropy, nats a voxel.
        kl: divergence, nats, before its weight.
        penalty: roughness of the motion, before its weight.
    """

    loss: Tensor
    ce: Tensor
    kl: Tensor
    penalty: Tensor


class CHeartLoss(nn.Module):
    """L = CE + β KL + γ roughness (Qiao et al., TMI 2023; released code, train_GenCVAE_Seq.py VAECELoss).

    Args:
        beta: β; 0 for a plain auto-encoder.
        frame_weights: "none" or "systole", see `frame_weights`.
        class_weights: of the classes, background first; None: 1 each.
        kl_reduction: "mean" (released) or "sum" over the latent dimensions.
        beta_warmup_epochs: over which β rises linearly from its first share; 0: none.
        frames_per_step: random frames that a step decodes; None: all.
        displacement_weight: γ, of the roughness of a motion, in voxels.

    Raises:
        ConfigError: numbers that make no sense.
    """

    def __init__(
        self,
        *,
        beta: float,
        frame_weights: FrameWeights,
        class_weights: Sequence[float] | None,
        kl_reduction: Reduction,
        beta_warmup_epochs: int,
        frames_per_step: int | None,
        displacement_weight: float,
    ) -> None:
        super().__init__()
        require_number("loss.beta", beta, least=0)
        require_number("loss.displacement_weight", displacement_weight, least=0)
        require_whole("loss.beta_warmup_epochs", beta_warmup_epochs, 0)
        require_choice("loss.frame_weights", frame_weights, ("none", "systole"))
        require_choice("loss.kl_reduction", kl_reduction, ("mean", "sum"))
        if frames_per_step is not None:
            require_whole("loss.frames_per_step", frames_per_step, 1)
        if class_weights is not None and (min(class_weights) < 0 or max(class_weights) <= 0):
            raise ConfigError(
                f"loss.class_weights={list(class_weights)}: give numbers of 0 or more, one above 0."
            )
        self.beta, self.frame_weights, self.class_weights = beta, frame_weights, class_weights
        self.kl_reduction, self.beta_warmup_epochs = kl_reduction, beta_warmup_epochs
        self.frames_per_step, self.displacement_weight = frames_per_step, displacement_weight

    def beta_at(self, epoch: int) -> float:
        """Return β in an epoch, from 0."""
        return self.beta * min(1.0, (epoch + 1) / max(self.beta_warmup_epochs, 1))

    def draw_frames(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Return the frames of T that a step decodes, in their order; None: all."""
        if self.frames_per_step is None or self.frames_per_step >= count:
            return None
        order = torch.randperm(count, generator=generator, device=generator.device)
        return order[: self.frames_per_step].sort().values.cpu()

    def forward(self, output: Output, shape: Tensor, *, epoch: int | None = None) -> LossParts:
        """Judge the scores of some frames.

        Args:
            output: of the network.
            shape: (B, T, *S) uint8, all frames of the truth.
            epoch: from 0, for the warm-up; None: after it.
        """
        frames, count = output.frames.cpu(), shape.shape[1]
        weights = frame_weights(self.frame_weights, frames, count)
        truth = shape if torch.equal(frames, torch.arange(count)) else shape[:, frames.to(shape.device)]
        ce = sequence_cross_entropy(output.scores, truth, weights=weights, class_weights=self.class_weights)
        nothing = ce.new_zeros(())
        kl = nothing
        if output.mean is not None and output.log_variance is not None:
            kl = gaussian_divergence(output.mean, output.log_variance, reduction=self.kl_reduction)
        penalty = nothing if output.penalty is None else output.penalty.float()
        beta = self.beta if epoch is None else self.beta_at(epoch)
        return LossParts(ce + beta * kl + self.displacement_weight * penalty, ce, kl, penalty)
