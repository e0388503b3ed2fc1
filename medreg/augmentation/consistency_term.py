"""The loss of consistency under an adversary in a training: its weight, and when it begins."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.attack import Disagreement
from medreg.augmentation.ramp import linear
from medreg.errors import ConfigError
from medreg.losses.segmentation.consistency import Consistency

log = logging.getLogger("medreg")


@dataclass(frozen=True)
class ConsistencyTerm:
    """λ(epoch) · D(prediction, prediction of the transformed image warped back).

    λ = weight · min((epoch − first_epoch + 1) / ramp_epochs, 1). Source: Chen et al. 2022, released experiment script,
    where first_epoch is 0.

    Attributes:
        adversary: chooses the transformations and measures D.
        weight: of D when it has grown.
        ramp_epochs: epochs over which it grows; 0: whole from the start.
        first_epoch: before it the adversary does nothing and costs nothing.
        share: whether the scores of the supervised pass serve as the reference, where they are those that the
            adversary would ask for: without dropout layers, in full precision, and as long as statistics stand still.
            Saves a pass in eleven; the same to the bit. False for networks that draw by other means than layers.

    Raises:
        ConfigError: a negative number.
    """

    adversary: AdvChain
    weight: float
    ramp_epochs: int
    first_epoch: int
    share: bool

    def __post_init__(self) -> None:
        for name in ("weight", "ramp_epochs", "first_epoch"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"augmentation.consistency.{name} is {getattr(self, name)}; it must not be negative."
                )

    def active(self, epoch: int) -> bool:
        """Whether the adversary acts in an epoch (from 0)."""
        return self.weight > 0 and epoch >= self.first_epoch

    def tell_if_late(self, epochs: int | None) -> None:
        """Warn of a training of so many epochs that ends before the adversary begins; None and −1 are no limit."""
        if epochs is not None and 0 <= epochs <= self.first_epoch and self.weight > 0:
            log.warning(
                "augmentation.consistency.first_epoch=%d has the adversary wait for longer than the training lasts "
                "(trainer.max_epochs=%d): it never acts.",
                self.first_epoch,
                epochs,
            )

    def weight_at(self, epoch: int) -> float:
        """Return λ in an epoch (from 0)."""
        return self.weight * linear(epoch - self.first_epoch, self.ramp_epochs) if self.active(epoch) else 0.0

    def takes_scores_of(self, module: nn.Module, images: Tensor) -> bool:
        """Whether scores of a network in its present mode are those that the adversary would ask for itself."""
        draws = any(
            isinstance(part, _DropoutNd) and part.training and part.p > 0 for part in module.modules()
        )
        plain = self.adversary.outer_statistics == "frozen" and self.adversary.scores is None
        return self.share and plain and not draws and not torch.is_autocast_enabled(images.device.type)

    def comparing(self, consistency: Consistency) -> ConsistencyTerm:
        """Return the same term with another D."""
        return replace(self, adversary=replace(self.adversary, consistency=consistency))

    def __call__(
        self,
        network: Callable[[Tensor], Tensor],
        images: Tensor,
        *,
        step: int,
        module: nn.Module,
        labels: Tensor | None = None,
        clean: Tensor | None = None,
    ) -> Disagreement:
        """Let the adversary act on images, and return D without λ.

        Args:
            network: from images to scores (N, L + 1, *S) on their grid.
            images: (N, C, *S).
            step: number from which everything random follows.
            module: whose statistics and dropout are held still meanwhile.
            labels: as the adversary takes them; None: unknown.
            clean: scores of the images, where they are known (`takes_scores_of`).
        """
        return self.adversary.disagreement(
            network, images, labels=labels, step=step, module=module, clean=clean
        )
