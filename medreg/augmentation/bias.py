"""Multiplicative bias fields: the slowly varying gain of a receiver coil, as a cubic B-spline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from medreg.augmentation.axis_matrices import ControlAxis, control_axis, spline_matrix
from medreg.augmentation.member import (
    Member,
    as_axes,
    as_floats,
    like,
    lowest,
    per_axis,
    unit,
    untouched,
)
from medreg.augmentation.random_convolution import normal, uniform
from medreg.errors import ConfigError, require_choice, require_number
from medreg.geometry.separable import apply_per_axis

Space = Literal["log", "linear"]
Start = Literal["uniform", "gaussian", "identity"]
Projection = Literal["box", "sphere"]
Shift = Literal["negative", "always", "never"]

_GAUSSIAN_SD = 0.5  # of the start "gaussian" (release)
_LEAST_SPACING = (
    4  # samples between control points below which an axis is downscaled less (ours, thin volumes)
)


@dataclass(frozen=True, kw_only=True)
class BiasField(Member):
    """One smooth field b for all channels of a sample, x·b with 1 − ε ≤ b ≤ 1 + ε.

    φ holds the control points c (N, 1, *K) of u, and b = exp(u) or 1 + u. Spline weights are non-negative and sum to
    at most 1, so bounds on c are bounds on b, and the clip of b only matters between steps of an adversary.

    Attributes:
        epsilon: ε, largest relative change, 0 ≤ ε < 1.
        spacing: distance of control points, share of the image's size along each axis: one number or one an axis.
        downscale: the spline is evaluated at every so many voxels, linear in between; one number or one an axis.
        space: "log": b = exp(u), the one used. "linear": b = 1 + u.
        start: of `draw`: "uniform" in the bounds, "gaussian" N(0, 0.5²) brought into them (the release lets them lie
            outside), or "identity".
        projection: "box": c within the bounds. "sphere": ‖c‖₂ = 1, which the code of 2021 did (870cd2f): a defect, b is
            then bounded by nothing.
        clip: whether b is clipped to its bounds; the code of 2021 did not.
        shift: an image is shifted to intensities of 0 and more before it is multiplied, and back: where it has
            "negative" ones, "always" (by its minimum), or "never" (release).
        ignore: intensities that stay as they are.
        ignore_background: whether the smallest intensity of an image stays as it is.
        xi: length ‖c‖₂ at which a power iteration takes its gradient.

    References:
        Chen et al., Realistic adversarial data augmentation for MR image segmentation, MICCAI 2020.
    """

    epsilon: float
    spacing: float | Sequence[float]
    downscale: int | Sequence[int]
    space: Space = "log"
    start: Start = "uniform"
    projection: Projection = "box"
    clip: bool = True
    shift: Shift = "negative"
    ignore: Sequence[float] = ()
    ignore_background: bool = False
    xi: float

    def __post_init__(self) -> None:
        require_number("bias.epsilon", self.epsilon, least=0)
        if self.epsilon >= 1:
            raise ConfigError(
                f"bias.epsilon is {self.epsilon}; a gain of 1 − ε must stay positive, give 0 ≤ ε < 1."
            )
        object.__setattr__(self, "spacing", as_axes("bias.spacing", self.spacing, low=1e-3))
        factors = as_axes("bias.downscale", self.downscale, whole=True, low=1)
        object.__setattr__(self, "downscale", factors)
        require_choice("bias.space", self.space, ("log", "linear"))
        require_choice("bias.start", self.start, ("uniform", "gaussian", "identity"))
        require_choice("bias.projection", self.projection, ("box", "sphere"))
        require_choice("bias.shift", self.shift, ("negative", "always", "never"))
        require_number("bias.xi", self.xi, above=0)
        object.__setattr__(self, "ignore", as_floats("bias.ignore", self.ignore))

    @classmethod
    def paper(cls, ndim: int = 2, **changes: Any) -> BiasField:
        """Magnitude 0.3, control points half an image apart (Chen et al. 2022; its experiment script: a quarter)."""
        return replace(cls(epsilon=0.3, spacing=0.5, downscale=2 if ndim == 2 else 4, xi=1e-6), **changes)

    @classmethod
    def release(cls, ndim: int = 2, **changes: Any) -> BiasField:
        """The setting of the released examples (ed5cd70), the same numbers."""
        return cls.paper(ndim, **changes)

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest control point."""
        if self.space == "linear":
            return -self.epsilon, self.epsilon
        return math.log1p(-self.epsilon), math.log1p(self.epsilon)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """Random control points (N, 1, *K) within the bounds."""
        shape = (len(image), 1, *(axis.points for axis in self.axes(image.shape[2:])))
        if self.start == "identity":
            return self.identity(image)
        low, high = self.bounds
        if self.start == "gaussian":
            return like((_GAUSSIAN_SD * normal(shape, generator)).clamp(low, high), image)
        return like(low + (high - low) * uniform(shape, generator), image)

    def identity(self, image: Tensor) -> Tensor:
        """Zeros (N, 1, *K)."""
        shape = (len(image), 1, *(axis.points for axis in self.axes(image.shape[2:])))
        return like(image.new_zeros(shape), image)

    def apply(self, image: Tensor, parameters: Tensor) -> Tensor:
        """The product x·b, shifted and with ignored intensities as the options say."""
        field = self.field(parameters, image.shape[2:])
        if self.clip:
            field = field.clamp(1 - self.epsilon, 1 + self.epsilon)
        if self.shift == "never":
            changed = image * field
        else:
            floor = lowest(image) if self.shift == "always" else lowest(image).clamp(max=0)
            changed = (image - floor) * field + floor
        return untouched(image, changed, self.ignore, self.ignore_background)

    def project(self, parameters: Tensor) -> Tensor:
        """Into the box, or onto the sphere."""
        return unit(parameters) if self.projection == "sphere" else parameters.clamp(*self.bounds)

    def nearby(self, parameters: Tensor) -> Tensor:
        """Control points of length ξ."""
        return self.xi * unit(parameters)

    def field(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """The field b (N, 1, *S) before it is clipped.

        Args:
            parameters: c (N, 1, *K).
            shape: spatial size S of the image.

        Raises:
            ValueError: control points of another image size.
        """
        log = self.exponent(parameters, shape)
        return log.exp() if self.space == "log" else 1 + log

    def exponent(self, parameters: Tensor, shape: Sequence[int]) -> Tensor:
        """The spline u (N, 1, *S) of control points c (N, 1, *K)."""
        axes = self.axes(shape)
        counts = tuple(axis.points for axis in axes)
        if tuple(parameters.shape[2:]) != counts:
            raise ValueError(
                f"images of size {tuple(shape)} have {counts} control points, got {tuple(parameters.shape[2:])}"
            )
        return apply_per_axis(parameters, axes, spline_matrix)

    def axes(self, shape: Sequence[int]) -> list[ControlAxis]:
        """Where the control points of an image of size S lie."""
        shares = per_axis("bias.spacing", self.spacing, len(shape))
        factors = per_axis("bias.downscale", self.downscale, len(shape))
        axes = []
        for size, share, factor in zip(shape, shares, factors, strict=True):
            spacing = max(1, math.floor(size * share + 1e-6))
            axes.append(control_axis(size, spacing, max(1, min(int(factor), spacing // _LEAST_SPACING))))
        return axes
