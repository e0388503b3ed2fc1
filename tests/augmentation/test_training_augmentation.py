"""The weight of consistency along a training, and the options that make augmentations with an adversary."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

from medreg.augmentation.adversary import AdvChain
from medreg.augmentation.chain_rule import ChainRule
from medreg.augmentation.consistency_term import ConsistencyTerm
from medreg.augmentation.noise import Noise
from medreg.augmentation.ramp import linear, sigmoid
from medreg.config.compose import compose
from medreg.config.instantiate import build
from medreg.errors import ConfigError
from medreg.losses.segmentation.consistency import Consistency

NAMES = (
    "advchain",
    "advchain_release",
    "random_chain",
    "advnoise",
    "advbias",
    "advmorph",
    "advaffine",
    "vat",
)


def term(**changes):
    adversary = AdvChain((Noise.paper(),), rule=ChainRule("fixed"), seed=3)
    return ConsistencyTerm(
        **(
            {"adversary": adversary, "weight": 2.0, "ramp_epochs": 0, "first_epoch": 0, "share": True}
            | changes
        )
    )


def made(name, *options, data="acdc_segmentation"):
    return build(compose(["model=unet_16", f"data={data}", f"augmentation={name}", *options]).augmentation)


def plain(adversary):
    """Its options, with lists for all sequences."""
    return json.dumps([[type(m).__name__ for m in adversary.members], dataclasses.asdict(adversary)])


def test_the_linear_ramp_is_that_of_the_released_script():
    assert [linear(epoch, 200) for epoch in (0, 99, 199, 500)] == [0.005, 0.5, 1.0, 1.0]
    assert linear(0, 0) == 1.0


def test_the_sigmoid_ramp_grows_from_a_hundredth_to_one():
    assert sigmoid(0, 80) == pytest.approx(math.exp(-5))
    assert sigmoid(40, 80) == pytest.approx(math.exp(-1.25))
    assert sigmoid(80, 80) == sigmoid(0, 0) == 1.0


def test_the_adversary_waits_for_its_first_epoch_and_grows_from_there():
    late = term(first_epoch=10, ramp_epochs=4)
    assert [late.weight_at(epoch) for epoch in (0, 9, 10, 12, 13, 99)] == [0.0, 0.0, 0.5, 1.5, 2.0, 2.0]
    assert not late.active(9)
    assert late.active(10)
    assert term().weight_at(0) == 2.0
    assert not term(weight=0.0).active(5)


@pytest.mark.parametrize("name", ["weight", "ramp_epochs", "first_epoch"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ConfigError, match=f"augmentation.consistency.{name} is -1"):
        term(**{name: -1})


def test_another_divergence_leaves_the_adversary_as_it_was():
    first = term()
    other = first.comparing(Consistency(divergence="mse"))
    assert (other.adversary.consistency.divergence, first.adversary.consistency.divergence) == ("mse", "kl")
    assert other.adversary.seed == 3


def test_a_disagreement_is_what_a_call_returns_and_says_where_the_ascent_began():
    torch.manual_seed(0)
    network, image = nn.Conv2d(1, 3, 3, padding=1), torch.rand(2, 1, 16, 16)
    wide = AdvChain.paper(2, seed=3, power_iteration=False, rule=ChainRule("fixed"))
    found = term(adversary=wide)(network, image, step=4, module=network)
    assert torch.equal(found.loss, wide(network, image, step=4, module=network))
    attack = wide.attack(network, image, step=4, module=network)
    torch.testing.assert_close(found.before, attack.before.mean())
    torch.testing.assert_close(found.loss.detach(), attack.after.mean())
    assert found.loss > found.before
    assert not found.before.requires_grad


def test_without_ascent_the_start_is_the_end():
    network, image = nn.Conv2d(1, 3, 3, padding=1), torch.rand(2, 1, 16, 16)
    found = term(adversary=AdvChain.paper(2, steps=0))(network, image, step=0, module=network)
    assert torch.equal(found.before, found.loss.detach())


@pytest.mark.parametrize(("data", "ndim"), [("acdc_segmentation", 2), ("folder_segmentation", 3)])
def test_options_are_the_presets(data, ndim):
    chosen = {name: made(name, data=data).consistency.adversary for name in NAMES[:3]}
    assert plain(chosen["advchain"]) == plain(AdvChain.paper(ndim, seed=1))
    assert plain(chosen["advchain_release"]) == plain(AdvChain.release(ndim, seed=1))
    assert plain(chosen["random_chain"]) == plain(AdvChain.paper(ndim, seed=1, steps=0))


@pytest.mark.parametrize("name", NAMES)
def test_every_adversary_works_on_top_of_standard_augmentation(name):
    options, plain = made(name), made("standard")
    assert options.batch == plain.batch
    assert plain.consistency is None
    network = nn.Conv2d(1, 3, 3, padding=1)
    loss = options.consistency.adversary(network, torch.rand(2, 1, 32, 32), step=0)
    loss.backward()
    assert loss > 0
    assert network.weight.grad.abs().max() > 0


def test_single_attacks_have_one_member_each():
    single = {
        name: [type(m).__name__ for m in made(name).consistency.adversary.members] for name in NAMES[3:]
    }
    assert single == {
        "advnoise": ["Noise"], "advbias": ["BiasField"], "advmorph": ["Morph"], "advaffine": ["AffineMap"],
        "vat": ["Noise"],
    }  # fmt: skip


def test_every_number_is_an_option():
    adversary = made(
        "advchain",
        "augmentation.consistency.adversary.members.noise.epsilon=2",
        "augmentation.consistency.adversary.steps=3",
        "~augmentation.consistency.adversary.members.morph",
    ).consistency.adversary
    assert adversary.members[0].epsilon == 2
    assert adversary.steps == 3
    assert len(adversary.members) == 3
    fields = {field.name for field in dataclasses.fields(AdvChain) if field.init}
    named = compose(["model=unet_16", "augmentation=advchain"]).augmentation.consistency.adversary
    assert fields == set(named) - {"_target_"}


@pytest.mark.parametrize(("epochs", "told"), [(10, True), (11, False), (-1, False), (None, False)])
def test_an_adversary_that_never_begins_is_told(caplog, epochs, told):
    with caplog.at_level("WARNING", "medreg"):
        term(first_epoch=10).tell_if_late(epochs)
    assert ("first_epoch=10" in caplog.text) == told
