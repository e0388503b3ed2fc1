"""Models whose posterior is known exactly: translations with a given mean and standard deviation, told or returned."""

from __future__ import annotations

import torch

from medreg.inference.registration import Registration
from medreg.inference.sampling.draw import Draw
from medreg.models.base import RegistrationModel


def standard(count, axes, seed=0):
    """(count, axes) numbers whose mean is 0 and whose covariance, with count − 1, is the identity, exactly."""
    drawn = torch.randn(count, axes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drawn = drawn - drawn.mean(0)
    root = torch.linalg.cholesky(drawn.T @ drawn / (count - 1))
    return torch.linalg.solve_triangular(root, drawn.T, upper=False).T


class Translations(RegistrationModel):
    """u(x) = mean + sd·ξ, the same everywhere; K samples in C chains, ξ standardised over all of them.

    Args:
        mean: voxels along every axis.
        sd: voxels along every axis.
        samples: K of every chain.
        chains: C.
        seed: of ξ.
        broken: number of the chain whose second half is NaN; None for none.
    """

    trainable = False

    def __init__(self, mean, sd, *, samples=25, chains=1, seed=0, broken=None):
        super().__init__()
        self.mean, self.sd, self.broken = (
            torch.tensor(list(mean), dtype=torch.float32),
            torch.tensor(list(sd), dtype=torch.float32),
            broken,
        )
        self.draws = standard(samples * chains, len(self.mean), seed).float().view(samples, chains, -1)

    def field(self, vector, fixed):
        """(D,) voxels as a displacement of a batch."""
        shape = (len(fixed), len(vector), *fixed.shape[2:])
        return vector.view(1, -1, *[1] * (fixed.ndim - 2)).expand(shape).contiguous()

    def answer(self, fixed, samples=None):
        """The mean as the registration."""
        mean = self.field(self.mean, fixed)
        return Registration(displacement=mean, regularised=mean, parameters=mean, samples=samples)

    def drawn(self, fixed):
        """Yield (C·B, D, *S) for every number of a sample."""
        for number, chains in enumerate(self.draws):
            parts = [self.field(self.mean + self.sd * xi, fixed) for xi in chains]
            if self.broken is not None and number >= len(self.draws) // 2:
                parts[self.broken] = parts[self.broken] * float("nan")
            yield torch.cat(parts)


class ToldTranslations(Translations):
    """Samples are told to listeners: as draws of chains with an energy where there are several chains."""

    def forward(
        self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None, initial=None, listeners=()
    ) -> Registration:
        for number, displacement in enumerate(self.drawn(fixed)):
            slots = len(displacement)
            draw = Draw(number, displacement, torch.ones(slots, dtype=torch.bool), torch.randn(slots))
            for listener in listeners:
                listener(Draw.independent(displacement, number) if self.draws.shape[1] == 1 else draw)
        return self.answer(fixed)


class ReturnedTranslations(Translations):
    """Samples are returned, (K, B, D, *S)."""

    def forward(self, fixed, moving, *, spacing_mm=None, fixed_mask=None, moving_mask=None) -> Registration:
        return self.answer(fixed, torch.stack(list(self.drawn(fixed))))
