"""A member of a chain: a family of bounded transformations of images, random or chosen by an adversary.

Axes are those of the array, (X, Y) or (X, Y, Z). The released code (cherise215/advchain, ed5cd70) has arrays (H, W)
or (H, W, D) and counts components as `grid_sample` does, last axis first. So component k of ours is component
D − 1 − k of theirs, and angles have the opposite sign.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from medreg.errors import ConfigError

SAME = 1e-8  # two intensities are the same below this difference (release)


class Member(ABC):
    """A family of bounded transformations of images; every sample has parameters φ of its own.

    Tensors are (N, C, *S) with S = (X, Y) or (X, Y, Z); φ is (N, …), its form a matter of the member. Frozen
    dataclasses derive from it: nothing is kept between calls.

    References:
        Chen et al., Enhancing MR image segmentation with realistic adversarial data augmentation, Medical Image
        Analysis 82, 2022.
    """

    geometric: ClassVar[bool] = False
    """Whether voxels move."""

    @abstractmethod
    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Random φ within bounds for each sample of an image (N, C, *S)."""

    @abstractmethod
    def identity(self, image: Tensor) -> Tensor:
        """φ that changes nothing."""

    @abstractmethod
    def apply(self, image: Tensor, parameters: Tensor) -> Tensor:
        """Transformed image T_φ(image), (N, C, *S); differentiable in both."""

    @abstractmethod
    def project(self, parameters: Tensor) -> Tensor:
        """The nearest φ within bounds."""

    def carry(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Masks, labels or scores (N, C, *S) brought into the frame of the transformed image.

        Unlike `apply` it leaves values alone where the member is not geometric, and what comes from outside is 0.
        """
        return values

    def invert(self, values: Tensor, parameters: Tensor) -> Tensor:
        """Scores or masks (N, C, *S) brought back from the frame of the transformed image; 0 from outside."""
        return values

    def ascend(self, parameters: Tensor, gradient: Tensor, *, step: float) -> Tensor:
        """One step along the gradient, φ + step·g/‖g‖₂ for each sample; not projected."""
        return parameters + step * unit(gradient)

    def nearby(self, parameters: Tensor) -> Tensor:
        """φ close to the identity in the direction of the given one: where a power iteration takes its gradient."""
        return parameters

    def probe(self, parameters: Tensor, gradient: Tensor) -> Tensor:
        """φ after a power iteration: the direction of the gradient at full length."""
        return unit(gradient)


def unit(values: Tensor) -> Tensor:
    """Each sample (N, …) divided by its L2 norm, however small that is; zeros stay zeros."""
    flat = values.reshape(len(values), -1)
    # squares of tiny gradients would underflow
    largest = flat.abs().amax(1, keepdim=True)
    scaled = flat / torch.where(largest > 0, largest, 1.0)
    norm = scaled.norm(dim=1, keepdim=True)
    return (scaled / torch.where(norm > 0, norm, 1.0)).reshape(values.shape)


def within_ball(values: Tensor, radius: float) -> Tensor:
    """Each sample (N, …) shortened to the L2 norm `radius` if it is longer."""
    norm = values.reshape(len(values), -1).norm(dim=1).reshape(-1, *[1] * (values.ndim - 1))
    return torch.where(norm > radius, unit(values) * radius, values)


def like(values: Tensor, image: Tensor) -> Tensor:
    """Values on the device of an image, in its precision but at least in float32."""
    return values.to(image.device, torch.promote_types(image.dtype, torch.float32))


def lowest(image: Tensor) -> Tensor:
    """Smallest intensity of each sample and channel, (N, C, 1, …), a constant."""
    return image.detach().flatten(2).amin(2).reshape(*image.shape[:2], *[1] * (image.ndim - 2))


def untouched(image: Tensor, changed: Tensor, ignore: Sequence[float], background: bool) -> Tensor:
    """The changed image with the old values wherever the old one has an intensity that is to be ignored.

    Args:
        image: (N, C, *S).
        changed: (N, C, *S).
        ignore: intensities.
        background: ignore the minimum of each sample and channel, too.

    Returns:
        (N, C, *S).
    """
    kept = [(image.detach() - value).abs() < SAME for value in ignore]
    if background:
        kept.append((image.detach() - lowest(image)).abs() < SAME)
    for mask in kept:
        changed = torch.where(mask, image.to(changed.dtype), changed)
    return changed


def as_floats(name: str, values: Sequence[float] | None) -> tuple[float, ...]:
    """A list of intensities as numbers.

    Raises:
        ConfigError: it is no list of finite numbers.
    """
    values = () if values is None else values
    numbers = isinstance(values, Sequence) and not isinstance(values, str)
    if not numbers or not all(_finite(value) for value in values):
        raise ConfigError(f"{name} is {values!r}; give a list of intensities such as [-1.0], or [] for none.")
    return tuple(float(value) for value in values)


def as_axes(name: str, value: Any, *, whole: bool = False, low: float = 0.0) -> float | tuple[float, ...]:
    """A number, or one number for each axis, as a tuple.

    Raises:
        ConfigError: it is neither, or below `low`; names the option and what to give.
    """
    values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
    fit = values and all(_finite(one) and one >= low for one in values)
    if not fit or (whole and any(int(one) != one for one in values)):
        kind = "whole number" if whole else "number"
        raise ConfigError(
            f"{name} is {value!r}; give a {kind} of at least {low:g}, or a list of one for each axis."
        )
    return values if isinstance(value, Sequence) else value


def per_axis(name: str, value: float | Sequence[float], count: int) -> tuple[float, ...]:
    """The number of each of `count` axes.

    Raises:
        ConfigError: a list for another number of axes.
    """
    values = tuple(value) if isinstance(value, Sequence) else (value,) * count
    if len(values) != count:
        raise ConfigError(
            f"{name} is {list(values)}, but the images need {count} of them; give one number for all axes, or {count}."
        )
    return values


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
