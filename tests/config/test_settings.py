"""What `--set` changes in a preset or a method of search is refused before any work where it means nothing."""

from __future__ import annotations

import pytest
import yaml
from omegaconf import OmegaConf

from medreg.errors import ConfigError
from medreg.registering.presets import load_preset

SHAPE = (20, 22, 18)
LEVEL = "model.levels=[{shrink: %s, sigma: %s, iterations: %s, learning_rate: 1.0}]"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("model.regularisation.weight=nan", "model.regularisation.weight=nan: it must be a number"),
        ("model.regularisation.weight=null", "model.regularisation.weight=null: it must be a number"),
        ("model.regularisation.weight=[1]", "it must be a number"),
        ("model.regularisation.weight=true", "it must be a number"),
        ("model.smoothing=nan", "model.smoothing=nan: it must be a number"),
        ("model.smoothing=-2", "model.smoothing is -2"),
        ("model.tolerance=-1", "model.tolerance is -1"),
        ("model.similarity.window=abc", "model.similarity.window=abc"),
        ("model.similarity.eps=-1", "similarity.eps is -1"),
        ("model.similarity=null", "model.similarity=null: it must be options of its own"),
        ("model=3", "model=3: it must be options of its own"),
        ("model.transformation.steps=-1", "transformation.steps is -1"),
        ("model.transformation.steps=abc", "model.transformation.steps=abc"),
        ("model.minimiser.betas=[2,3]", "minimiser.betas is"),
        ("model.minimiser.damping=-1", "minimiser.damping is -1"),
        ("model.levels=3", "model.levels=3"),
        ("model.levels=[3]", "model.levels holds 3"),
        (LEVEL % ("abc", 0, 1), "model.levels: shrink is abc"),
        (LEVEL % (1, "nan", 1), "model.levels: sigma is nan"),
        (LEVEL % (1, 0, 1.5), "iterations is 1.5; it must be a whole number"),
        ("finest_voxels=null", "finest_voxels=null"),
        ("finest_voxels.model=abc", "finest_voxels.model=abc"),
        ("finest_voxels.model=0", "finest_voxels.model is 0"),
        ("intensity=null", "intensity=null"),
        ("intensity.percentiles=[0,200]", "percentiles lie from 0 to 100"),
        ("intensity.window=[a,b]", "intensity.window="),
        ("use_affine=maybe", "use_affine=maybe: it must be true or false"),
        ("initialise=foo", "initialise is 'foo'"),
    ],
)
def test_impossible_values_are_a_sentence(change, told):
    with pytest.raises(ConfigError) as caught:
        load_preset("general", shape=SHAPE, overrides=[change])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        "model.regularisation.weight=1",
        "model.regularisation.weight=0",
        "finest_voxels.model=100000",
        "finest_voxels.model=1e5",
        "intensity.percentiles=null",
        "intensity.percentiles=[1, 99]",
        "intensity.window=[-1000, 400]",
        "model.tolerance=1e-4",
        "use_affine=false",
        "initialise=none",
        LEVEL % (2, 0.5, 3),
    ],
)
def test_sensible_values_are_taken(change):
    key, value = change.split("=", 1)
    settings = OmegaConf.create(dict(load_preset("general", shape=SHAPE, overrides=[change]).settings))
    if not key.startswith(("model.levels", "finest_voxels")):  # these are made to fit the image
        assert OmegaConf.select(settings, key) == yaml.safe_load(value.replace("1e-4", "1.0e-4"))
