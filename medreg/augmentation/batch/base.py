"""What every augmentation of a labelled batch is: images and targets in, other images and targets out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from medreg.augmentation.random_convolution import uniform
from medreg.errors import CompositionError, ConfigError, require_number
from medreg.geometry.precision import at_least_single


class BatchAugmentation(ABC):
    """A random change of labelled training images in which no network takes part; every sample has its own.

    Derive from it and write `change`. All chance comes from the generator: the same state gives the same bits.
    """

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return changed images and what belongs to them; the arguments stay as they are.

        Args:
            image: (N, C, *S) in [0, 1], S of 2 or 3 axes.
            target: (N, L+1, *S) float, shares of the classes, which sum to 1; class 0 is the background.
            generator: source of chance, best on the image's device.

        Returns:
            Images and targets, perhaps more than N, perhaps of another size; computed in at least float32 and in the
            precision of the arguments, whole numbers in float32.

        Raises:
            CompositionError: the target is no target of these images.
        """
        fits = target.ndim == image.ndim and target.shape[2:] == image.shape[2:]
        if image.ndim not in (4, 5) or not fits or len(image) != len(target):
            raise CompositionError(
                f"Images {tuple(image.shape)} and targets {tuple(target.shape)} do not fit; augmentation needs images "
                "(N, C, *S) and targets (N, classes, *S) of the same N and the same 2 or 3 axes."
            )
        new = self.change(at_least_single(image), at_least_single(target), generator=generator)
        return _like(new[0], image), _like(new[1], target)

    @abstractmethod
    def change(self, image: Tensor, target: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The change itself; arguments and results as in a call, and nothing is written into the arguments."""


def _like(new: Tensor, old: Tensor) -> Tensor:
    return new.to(old.dtype) if old.is_floating_point() else new


def numbers_between(
    limits: Sequence[float], shape: Sequence[int], *, generator: torch.Generator, like: Tensor
) -> Tensor:
    """Uniform numbers from [low, high) on the device and in the precision of a tensor."""
    low, high = limits
    return low + (high - low) * uniform(shape, generator).to(like)


def happens(probability: float, count: int, *, generator: torch.Generator, like: Tensor) -> Tensor:
    """(count, 1, …) bool, as many axes as the tensor: whether a thing of that probability happens to a sample."""
    return (uniform((count,), generator) < probability).to(like.device).reshape(-1, *[1] * (like.ndim - 1))


def require_probability(name: str, value: float) -> None:
    """Refuse what is no number between 0 and 1.

    Raises:
        ConfigError: names the option and what to give.
    """
    require_number(name, value, least=0.0)
    if value > 1:
        raise ConfigError(f"{name} is {value!r}; give a probability, from 0 to 1.")


def require_range(name: str, values: Sequence[float], *, above: float | None = None) -> None:
    """Refuse what is no pair of numbers in order.

    Raises:
        ConfigError: names the option and what to give.
    """
    if isinstance(values, str) or not isinstance(values, Sequence) or len(values) != 2:
        raise ConfigError(f"{name} is {values!r}; give two numbers, the lower one first.")
    for value in values:
        require_number(name, value, above=above)
    if values[0] > values[1]:
        raise ConfigError(f"{name} is {list(values)}, which is reversed; give the lower number first.")
