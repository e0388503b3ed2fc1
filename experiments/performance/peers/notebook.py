"""The problem of the released engine's notebook: a random normal of eight dimensions, and how near a fit has come."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# The notebook examples/gaussian_fit.ipynb of llefolgo/dlvi (2301a04)
DIM, RANK, MODE = 8, 8, "unscented"
LEARNING_RATE, BETAS, STEPS = 0.1, (0.85, 0.85), 1000


@dataclass(frozen=True)
class NormalTarget:
    """N(mean, U S² Uᵀ).

    Attributes:
        mean: (D,).
        root: U S⁻¹ (D, D), so that the precision is root rootᵀ.
    """

    mean: Tensor
    root: Tensor

    @classmethod
    def random(cls, *, seed: int, dim: int = DIM) -> NormalTarget:
        """U of a normal matrix, S = exp(N(0, 1)), mean N(0, I); single precision as the notebook's."""
        generator = torch.Generator().manual_seed(seed)
        axes = torch.linalg.svd(torch.randn(dim, dim, generator=generator)).U
        scales = torch.randn(dim, generator=generator).exp()
        return cls(torch.randn(dim, generator=generator), axes / scales)

    @property
    def covariance(self) -> Tensor:
        """(D, D), double precision."""
        root = self.root.double()
        return torch.linalg.inv(root @ root.T)

    def energy(self, x: Tensor) -> Tensor:
        """½ (x − μ)ᵀ Σ⁻¹ (x − μ) of vectors (…, D)."""
        return 0.5 * ((x - self.mean) @ self.root).square().sum(-1)


def divergence(target: NormalTarget, mean: Tensor, covariance: Tensor) -> float:
    """KL(target ‖ N(mean, covariance)), the direction that the notebook prints, nats."""
    truth, precision = target.covariance, torch.linalg.inv(covariance.double())
    apart = mean.double() - target.mean.double()
    trace = torch.trace(precision @ truth) - len(apart)
    volume = torch.logdet(covariance.double()) - torch.logdet(truth)
    return float(0.5 * (trace + apart @ precision @ apart + volume))
