"""A training step of CHeart, ours, on hearts that every contender is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from experiments.performance.inputs import Inputs
from experiments.performance.work import StepMaker, TrainingStep
from medreg.config.compose import compose
from medreg.config.instantiate import build

FRAMES, CODE = 20, 32  # frames of the cycle; numbers of the code and of the embedded conditions
BETA = 1e-2
SEED = 7  # of the noise of the code
_LAYERS = 4  # halvings of the grid, fixed in the release


@dataclass(frozen=True)
class Hearts:
    """Hearts over the cycle and the people they belong to.

    Attributes:
        shape: (B, T, X, Y, Z) uint8, LV 1, MYO 2, RV 3; the long axis last.
        covariates: name → (B,), as people have them.
    """

    shape: Tensor
    covariates: Mapping[str, Tensor]

    @classmethod
    def of(cls, inputs: Inputs) -> Hearts:
        """Nested balls beside a third, which contract and relax, of the size of the inputs."""
        chance = torch.Generator().manual_seed(11)
        axes = [torch.linspace(-1, 1, side) for side in inputs.size.shape]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        sizes = 0.9 + 0.2 * torch.rand(inputs.size.batch, generator=chance)
        hearts = [_beating(place, size) for size in sizes.tolist()]
        draw = torch.rand(5, inputs.size.batch, generator=chance)
        people = {
            "age_years": 45 + 35 * draw[0],
            "sex": (draw[1] < 0.5).float(),
            "height_cm": 155 + 30 * draw[2],
            "weight_kg": 55 + 40 * draw[3],
            "sbp_mmhg": 110 + 50 * draw[4],
        }
        told = {name: values.to(inputs.device) for name, values in people.items()}
        return cls(torch.stack(hearts).to(inputs.device), told)


def our_heart_steps() -> Mapping[str, StepMaker]:
    """A step with all frames normalised together; as the release does it; and what spares time or memory."""
    return {
        "cheart": partial(heart_step, overrides=("model.norm=batch",)),
        "cheart per frame": heart_step,
        "cheart checkpoint": partial(heart_step, overrides=("model.norm=batch", "model.checkpoint=true")),
        "cheart four frames": partial(heart_step, overrides=("model.norm=batch", "loss.frames_per_step=4")),
        "cheart checkpoint four frames": partial(
            heart_step, overrides=("model.norm=batch", "model.checkpoint=true", "loss.frames_per_step=4")
        ),
        "cheart bf16": partial(heart_step, overrides=("model.norm=batch",), precision=torch.bfloat16),
        "cheart checkpoint bf16": partial(
            heart_step, overrides=("model.norm=batch", "model.checkpoint=true"), precision=torch.bfloat16
        ),
    }


def heart_task(inputs: Inputs, overrides: Sequence[str] = ()) -> Any:
    """The Lightning module of model=cheart_released at the sizes of the release, from fixed random weights."""
    torch.manual_seed(0)
    options = [
        "data=heart_population",
        "model=cheart_released",
        f"data.size={list(inputs.size.shape)}",
        f"data.frames={FRAMES}",
        f"data.n_down={_LAYERS}",
        "model.filters=4",
        f"model.latent={CODE}",
        f"model.mapped={CODE}",
        f"loss.beta={BETA}",
        "optimiser.lr=5.0e-4",
    ]
    task = build(compose([*options, *overrides]).task)
    return task.to(inputs.device).train()


def heart_step(
    inputs: Inputs, *, overrides: Sequence[str] = (), precision: torch.dtype = torch.float32
) -> TrainingStep:
    """One step on the hearts of the inputs; another precision as `trainer.precision` does it."""
    task, hearts = heart_task(inputs, overrides), Hearts.of(inputs)

    def loss() -> Tensor:
        chance = torch.Generator(inputs.device).manual_seed(SEED)
        frames = task.loss.draw_frames(FRAMES, chance)
        output = task.model(hearts.shape, hearts.covariates, frames=frames, generator=chance)
        found: Tensor = task.loss(output, hearts.shape).loss
        return found

    return TrainingStep(task.model, loss, task.configure_optimizers(), precision)


def _beating(place: Tensor, size: float) -> Tensor:
    """One heart, (T, *S)."""
    left = (place / 0.55).square().sum(0).sqrt()
    right = ((place + torch.tensor([0.35, 0.35, 0.0]).view(3, 1, 1, 1)) / 0.5).square().sum(0).sqrt()
    frames = []
    for frame in range(FRAMES):
        radius = size * (1 - 0.25 * torch.sin(torch.tensor(torch.pi * frame / FRAMES)))
        labels = torch.where(right < radius, 3, 0)
        labels = torch.where(left < radius, 2, labels)
        frames.append(torch.where(left < 0.65 * radius, 1, labels).to(torch.uint8))
    return torch.stack(frames)
