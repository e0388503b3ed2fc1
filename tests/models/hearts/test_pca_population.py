"""The baselines that are fitted, on the population of six effects: the Dice of completion that is known of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from medreg.data.phantoms.hearts.writing import HeartPopulation
from medreg.models.hearts.conditions import Conditions
from medreg.models.hearts.copy_first import CopyFirst
from medreg.models.hearts.fitted import FittedModel
from medreg.models.hearts.mean_shape import MeanShape
from medreg.models.hearts.pca import HeartPCA

GRID = {"frames": 10, "classes": 4, "size": (32, 32, 16)}
# LV, MYO, RV of 240 training and 60 test hearts of another rendering of the same law
KNOWN = {
    "copy": (0.848, 0.657, 0.784),
    "mean": (0.794, 0.417, 0.692),
    8: (0.910, 0.740, 0.865),
    16: (0.930, 0.800, 0.890),
    32: (0.943, 0.835, 0.905),
    64: (0.949, 0.853, 0.917),
}


@pytest.fixture(scope="module")
def hearts(tmp_path_factory) -> dict[str, Tensor]:
    population = HeartPopulation(
        tmp_path_factory.mktemp("hearts"),
        grid={"size": [32, 32, 16], "spacing_mm": [5.0, 5.0, 8.0], "frames": 10},
        training=240, validation=0, testing=60, seed=2023, effect_scale=1.0, ageing="none", repose=False, modes=0,
        pose=True, course="simple", phases="cycle",
    )  # fmt: skip
    places = np.zeros(5, np.uint8)
    places[[1, 2, 4]] = 1, 2, 3
    return {
        split: torch.from_numpy(
            np.stack([places[population.labels(one)] for one in population.hearts() if one.split == split])
        ).movedim(-1, 1)
        for split in ("train", "test")
    }


def model_of(name: str | int) -> FittedModel:
    if name == "copy":
        return CopyFirst(Conditions(), **GRID)
    if name == "mean":
        return MeanShape(Conditions(), **GRID)
    return HeartPCA(Conditions(), **GRID, components=int(name), noise=None, conditional=False, half=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_completions_are_as_good_as_is_known(hearts):
    found, truth = {}, hearts["test"]
    for name in KNOWN:
        model = model_of(name)
        model.observe(hearts["train"], {})
        model.settle()
        answer = model.complete(truth[:, 0], {})
        each = []
        for place in (1, 2, 3):
            inside = (truth == place).flatten(2), (answer == place).flatten(2)
            both = 2 * (inside[0] & inside[1]).sum(2) / (inside[0].sum(2) + inside[1].sum(2))
            each.append(float(both.mean()))
        found[name] = each
    for name, values in KNOWN.items():
        assert np.abs(np.subtract(found[name], values)).max() < 0.06, (name, found[name])
    means = [np.mean(found[name]) for name in ("mean", "copy", 8, 16, 32, 64)]
    assert means == sorted(means)
