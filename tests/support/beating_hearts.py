"""Hearts made in memory: a cavity in a wall beside a second one, that beat; their size follows from sex and age."""

from __future__ import annotations

from typing import ClassVar

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from medreg.metrics.rows import MetricRow
from medreg.models.hearts.cheart import CHeart
from medreg.models.hearts.condition import AgeGroup, Number, Sex
from medreg.models.hearts.conditions import Conditions

LABELS = {"LV": 1, "MYO": 2, "RV": 4}
SIZE, FRAMES, SPACING_MM = (16, 16, 8), 6, (10.0, 10.0, 16.0)
PLAIN = {
    "n_down": 3,
    "filters": 4,
    "latent": 6,
    "mapped": 5,
    "mapping_layers": 3,
    "mapping_hidden": 16,
    "mapping_input_norm": False,
    "mapping_in": "both",
    "cell": "lstmcell",
    "cond_position": "before",
    "first_frame": "code",
    "decoder": "voxel",
    "norm": "batch",
    "sampled": True,
    "checkpoint": False,
}


def scaled_conditions():
    """The five conditions of CHeart in standard units."""
    return Conditions(
        age_years=AgeGroup(),
        sex=Sex(),
        height_cm=number(169.0, 9.0),
        weight_kg=number(76.0, 13.0),
        sbp_mmhg=number(137.0, 18.0),
    )


def plain_conditions():
    """The same as the release has them."""
    return Conditions(
        age_years=AgeGroup(centre=0.0, scale=1.0),
        sex=Sex(signed=False),
        height_cm=number(0.0, 1.0),
        weight_kg=number(0.0, 1.0),
        sbp_mmhg=number(0.0, 1.0),
    )


def number(centre, scale):
    return Number(centre=centre, scale=scale, least=1.0, greatest=300.0, unit="")


def small_cheart(*, conditions=None, frames=FRAMES, size=SIZE, seed=0, **options):
    """CHeart on a grid of 16 × 16 × 8."""
    torch.manual_seed(seed)
    given = scaled_conditions() if conditions is None else conditions
    return CHeart(given, frames=frames, classes=4, size=size, **{**PLAIN, **options})


def people(count, *, seed=0):
    """Covariates of so many people."""
    chance = torch.Generator().manual_seed(seed)
    sex = (torch.rand(count, generator=chance) < 0.5).float()
    normal = torch.randn(3, count, generator=chance)
    return {
        "age_years": 44 + 38 * torch.rand(count, generator=chance),
        "sex": sex,
        "height_cm": 163 + 13 * sex + 6 * normal[0],
        "weight_kg": 70 + 10 * sex + 10 * normal[1],
        "sbp_mmhg": 135 + 18 * normal[2],
    }


def beating(covariates, *, frames=FRAMES, size=SIZE, seed=0):
    """Hearts (N, T, *S) uint8 of some people: men have larger cavities, the old smaller ones."""
    chance = torch.Generator().manual_seed(seed)
    count = len(covariates["sex"])
    axes = torch.meshgrid(*(torch.linspace(-1, 1, length) for length in size), indexing="ij")
    own = 0.05 * torch.randn(count, generator=chance)
    radius = 0.42 + 0.08 * covariates["sex"] - 0.003 * (covariates["age_years"] - 60) + own
    beat = 1 - 0.3 * torch.sin(torch.pi * torch.arange(frames) / frames) ** 2
    inner = (radius[:, None] * beat)[..., None, None, None]
    outer = (inner**3 + 0.12).pow(1 / 3)
    distance = ((axes[0] - 0.15) ** 2 + (axes[1] - 0.15) ** 2 + 0.6 * axes[2] ** 2).sqrt()
    beside = ((axes[0] + 0.35) ** 2 + (axes[1] + 0.35) ** 2 + 0.6 * axes[2] ** 2).sqrt()
    shape = torch.where(beside < inner, 3, 0)
    shape = torch.where(distance < outer, 2, shape)
    return torch.where(distance < inner, 1, shape).to(torch.uint8)


def heart_batch(count, *, seed=0, frames=FRAMES, size=SIZE):
    """A batch of the contract of shapes."""
    covariates = people(count, seed=seed)
    return {
        "shape": beating(covariates, frames=frames, size=size, seed=seed),
        "covariates": covariates,
        "case": [f"s{seed}_{place}" for place in range(count)],
        "spacing_mm": torch.tensor([SPACING_MM]).repeat(count, 1),
        "affine": torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64)).repeat(count, 1, 1),
    }


class BeatingHearts(pl.LightningDataModule):
    """Batches of eight for training, two hearts for validation and two test cases."""

    labels = LABELS
    categories: ClassVar[dict] = {}

    def __init__(self, batches=6, **options):
        super().__init__()
        self.batches, self.options = batches, options

    def training_covariates(self):
        parts = [heart_batch(8, seed=seed, **self.options)["covariates"] for seed in range(self.batches)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def train_dataloader(self):
        return loader([heart_batch(8, seed=seed, **self.options) for seed in range(self.batches)])

    def val_dataloader(self):
        return loader([heart_batch(1, seed=seed, **self.options) for seed in range(100, 104)])

    def test_dataloader(self):
        return loader([heart_batch(1, seed=seed, **self.options) for seed in (200, 201)])


def loader(batches):
    return DataLoader(batches, batch_size=None, num_workers=0)


class CountingEvaluator:
    """Measures volumes in voxels, and scores by the share of voxels that agree."""

    def __init__(self):
        self.labels = {}

    def measures(self, shape, spacing_mm):
        volumes = (shape == 1).flatten(1).sum(1).float()
        return {"lvedv_ml": float(volumes[0]), "lvesv_ml": float(volumes.min())}

    def completion(self, truth, found, spacing_mm):
        return [MetricRow("mean", "dice", float((truth == found).float().mean()), "1")]

    def agreement(self, truth, samples, spacing_mm):
        return [MetricRow("mean", "dice", float((truth == samples).float().mean()), "1")]
