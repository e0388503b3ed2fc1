"""From the gradient of an energy to the direction of an update whose length is about one voxel."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from medreg.errors import ConfigError

Rule = Callable[
    [Tensor], Tensor
]  # gradient (B, D, *S) → direction of ascent, same shape, about one voxel long


class Direction(ABC):
    """How gradients, whose size depends on contrast and voxel count, become lengths in voxels."""

    @abstractmethod
    def begin(self, like: Tensor) -> Rule:
        """A rule without memory of earlier gradients, for parameters (B, ...) such as these."""


class Adaptive(Direction):
    """Moments of Adam (Kingma & Ba, ICLR 2015) with a damping relative to the gradient of the sample.

        d = m̂ / (√v̂ + damping · rms(√v̂))

    Plain Adam moves voxels without information as far as those with a strong gradient; damping leaves them
    where they are. The rms is taken over each sample, so that samples of a batch do not see one another.

    Args:
        betas: decay of the two moments.
        damping: 0 = plain Adam; the larger, the nearer to the gradient with momentum.
    """

    def __init__(self, *, betas: tuple[float, float], damping: float) -> None:
        self.betas = (float(betas[0]), float(betas[1]))
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"minimiser.betas is {list(betas)}; each must be at least 0 and below 1.")
        if not damping >= 0:
            raise ConfigError(f"minimiser.damping is {damping}; it must be 0 or more.")
        self.damping = damping

    def begin(self, like: Tensor) -> Rule:
        """Moments of zero."""
        return _Moments(self.betas, self.damping, like)


class Longest(Direction):
    """The gradient divided by its greatest length in each sample (Greedy's and ANTs' rule), with momentum.

    Args:
        momentum: decay of the running mean of gradients; 0 takes the last gradient alone.
    """

    def __init__(self, *, momentum: float) -> None:
        self.momentum = momentum

    def begin(self, like: Tensor) -> Rule:
        """A running mean of zero."""
        mean = torch.zeros_like(like)

        def direction(gradient: Tensor) -> Tensor:
            mean.lerp_(gradient, 1 - self.momentum)
            return mean / (longest(mean) + torch.finfo(mean.dtype).tiny)

        return direction


class _Moments:
    """Running means of a gradient and its square."""

    def __init__(self, betas: tuple[float, float], damping: float, like: Tensor) -> None:
        self.betas, self.damping = betas, damping
        self.mean, self.square, self.count = torch.zeros_like(like), torch.zeros_like(like), 0

    def __call__(self, gradient: Tensor) -> Tensor:
        one, two = self.betas
        self.count += 1
        self.mean.lerp_(gradient, 1 - one)
        self.square.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        size = (self.square / (1 - two**self.count)).sqrt_()
        floor = self.damping * root_mean_square(size) + torch.finfo(size.dtype).tiny
        return self.mean / size.add_(floor).mul_(1 - one**self.count)


def root_mean_square(values: Tensor) -> Tensor:
    """Root mean square of each sample, (B, 1, ...)."""
    norm = torch.linalg.vector_norm(values.flatten(1), dim=1) / max(values[0].numel(), 1) ** 0.5
    return norm.reshape(-1, *[1] * (values.ndim - 1))


def longest(field: Tensor) -> Tensor:
    """Greatest length of the vectors of each sample of (B, D, *S), (B, 1, ...)."""
    length = field.square().sum(1).flatten(1).amax(1).sqrt()
    return length.reshape(-1, *[1] * (field.ndim - 1))
