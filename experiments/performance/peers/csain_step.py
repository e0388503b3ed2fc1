"""Our step of CSAIN in the setting of its release: a map of five regions, three levels, the loss of the finest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.peers.our_steps import make_task
from experiments.performance.work import TrainingStep

START_CHANNELS = 8  # of 64, for a CPU
SCALE = 10.0  # of the regulariser; the release
REGIONS = 5  # background and four tissues; the release
_SETTINGS = ("model=csain", f"model.start_channels={START_CHANNELS}", f"task.objective.scale={SCALE}")


def regions(inputs: Inputs) -> Tensor:
    """(B, 1, *S) int64, region 0 to 4 of every pixel."""
    labels = inputs.fixed_labels.long() % REGIONS
    return labels.expand(inputs.size.batch, *labels.shape[1:])


def region_weights(inputs: Inputs) -> Tensor:
    """λ of the regions, (5,)."""
    return torch.rand(REGIONS, generator=torch.Generator().manual_seed(1)).to(inputs.device)


def csain_task(inputs: Inputs, *overrides: str) -> tuple[Any, dict[str, Any]]:
    """The task and a batch with the labels of the regions.

    Raises:
        NotImplementedError: volumes, for which there is no release to compare with.
    """
    if inputs.size.ndim != 2:
        raise NotImplementedError("measured in 2-D only, as the release")
    task = make_task(2, (*_SETTINGS, *overrides)).to(inputs.device).train()
    task.evaluator.labels = {f"region {code}": code for code in range(1, REGIONS)}
    batch = {
        "fixed_image": inputs.fixed,
        "moving_image": inputs.moving,
        "fixed_label": regions(inputs),
        "spacing_mm": torch.ones(inputs.size.batch, 2, device=inputs.device),
        "case": ["bench"],
    }
    return task, batch


def csain_step(inputs: Inputs, *, overrides: tuple[str, ...] = ()) -> TrainingStep:
    """One step, the maps of all levels made from the labels within it."""
    task, batch = csain_task(inputs, *overrides)
    weights = region_weights(inputs).expand(inputs.size.batch, REGIONS)

    def loss() -> Tensor:
        finest = task.answer(batch, weights, levels=task.levels)[-1]
        total: Tensor = task.level_loss(batch, finest).total
        return total

    return TrainingStep(task.model, loss, task.configure_optimizers())
