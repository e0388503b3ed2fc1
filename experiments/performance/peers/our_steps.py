"""Our training steps, composed from the configuration as `train.py` would."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import TrainingStep
from medreg.config.compose import compose
from medreg.config.instantiate import build

LNCC_LIKE_THEIRS = ("similarity=lncc", "similarity.border=zeros")
_DATA = {
    2: "data=cardiac_phantom",
    3: "data=brain_phantom",
}  # for the number of dimensions only; nothing is read


def make_task(ndim: int, overrides: Sequence[str]) -> Any:
    """The Lightning module of a composition, from fixed random weights."""
    torch.manual_seed(0)
    return build(compose([_DATA[ndim], *overrides]).task)


def training_step(
    inputs: Inputs, *, overrides: Sequence[str], precision: torch.dtype = torch.float32
) -> TrainingStep:
    """One step of a composition on the images of the inputs; another precision as `trainer.precision` does it."""
    task = make_task(inputs.size.ndim, overrides).to(inputs.device).train()
    batch = {
        "fixed_image": inputs.fixed,
        "moving_image": inputs.moving,
        "spacing_mm": torch.ones(inputs.size.batch, inputs.size.ndim, device=inputs.device),
        "case": ["bench"],
    }

    def loss() -> Tensor:
        return task.loss(batch, task.register(batch)).total

    return TrainingStep(task.model, loss, task.configure_optimizers(), precision)
