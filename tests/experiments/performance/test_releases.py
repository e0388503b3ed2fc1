"""What lets a release run here is taken away again, and what judges its answer is right."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from experiments.performance.peers.dlvi_release import numpy_alias
from experiments.performance.peers.notebook import NormalTarget, divergence
from experiments.performance.peers.sgmcmc_import import load_release

CHECKOUT = {
    "utils/__init__.py": "import vtk\nfrom vtk.util.numpy_support import vtk_to_numpy\nfrom tvtk.api import tvtk",
    "trainer/__init__.py": "",
    "trainer/trainer.py": "import utils\nfrom torch.utils.tensorboard import SummaryWriter\nclass Trainer: ...",
    "parse_config.py": "class ConfigParser:\n    def __init__(self): raise OSError",
    "configs/experiment3/config.json": '{"data_loader": {"args": {"dims": [128, 128, 128]}}}',
}


def test_the_divergence_is_that_of_two_normals():
    target = NormalTarget.random(seed=3)
    mean, covariance = torch.randn(8), torch.diag(torch.rand(8) + 0.5)
    truth = torch.distributions.MultivariateNormal(target.mean.double(), target.covariance)
    fit = torch.distributions.MultivariateNormal(mean.double(), covariance.double())
    expected = float(torch.distributions.kl_divergence(truth, fit))
    assert divergence(target, mean, covariance) == pytest.approx(expected, rel=1e-6)
    assert divergence(target, target.mean, target.covariance) == pytest.approx(0, abs=1e-8)


def test_the_energy_is_that_of_its_covariance():
    target = NormalTarget.random(seed=1)
    x = torch.randn(5, 8)
    apart = (x - target.mean).double()
    expected = 0.5 * (apart @ torch.linalg.inv(target.covariance) * apart).sum(-1)
    torch.testing.assert_close(target.energy(x).double(), expected, rtol=1e-4, atol=1e-4)


def test_the_alias_of_numpy_goes_again():
    had = "int" in vars(np)
    with numpy_alias():
        assert vars(np)["int"] is int
    assert ("int" in vars(np)) == had


def test_a_release_is_imported_without_its_writers_and_leaves_nothing(tmp_path, monkeypatch):
    for name, text in CHECKOUT.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    other = object()
    monkeypatch.setitem(sys.modules, "utils", other)  # of somebody else
    before = set(sys.modules)
    config, trainer = load_release(tmp_path, (8, 8, 8))
    assert config._config["data_loader"]["args"]["dims"] == [8, 8, 8]
    assert trainer.Trainer.__module__ == "trainer.trainer"
    assert sys.modules["utils"] is other
    new = set(sys.modules) - before
    lent = {"trainer", "parse_config"} | {name for name in ("vtk", "tvtk") if not find_spec(name)}
    assert not {name for name in new if name.split(".")[0] in lent}
