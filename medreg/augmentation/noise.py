"""Noise of bounded energy: x + δ, with as many parameters as voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from medreg.augmentation.member import Member, as_floats, like, unit, untouched, within_ball
from medreg.augmentation.random_convolution import normal
from medreg.errors import require_choice, require_number

Form = Literal["ball", "sphere"]


@dataclass(frozen=True, kw_only=True)
class Noise(Member):
    """Additive noise whose L2 norm over channels and voxels is bounded by ε for each sample.

    The root mean square change of a voxel is ε/√(C·|S|): 0.0052 at 192² for ε = 1 and images in [0, 1].

    Attributes:
        epsilon: ε, intensities.
        form: "ball": φ is the noise itself, ‖φ‖₂ ≤ ε (code of the paper). "sphere": φ is its direction, ‖φ‖₂ = 1, and
            the noise εφ (later release); every projection makes it as strong as it may be.
        ignore: intensities that stay as they are.
        ignore_background: whether the smallest intensity of an image stays as it is.
        xi: length of the noise at which a power iteration takes its gradient, intensities.
    """

    epsilon: float
    form: Form
    ignore: Sequence[float] = ()
    ignore_background: bool = False
    xi: float

    def __post_init__(self) -> None:
        require_number("noise.epsilon", self.epsilon, least=0)
        require_number("noise.xi", self.xi, above=0)
        require_choice("noise.form", self.form, ("ball", "sphere"))
        object.__setattr__(self, "ignore", as_floats("noise.ignore", self.ignore))

    @classmethod
    def paper(cls, ndim: int = 2, **changes: Any) -> Noise:
        """The setting of the experiments of Chen et al. 2022."""
        return replace(cls(epsilon=1.0, form="ball", xi=1e-6), **changes)

    @classmethod
    def release(cls, ndim: int = 2, **changes: Any) -> Noise:
        """The setting of the released examples (ed5cd70)."""
        return replace(cls(epsilon=1.0, form="sphere", xi=1e-6), **changes)

    def draw(self, image: Tensor, *, generator: torch.Generator) -> Tensor:
        """A direction that is uniform on the sphere, at full length; (N, C, *S)."""
        return self._scale(unit(like(normal(image.shape, generator), image)))

    def identity(self, image: Tensor) -> Tensor:
        """Zeros (N, C, *S)."""
        return like(torch.zeros_like(image), image)

    def apply(self, image: Tensor, parameters: Tensor) -> Tensor:
        """The sum x + δ, except where intensities are ignored."""
        noise = parameters if self.form == "ball" else self.epsilon * parameters
        return untouched(image, image + noise, self.ignore, self.ignore_background)

    def project(self, parameters: Tensor) -> Tensor:
        """Onto the ball or the sphere; zeros stay zeros."""
        return within_ball(parameters, self.epsilon) if self.form == "ball" else unit(parameters)

    def nearby(self, parameters: Tensor) -> Tensor:
        """Noise of length ξ."""
        length = self.xi if self.form == "ball" else self.xi / (self.epsilon or 1.0)
        return length * unit(parameters)

    def probe(self, parameters: Tensor, gradient: Tensor) -> Tensor:
        """The direction of the gradient at length ε (the older release: length 1 whatever ε is)."""
        return self._scale(unit(gradient))

    def _scale(self, direction: Tensor) -> Tensor:
        return self.epsilon * direction if self.form == "ball" else direction
