"""A tiny posterior whose value depends on more than θ: it has noise of its own and a parameter that adapts."""

from __future__ import annotations

import torch

from medreg.inference.objective import EnergyFunction


class JitteredEnergy(EnergyFunction):
    """½ w |z + jitter|² with the weight w stepped at every evaluation, chain by chain."""

    def __init__(self, chains, *, seed=0):
        self.weight = torch.ones(chains)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, z):
        jittered = z + 0.1 * (torch.rand(z.shape, generator=self.generator) - 0.5)
        square = jittered.square().flatten(1).sum(1)
        self.weight = self.weight + 0.01 * (z[0].numel() / (1 + square.detach()) - self.weight)
        return 0.5 * self.weight * square

    def state(self):
        return {"weight": self.weight, "generator": self.generator.get_state()}

    def load_state(self, state):
        self.weight = state["weight"]
        self.generator.set_state(state["generator"])
