"""The posterior of a registration: −ln p(z | F, M) of the latent field of a transformation."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from medreg.errors import ConfigError, DataError, require_choice
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.transformation import Deformation, Transformation
from medreg.geometry.warp import Padding
from medreg.inference.level import LevelImages
from medreg.inference.objective import EnergyFunction, repeated, total_deformation
from medreg.losses.energy import aligned
from medreg.losses.likelihood.base import Likelihood, require_contrast
from medreg.losses.prior.base import Prior

On = Literal["field", "parameters"]


@dataclass(frozen=True)
class PosteriorValue:
    """One evaluation.

    Attributes:
        data: (S,) −α Σ_x ln p(F | M∘φ).
        prior: (S,) −ln p(φ).
        warped: (S, C, *grid) moving image on the fixed grid.
    """

    data: Tensor
    prior: Tensor
    warped: Tensor

    @property
    def energies(self) -> Tensor:
        """U = data + prior of every sample, (S,), float64 where the device has it."""
        return self.data + self.prior


def check_settings(jitter: float, padding: str, prior_on: str) -> None:
    """Refuse settings of a posterior that make no sense.

    Raises:
        ConfigError: names the option.
    """
    require_choice("The padding of a posterior (model.padding)", padding, get_args(Padding))
    require_choice("What the prior is on (model.prior_on)", prior_on, get_args(On))
    if not 0 <= jitter < float("inf"):
        raise ConfigError(f"model.jitter is {jitter}; it is a length in voxels, 0 or more.")


class PosteriorEnergy(EnergyFunction):
    """U(z) = −α Σ_x ln p(F | M ∘ φ_θ) − ln p(θ), θ = A z, of the S = chains × pairs samples of a batch.

    A is the root of a Sobolev filter on the grid of θ, or nothing. Chain c of P pairs is z[c·P : (c + 1)·P]. While
    U is evaluated, φ carries uniform noise in each voxel, which takes away the preference of linear interpolation
    for the points of the grid; `deformation` has none. The share α of virtual decimation counts as a constant.

    Args:
        likelihood: p(F | M ∘ φ), a sum over voxels.
        prior: p(θ).
        transformation: from θ to displacement.
        images: the P pairs, see `medreg.inference.level.full_images`.
        smoothing: A, or None.
        jitter: largest noise of φ, voxels; 0 = none.
        padding: intensity beyond the border of the moving image, "border" or "zeros".
        prior_on: what the prior sees: the dense "field" of the transformation (its velocity or displacement), or its
            "parameters", such as the control points of a spline, whose derivatives then are differences of
            neighbouring control points.
        generator: of the noise, on the device of the images; None makes one of the seed 0.

    Attributes:
        images: the pairs, repeated for the chains.
        pairs: P.
        adaptive: whether each evaluation also steps the numbers of likelihood and prior (`fitting`).

    Raises:
        ConfigError: an impossible setting.
        DataError: an empty mask, or an image without contrast inside it.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        prior: Prior,
        transformation: Transformation,
        images: LevelImages,
        *,
        smoothing: SobolevFilter | None = None,
        jitter: float = 0.1,
        padding: Padding = "border",
        prior_on: On = "field",
        generator: torch.Generator | None = None,
    ) -> None:
        check_settings(jitter, padding, prior_on)
        require_contrast(images.fixed, images.fixed_mask, "fixed")
        require_contrast(images.moving, images.moving_mask, "moving")
        self.likelihood, self.prior, self.transformation = likelihood, prior, transformation
        self.images, self.smoothing, self.padding, self.prior_on = images, smoothing, padding, prior_on
        self.pairs, self.jitter, self.adaptive = len(images.fixed), float(jitter), False
        self.generator = (
            torch.Generator(images.fixed.device).manual_seed(0) if generator is None else generator
        )
        self._beginning: Tensor | None = None
        self._fixed, self._fixed_mask, self._spacing_mm = images.fixed, images.fixed_mask, images.spacing_mm
        likelihood.prepare(self.pairs, images.fixed)
        prior.prepare(self.pairs, math.prod(self.shape[1:]), images.fixed)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of z, (S, *parameter_shape(grid))."""
        return (len(self.images.fixed), *self.transformation.parameter_shape(self.images.shape))

    def identity(self) -> Tensor:
        """The z of the identity map, or of the initial displacement where there is one."""
        fixed = self.images.fixed
        return self.transformation.identity(
            len(fixed), self.images.shape, dtype=fixed.dtype, device=fixed.device
        )

    def begin_at(self, theta: Tensor) -> None:
        """Let fits begin at parameters θ (S, *parameter_shape) in place of the identity; U stays what it is."""
        self._beginning = self.latent(theta).detach()

    def beginning(self) -> Tensor:
        """The z at which a fit begins, of the size of z: the identity, unless `begin_at` said another."""
        return self.identity() if self._beginning is None else self._beginning

    def parameters(self, latent: Tensor) -> Tensor:
        """θ = A z, of the size of z."""
        if self.smoothing is None:
            return latent
        theta: Tensor = self.smoothing(latent)
        return theta

    def latent(self, theta: Tensor) -> Tensor:
        """The z of parameters θ, for starting points."""
        return theta if self.smoothing is None else self.smoothing.latent(theta)

    def deformation(self, latent: Tensor) -> Deformation:
        """The transformation of z after the initial displacement, without noise."""
        return self._deformation(self.parameters(latent))

    def start(self, latent: Tensor) -> None:
        """Give the numbers of the likelihood their initial values, from the residuals at z.

        The first evaluation does so by itself where this was not called.
        """
        with torch.no_grad():
            warped, mask = self._warped(self.deformation(latent).displacement)
        self.likelihood.start(warped, self._fixed, mask)

    def __call__(self, theta: Tensor) -> Tensor:
        """U of every sample, (S,), float64 where the device has it, of z (S, *parameter_shape)."""
        return self.evaluate(theta).energies

    def parts(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """The term of the data and that of the prior, (S,) each."""
        value = self.evaluate(latent)
        return value.data, value.prior

    def evaluate(self, latent: Tensor) -> PosteriorValue:
        """Both terms and the warped image.

        Args:
            latent: z (S, *parameter_shape(grid)).

        Raises:
            DataError: z of another size.
        """
        if latent.shape != self.shape:
            raise DataError(
                f"z has shape {tuple(latent.shape)} but this posterior takes {self.shape}; start from identity(), "
                "and use chains(n) for several chains of one pair."
            )
        theta = self.parameters(latent)
        deformation = self._deformation(theta)
        warped, mask = self._warped(self._noisy(deformation.displacement))
        data = self.likelihood(warped, self._fixed, mask=mask, adapt=self.adaptive)
        seen = deformation if self.prior_on == "field" else Deformation(theta, theta)
        prior = self.prior(seen, spacing_mm=self._spacing_mm)
        if self.adaptive:
            self.prior.adapt()
        return PosteriorValue(data, prior, warped)

    def chains(self, count: int) -> PosteriorEnergy:
        """The posterior of `count` chains of every pair in one batch, with the same likelihood, prior and noise.

        The images of one pair are shared by its chains, not copied; those of several pairs are repeated.
        """
        other = copy.copy(self)
        other.images = LevelImages(
            **{name: repeated(each, count) for name, each in vars(self.images).items()}
        )
        other._spacing_mm = other.images.spacing_mm
        return other

    def state(self) -> dict[str, Any]:
        """Return everything but z that the next evaluations depend on."""
        return {
            "likelihood": self.likelihood.state(),
            "prior": self.prior.state(),
            "generator": self.generator.get_state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state, bit by bit as if nothing had happened (on a CPU)."""
        self.likelihood.load_state(state["likelihood"])
        self.prior.load_state(state["prior"])
        self.generator.set_state(state["generator"])

    def _deformation(self, theta: Tensor) -> Deformation:
        return total_deformation(self.transformation(theta, self.images.shape), self.images.initial)

    def _noisy(self, displacement: Tensor) -> Tensor:
        if not self.jitter:
            return displacement
        # Four values of 16 bits from each draw: drawing is what the noise costs, and 3e-6 voxels is fine enough.
        number = displacement.numel()
        bits = torch.empty(-(-number // 4), dtype=torch.int64, device=displacement.device)
        bits.random_(-(2**63), None, generator=self.generator)
        noise = bits.view(torch.int16)[:number].view(displacement.shape)
        return torch.add(displacement, noise, alpha=self.jitter / 2**15)

    def _warped(self, displacement: Tensor) -> tuple[Tensor, Tensor | None]:
        """The moving image on the fixed grid, and the mask; the fixed mask as it was given where it is the whole."""
        warped, mask = aligned(
            self.images.moving,
            displacement,
            fixed_mask=self.images.fixed_mask,
            moving_mask=self.images.moving_mask,
            padding=self.padding,
        )
        return warped, self._fixed_mask if mask is self.images.fixed_mask else mask
