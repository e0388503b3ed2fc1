"""An attack that is shown is the adversary's own: the same images, its divergences, nothing changed by looking."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.affine import AffineMap
from medreg.augmentation.bias import BiasField
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.showing import attack_arrays


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1)
    ).eval()


@pytest.fixture
def images():
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))


def test_stages_lead_from_the_image_to_what_the_network_sees(network, images):
    adversary = AdvChain.paper(2, rule=ChainRule("fixed"))
    shown = attack_arrays(adversary, network, images, step=3)
    attack = adversary.attack(network, images, step=3)
    assert shown.names == ("Noise", "BiasField", "Morph", "AffineMap", "intensity")
    assert shown.stages.shape == (5, 2, 1, 32, 32)
    assert torch.allclose(shown.stages[-1], attack.images)
    assert torch.equal(shown.end, attack.after)
    assert not torch.equal(shown.stages[0], images)
    changes = torch.cat([images[None], shown.stages]).diff(dim=0)
    assert (changes.abs().flatten(1).amax(1) > 0).all()


def test_divergence_is_zero_where_nothing_is_compared_and_positive_in_sum(network, images):
    shown = attack_arrays(AdvChain.paper(2), network, images)
    assert shown.before.shape == shown.after.shape == shown.divergence.shape == (2, 32, 32)
    assert (shown.divergence.flatten(1).sum(1) > 0).all()
    assert shown.before.max() < 3


def test_an_adversary_that_changes_nothing_shows_nothing(network, images):
    still = AffineMap.paper(2, rotation_deg=0.0, scale=0.0, shift=0.0)
    adversary = AdvChain([still], steps=0, intensity=AdvChain.release(2).intensity)
    shown = attack_arrays(adversary, network, images)
    assert shown.names == ("AffineMap",)
    assert torch.allclose(shown.stages[-1], images, atol=1e-5)
    assert torch.equal(shown.before, shown.after)
    assert float(shown.divergence.abs().max()) < 1e-4


def test_looking_leaves_the_network_and_chance_as_they_were(network, images):
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    adversary = AdvChain([BiasField.paper(2)])
    first = attack_arrays(adversary, network, images, step=5)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(attack_arrays(adversary, network, images, step=5).stages, first.stages)
    assert adversary.calls == 0
