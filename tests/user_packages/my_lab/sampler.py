"""A sampler: Langevin dynamics on the energy of a pair."""

from __future__ import annotations

import math

import torch

from medreg.geometry.transformation import Transformation
from medreg.inference.level import LevelImages
from medreg.inference.objective import PairEnergy
from medreg.inference.progress import Callback
from medreg.inference.registration import Registration
from medreg.losses.energy import Energy
from medreg.losses.regularisation.base import Regulariser
from medreg.losses.similarity.base import Similarity
from medreg.models.solver import Solver
from medreg.tasks.registration import RegistrationTask


class Langevin(Solver):
    """Draw deformations from exp(−E), the answer is their mean.

    Args:
        similarity: D, with its weight.
        regularisation: R, with its weight λ.
        transformation: from θ to displacement.
        chains: of every pair.
        steps: of every chain.
        burn_in: steps before the first draw that is kept.
        rate: length of a step, times the gradient of the energy summed over voxels.
        temperature: 0 descends, 1 samples.
        seed: of the noise.
    """

    def __init__(
        self,
        similarity: Similarity,
        regularisation: Regulariser,
        transformation: Transformation,
        *,
        chains: int,
        steps: int,
        burn_in: int,
        rate: float,
        temperature: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.energy, self.transformation = Energy(similarity, regularisation), transformation
        self.chains, self.steps, self.burn_in = chains, steps, burn_in
        self.rate, self.temperature, self.seed = rate, temperature, seed

    def solve(self, images: LevelImages, callback: Callback | None) -> Registration:
        """Run the chains of all pairs side by side."""
        random = torch.Generator().manual_seed(self.seed)
        voxels, pairs = math.prod(images.shape), len(images.fixed)
        objective = PairEnergy(self.energy, self.transformation, images).chains(self.chains)
        theta, draws = objective.identity(), []
        for step in range(self.steps):
            _, gradient = objective.value_and_gradient(theta)
            noise = torch.randn(theta.shape, generator=random).to(theta)
            theta = theta - self.rate * voxels * gradient + (2 * self.rate * self.temperature) ** 0.5 * noise
            if step >= self.burn_in:
                fields = objective.deformation(theta).displacement
                draws.append(fields.unflatten(0, (self.chains, pairs)))
        samples = torch.cat(draws)
        mean = samples.mean(0)
        return Registration(mean, mean, theta[:pairs], samples=samples)


class SamplingTask(RegistrationTask):
    """Registration whose report shows how far the draws are from one another."""

    sections = (*RegistrationTask.sections, "my_lab.sections.spread")
