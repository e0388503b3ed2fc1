"""A pair whose motion is drawn from the model's own prior, textured in one half and flat in the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from medreg.data.phantoms.simulated_prior import PriorMotion
from medreg.geometry.ffd import FreeFormVelocity
from medreg.geometry.warp import warp
from medreg.inference.smoothing import gaussian_smooth
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.residual import Difference
from medreg.losses.prior.fixed import Fixed
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate
from medreg.models.bayes import BayesianRegistration

SIGMA, WEIGHT, STRIDE, STEPS = 0.1, 0.5, 4, 2


@dataclass(frozen=True)
class DrawnPair:
    """Images (1, 1, *S), the displacement between them (1, D, *S) voxels, and where there is texture (*S)."""

    fixed: torch.Tensor
    moving: torch.Tensor
    truth: torch.Tensor
    textured: torch.Tensor


def drawn_pair(shape, *, seed=0, flat=True):
    """Texture of unit variance, flat in the second half of the first axis on request; white noise of `SIGMA`."""
    motion = PriorMotion(WEIGHT, 0.3, STRIDE, STEPS, "control_grid")
    truth = torch.from_numpy(motion.draw(shape, (1.0,) * len(shape), np.random.default_rng(seed))).float()[
        None
    ]
    generator = torch.Generator().manual_seed(seed)
    moving = gaussian_smooth(torch.randn(1, 1, *shape, generator=generator), 1.0)
    moving = moving / moving.std()
    textured = torch.ones(shape, dtype=torch.bool)
    if flat:
        textured[shape[0] // 2 :] = False
        moving = moving * gaussian_smooth(textured.float()[None, None], 1.0)
    fixed = warp(moving, truth) + SIGMA * torch.randn(1, 1, *shape, generator=generator)
    return DrawnPair(fixed, moving, truth, textured)


def model_of(inference, *, seed=1):
    """The posterior that such a pair has."""
    return BayesianRegistration(
        Gaussian(residual=Difference(), sigma=SIGMA, rate=Rate(0.0), decimation=None),
        Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=WEIGHT),
        FreeFormVelocity(STRIDE, STEPS),
        inference=inference,
        smoothing=None,
        jitter=0.0,
        prior_on="parameters",
        seed=seed,
    )
