"""Our operators, as contenders like any other."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.performance.inputs import Inputs
from experiments.performance.peers import our_posterior
from experiments.performance.peers.advchain_step import our_steps
from experiments.performance.peers.csain_step import csain_step
from experiments.performance.peers.heart_step import our_heart_steps
from experiments.performance.peers.our_steps import LNCC_LIKE_THEIRS, training_step
from experiments.performance.work import Contender, Evaluate, InferenceMaker, Maker, StepMaker, Work
from medreg import __version__
from medreg.geometry.bspline import evaluate_bspline
from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.svf import exponential
from medreg.geometry.warp import warp
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.similarity.mi import MI
from medreg.metrics import surface, surfel
from medreg.metrics.evaluator import CaseEvaluator
from medreg.metrics.overlap import dice

# The released cascade of one warp and one iteration; images sampled where they should be.
VRNET = ("model=vrnet_release", "model.convention=exact", "model.padding=border")


class Ours(Contender):
    """medreg at its defaults, but for the border of LNCC, which is that of the other packages."""

    name = "medreg"
    distribution = "medreg"
    module = "medreg"

    @property
    def version(self) -> str:
        """Of this checkout."""
        return __version__

    def operators(self) -> Mapping[str, Maker]:
        """All that are measured."""
        return {
            "warp": _warp,
            "exponential": _exponential,
            "ffd": _ffd,
            "jacobian": _jacobian,
            "lncc": _lncc,
            "mi": _mi,
            "bending": _bending,
            "diffusion": _diffusion,
            "dice": _dice,
            "hd95": _hd95,
            "hd95_area": _hd95_area,
        }

    def steps(self) -> Mapping[str, StepMaker]:
        """The networks of the package at their defaults."""
        return {
            "gradirn": partial(training_step, overrides=("model=gradirn",)),
            "gradirn checkpoint": partial(
                training_step, overrides=("model=gradirn", "model.checkpoint=true")
            ),
            "gradirn checkpoint all": partial(
                training_step, overrides=("model=gradirn", "model.checkpoint=all")
            ),
            "gradirn bf16": partial(training_step, overrides=("model=gradirn",), precision=torch.bfloat16),
            "voxelmorph": partial(training_step, overrides=("model=voxelmorph", *LNCC_LIKE_THEIRS)),
            "voxelmorph bf16": partial(
                training_step,
                overrides=("model=voxelmorph", *LNCC_LIKE_THEIRS),
                precision=torch.bfloat16,
            ),
            "vrnet": partial(training_step, overrides=VRNET),
            "vrnet l1": partial(training_step, overrides=(*VRNET, "model.data_term=l1")),
            "vrnet four warps": partial(training_step, overrides=("model=vrnet",)),
            "csain": csain_step,
            **our_steps(),
            **our_heart_steps(),
        }

    def inference(self) -> Mapping[str, InferenceMaker]:
        """The engine's notebook, and pieces of registration with the bare energy of as many samples beside."""
        return {
            "notebook": our_posterior.notebook,
            "vi": our_posterior.iteration,
            "vi bare energy": our_posterior.bare,
            "transition": our_posterior.transition,
            "transition bare energy": our_posterior.bare,
            "chains": partial(our_posterior.transition, chains=4),
            "chains one after another": partial(our_posterior.one_after_another, chains=4),
        }

    def evaluation(self, inputs: Inputs) -> Evaluate:
        """Dice, HD95, ASSD, figures of the Jacobian and image error."""
        return _evaluation(inputs)


def _warp(inputs: Inputs) -> Work:
    image, field = inputs.moving, inputs.displacement
    return Work(lambda: warp(image, field), (field,), inputs.cotangent[:, :1])


def _exponential(inputs: Inputs) -> Work:
    field = inputs.displacement
    return Work(lambda: exponential(field, steps=inputs.squarings), (field,), inputs.cotangent)


def _ffd(inputs: Inputs) -> Work:
    points = inputs.control_points
    return Work(
        lambda: evaluate_bspline(points, inputs.size.shape, inputs.stride), (points,), inputs.cotangent
    )


def _jacobian(inputs: Inputs) -> Work:
    field = inputs.displacement
    return Work(lambda: jacobian_determinant(field), (field,), inputs.cotangent[:, 0])


def _lncc(inputs: Inputs) -> Work:
    loss = LNCC(window=inputs.window, weight=1.0, border="zeros")
    warped = inputs.moving
    return Work(lambda: loss(warped, inputs.fixed).mean(), (warped,))


def _mi(inputs: Inputs) -> Work:
    loss = MI(bins=inputs.bins, sample_ratio=1.0, weight=1.0)
    warped = inputs.moving
    return Work(lambda: loss(warped, inputs.fixed).mean(), (warped,))


def _bending(inputs: Inputs) -> Work:
    penalty, field = Bending(weight=1.0, units="voxel"), inputs.displacement
    return Work(lambda: penalty(field).mean(), (field,))


def _diffusion(inputs: Inputs) -> Work:
    penalty, field = Diffusion(weight=1.0, units="voxel"), inputs.displacement
    return Work(lambda: penalty(field).mean(), (field,))


def _dice(inputs: Inputs) -> Work:
    names = {f"label{code}": code for code in range(1, inputs.labels + 1)}
    fixed, warped = inputs.fixed_labels, inputs.warped_labels
    return Work(lambda: dice(fixed, warped, names), value=lambda scores: list(scores.values()))


def _maps(inputs: Inputs) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    return inputs.fixed_labels[0, 0].cpu().numpy(), inputs.warped_labels[0, 0].cpu().numpy()


def _hd95(inputs: Inputs) -> Work:
    maps, spacing = _maps(inputs), [1.0] * inputs.size.ndim

    def run() -> list[float]:
        pairs = surface.structure_masks(*maps, inputs.labels)
        return [surface.hd95_mm(*pair, spacing_mm=spacing) for pair in pairs]

    return Work(run)


def _hd95_area(inputs: Inputs) -> Work:
    maps, spacing = _maps(inputs), [1.0] * inputs.size.ndim

    def run() -> list[float]:
        pairs = surface.structure_masks(*maps, inputs.labels)
        return [surfel.hd95_mm(*pair, spacing_mm=spacing) for pair in pairs]

    return Work(run)


def _evaluation(inputs: Inputs) -> Evaluate:
    evaluator = CaseEvaluator({f"label{code}": code for code in range(1, inputs.labels + 1)})
    batch = {
        "fixed_label": inputs.fixed_labels,
        "moving_label": inputs.fixed_labels,
        "fixed_image": inputs.fixed,
        "moving_image": inputs.moving,
        "spacing_mm": torch.ones(1, inputs.size.ndim),
        "case": ["bench"],
    }
    field = inputs.displacement

    def run() -> dict[str, float]:
        rows = evaluator(batch, field)
        return {row.metric: row.value for row in rows if row.structure in ("mean", "all")}

    return run
