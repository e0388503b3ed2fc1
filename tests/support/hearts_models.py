"""Models of hearts that know their answers: what is made of them must come back in files."""

from __future__ import annotations

import torch
from made_hearts import made_heart
from torch import Tensor

from medreg.models.hearts.base import AgeingModel, ShapeModel


class Beating(ShapeModel):
    """Hearts whose size follows from the draw; completes by repeating the first frame."""

    def complete(self, first: Tensor, covariates, *, generator=None) -> Tensor:
        found = first.unsqueeze(1).expand(-1, self.frames, *self.size).clone()
        if generator is not None:  # a sample lacks its right ventricle in a frame that is drawn
            frame = int(torch.randint(1, self.frames, (1,), generator=generator))
            found[:, frame][found[:, frame] == 3] = 0
        return found

    def generate(self, covariates, *, generator) -> Tensor:
        scale = 0.75 + 0.2 * float(torch.rand(1, generator=generator))
        return torch.from_numpy(made_heart(self.frames, self.size, scale=scale)).unsqueeze(0)


class Certain(Beating):
    """Draws nothing."""

    def complete(self, first: Tensor, covariates, *, generator=None) -> Tensor:
        return super().complete(first, covariates)


class Still(Beating):
    """Neither makes hearts nor completes them."""

    generates = False
    completes = False


class Shrinking(AgeingModel):
    """From 60 years on a right ventricle is told apart no more; before, the heart is as it was."""

    generates = False

    def complete(self, first, covariates, *, generator=None) -> Tensor:
        return first.unsqueeze(1).expand(-1, self.frames, *self.size).clone()

    def generate(self, covariates, *, generator) -> Tensor:
        raise NotImplementedError

    def age(self, shape, covariates, later) -> Tensor:
        found = shape.clone()
        if float(later["age_years"][0]) >= 60:
            found[:, 0][(found[:, 0] == 1)] = 2
        return found
