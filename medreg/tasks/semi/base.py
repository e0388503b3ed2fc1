"""What every way of learning from images without labels has in common."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medreg.augmentation.training import TrainingAugmentation
from medreg.errors import ConfigError
from medreg.tasks.moment import Moment

log = logging.getLogger("medreg")


@dataclass(frozen=True)
class Unlabelled:
    """What a step says of images without labels.

    Attributes:
        loss: a number, weights within.
        told: name → number, logged as `train/NAME`.
        scores: (N, L + 1, *S) of the images, where they are known; None: not.
    """

    loss: Tensor
    told: Mapping[str, Tensor]
    scores: Tensor | None = None


class SemiSupervision(nn.Module, ABC):
    """A loss on images without labels.

    Args:
        weight: of the loss when it has grown.
        ramp_epochs: epochs over which it grows; 0: it is whole from the start.
        entropy: weight of the mean entropy of the predictions (Grandvalet and Bengio 2004), which is not ramped;
            0: without it.

    Raises:
        ConfigError: a negative number.
    """

    def __init__(self, *, weight: float, ramp_epochs: int, entropy: float) -> None:
        super().__init__()
        numbers = {"weight": weight, "ramp_epochs": ramp_epochs, "entropy": entropy}
        for name, value in numbers.items():
            if value < 0:
                raise ConfigError(f"semi.{name} is {value}; it must not be negative.")
        self.weight, self.ramp_epochs, self.entropy = weight, ramp_epochs, entropy

    def prepare(self, model: nn.Module, augmentation: TrainingAugmentation | None) -> None:
        """Take what the task is made of; called once, before anything is computed.

        Raises:
            CompositionError: they do not fit.
        """

    def tell_if_slow(self, epochs: int | None) -> None:
        """Warn of a training of so many epochs in which the weight never grows fully; None and −1 are no limit."""
        if epochs is not None and 0 < epochs < self.ramp_epochs:
            log.warning(
                "semi.ramp_epochs=%d is longer than the training of %d epochs, so that unlabelled images never count "
                "fully; set semi.ramp_epochs=%d, for example, or a larger trainer.max_epochs.",
                self.ramp_epochs,
                epochs,
                max(epochs // 3, 1),
            )

    def begin(self, model: nn.Module) -> None:
        """Note the weights that training starts from."""

    def after_step(self, model: nn.Module) -> None:
        """Note the weights after a step of the optimiser."""

    def share_of_labelled(self, epoch: int) -> float:
        """Return the factor of the consistency of labelled images in an epoch."""
        return 1.0

    @property
    def evaluated(self) -> str | None:
        """Name of the part whose weights are evaluated instead of those that are trained; None: the trained ones."""
        return None

    @abstractmethod
    def compared(self, image: Tensor, moment: Moment) -> Unlabelled:
        """Return the loss of one batch without that of entropy.

        Args:
            image: (N, C, *S), changed as labelled images are.
            moment: of training.
        """

    def forward(self, image: Tensor, moment: Moment) -> Unlabelled:
        """Return the loss of one batch of images (N, C, *S) without labels."""
        found = self.compared(image, moment)
        if not self.entropy:
            return found
        scores = moment.scores(image) if found.scores is None else found.scores
        entropy = mean_entropy(scores)
        return Unlabelled(found.loss + self.entropy * entropy, {**found.told, "entropy": entropy}, scores)


def mean_entropy(scores: Tensor) -> Tensor:
    """Return the mean entropy of the probabilities that scores (N, L + 1, *S) mean, nats a voxel."""
    logarithms = torch.log_softmax(scores, 1)
    return -(logarithms.exp() * logarithms).sum(1).mean()
