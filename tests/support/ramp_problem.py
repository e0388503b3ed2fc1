"""A registration problem whose posterior is known in closed form: a ramp, moved by a displacement, in Gaussian noise.

With M(x) = g·x₀ and φ = id + u e₀ the warped image is linear in u, so that under a Gaussian likelihood of variance s²
and the prior ½λ uᵀLu the posterior of u is the normal with precision (g²/s²) I + λL.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from medreg.geometry.dense import Dense
from medreg.geometry.transformation import Deformation
from medreg.inference.level import full_images
from medreg.inference.posterior import PosteriorEnergy
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate

MARGIN = 8  # voxels around the grid of u in which the ramp goes on: displacements stay below it


@dataclass(frozen=True)
class Ramp:
    """The problem and its answer; n voxels.

    Attributes:
        energy: U(u), u (1, 1, *shape) in float64.
        precision: (n, n) of the posterior of u.flatten().
        mean: (n,) of the posterior.
        truth: (n,) displacement that the fixed image was made with, drawn from the prior.
    """

    energy: PosteriorEnergy
    precision: torch.Tensor
    mean: torch.Tensor
    truth: torch.Tensor

    @property
    def covariance(self):
        """Of the posterior, (n, n)."""
        return torch.linalg.inv(self.precision)


class AlongFirstAxis(Dense):
    """Displacement u (B, 1, *inner) along the first axis of the voxels inside the margin."""

    def parameter_shape(self, shape):
        return (1, *(size - 2 * MARGIN for size in shape))

    def forward(self, theta, shape):
        field = torch.cat([theta, *[torch.zeros_like(theta)] * (len(shape) - 1)], 1)
        return Deformation(displacement=F.pad(field, [MARGIN] * 2 * len(shape)), regularised=field)


class Ridged(Diffusion):
    """Squared first derivatives and a share of the squared field, which makes the prior proper."""

    def __init__(self, ridge):
        super().__init__(weight=1.0, units="voxel")
        self.ridge = ridge

    def density(self, field, *, spacing_mm):
        return super().density(field, spacing_mm=spacing_mm) + self.ridge * field.square().sum(
            1, keepdim=True
        )

    def stencil(self, field, spacing):
        return None


def laplacian(shape):
    """L with uᵀLu = the sum of squared forward differences of u on a grid, (n, n)."""
    total = 0.0
    for axis, size in enumerate(shape):
        differences = torch.eye(size, dtype=torch.float64).diff(dim=0)
        product = torch.ones(1, 1, dtype=torch.float64)
        for other, extent in enumerate(shape):
            factor = differences.T @ differences if other == axis else torch.eye(extent, dtype=torch.float64)
            product = torch.kron(product, factor)
        total = total + product
    return total


def ramp_problem(shape=(6, 5), *, slope=0.5, noise=0.2, weight=4.0, ridge=0.1, seed=0, smoothing=None):
    """A ramp, a truth drawn from the prior, and noise drawn from the likelihood.

    Args:
        shape: of the grid of u, 2-D or 3-D.
        slope: g, intensity a voxel.
        noise: s, intensity.
        weight: λ.
        ridge: share of the squared field in the prior, L + ridge·I; 0 leaves the mean of the truth at zero.
        seed: of truth and noise.
        smoothing: Sobolev filter of the energy; the closed form is of θ, whatever it is.
    """
    generator = torch.Generator().manual_seed(seed)
    prior = weight * (laplacian(shape) + ridge * torch.eye(torch.Size(shape).numel(), dtype=torch.float64))
    values, vectors = torch.linalg.eigh(prior)
    free = values > 1e-9
    draws = torch.randn(len(values), dtype=torch.float64, generator=generator)
    truth = vectors[:, free] @ (draws[free] / values[free].sqrt())
    assert truth.abs().max() < MARGIN - 1
    observed = slope * truth + noise * torch.randn(len(truth), dtype=torch.float64, generator=generator)
    precision = slope**2 / noise**2 * torch.eye(len(truth), dtype=torch.float64) + prior
    mean = torch.linalg.solve(precision, slope / noise**2 * observed)

    whole = [size + 2 * MARGIN for size in shape]
    line = slope * torch.arange(whole[0], dtype=torch.float64)
    moving = line.view(-1, *[1] * (len(shape) - 1)).expand(whole)
    pad = [MARGIN] * 2 * len(shape)
    fixed = moving + F.pad(observed.view(shape), pad)
    energy = PosteriorEnergy(
        Gaussian(residual=Difference(), sigma=noise, rate=Rate(0.0), decimation=None),
        Fixed(regulariser=Ridged(ridge), weight=weight),
        AlongFirstAxis(),
        full_images(
            fixed[None, None],
            moving[None, None],
            fixed_mask=F.pad(torch.ones(shape, dtype=torch.float64), pad)[None, None],
        ),
        smoothing=smoothing,
        jitter=0.0,
    )
    return Ramp(energy, precision, mean, truth)
