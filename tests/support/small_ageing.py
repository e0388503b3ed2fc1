"""A small ageing heart, its loss, and hearts at ED and ES to train it on."""

from __future__ import annotations

import torch
from beating_hearts import SPACING_MM, beating, people

from medreg.losses.generative.ageing import AgeingLoss
from medreg.models.hearts.age_codes import AgeCode, SexCode
from medreg.models.hearts.ageheart import AgeHeart
from medreg.models.hearts.conditions import Conditions

SIZE = (16, 16, 16)
PLAIN = {
    "frames": 2,
    "classes": 4,
    "size": SIZE,
    "n_down": 3,
    "z_dim": 8,
    "mapping": True,
    "style_dim": 6,
    "mapping_hidden": 16,
    "mapping_layers": 3,
    "encoder_channels": 4,
    "generator_channels": 4,
    "critic_width": 16,
    "critic_sees_label": False,
    "image_critic_width": 16,
    "classifier_channels": 4,
    "classifier_dropout": 0.0,
    "mode": "intended",
    "out": None,
    "code_norm": None,
    "start": "torch",
    "sharp": False,
}
WEIGHTS = {
    "rec": 1.0,
    "ez": 1e-4,
    "gi": 1e-4,
    "age": 0.1,
    "cyc": 0.1,
    "dit": 0.1,
    "age_after_epoch": 0,
    "age_ramp_epochs": 0,
}


def codes(*, noise_sd=0.0, **further):
    return Conditions(age_years=AgeCode(noise_sd=noise_sd), sex=SexCode(repeats=3), **further)


def small_ageheart(*, conditions=None, seed=0, **options):
    torch.manual_seed(seed)
    return AgeHeart(conditions or codes(), **{**PLAIN, **options})


def ageing_loss(mode="intended", **options):
    return AgeingLoss(mode=mode, **{**WEIGHTS, **options})


def ageing_batch(count, *, seed=0, size=SIZE, gap=None):
    """A batch of ED and ES; with a gap, also of a visit so many years later, of another pose."""
    covariates = people(count, seed=seed)
    spacing = torch.tensor([SPACING_MM]).repeat(count, 1)
    found = {
        "shape": two_phases(covariates, size, seed),
        "covariates": covariates,
        "case": [f"s{seed}_{place}" for place in range(count)],
        "spacing_mm": spacing,
        "affine": torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64)).repeat(count, 1, 1),
    }
    if gap is not None:
        older = {**covariates, "age_years": covariates["age_years"] + gap}
        found["later"] = {**found, "shape": two_phases(older, size, seed).roll(1, 2), "covariates": older}
    return found


def two_phases(covariates, size, seed):
    return beating(covariates, frames=2, size=size, seed=seed)
