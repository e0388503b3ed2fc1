"""Builders of models with the papers' settings."""

from __future__ import annotations

import pytest
import torch

from medreg.geometry.dense import Dense
from medreg.losses.similarity.ssd import SSD
from medreg.models.gradirn import GraDIRN

TAU = {"init": 0.5, "learnable": True, "train_scale": 10.0, "scale_by_steps": True}
REGULARISER = {"layers": 5, "channels": 32, "inputs": "explicit", "last_layer_scale": 1e-3}


@pytest.fixture
def gradirn():
    """Builder of GraDIRN with the release's settings; every argument can be replaced."""

    def build(ndim=2, *, inputs="explicit", last_layer_scale=1e-3, tau=None, channels=32, **changes):
        torch.manual_seed(3)
        settings = {
            "similarity": SSD(weight=1.0),
            "transformation": Dense(),
            "num_blocks": [1, 1, 1],
            "num_repeat": [3, 3, 3],
            "tau": TAU | (tau or {}),
            "regulariser": REGULARISER
            | {"inputs": inputs, "last_layer_scale": last_layer_scale, "channels": channels},
            "convention": "exact",
            "padding": "border",
            "first_order": False,
            "checkpoint": False,
        }
        return GraDIRN(ndim, **(settings | changes))

    return build
