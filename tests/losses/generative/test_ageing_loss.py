"""Weights and switches of the ageing heart's loss, and the adversarial terms."""

from __future__ import annotations

import math

import pytest
import torch
from small_ageing import ageing_loss

from medreg.errors import ConfigError
from medreg.losses.generative.critics import accuracy, says_made, says_real


def test_a_critic_that_knows_nothing_is_two_ln_two_away():
    logit = torch.zeros(5, 1)
    assert float(says_real(logit) + says_made(logit)) == pytest.approx(2 * math.log(2))


def test_binary_cross_entropies_and_accuracy():
    logit = torch.tensor([[2.0], [-1.0]])
    assert float(says_real(logit)) == pytest.approx(
        (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    )
    assert float(says_made(logit)) == pytest.approx(float(says_real(-logit)))
    assert float(accuracy(torch.tensor([1.0, 2.0, -1.0, 3.0]), torch.tensor([-1.0, 1.0]))) == pytest.approx(
        0.5 * (0.75 + 0.5)
    )


def test_the_modes_preset_the_switches():
    intended, released = ageing_loss().switches, ageing_loss("released").switches
    for name in (
        "encoder_learns",
        "generator_adversarial",
        "target_adversarial",
        "classifier_held",
        "from_real",
    ):
        assert (getattr(intended, name), getattr(released, name)) == (True, False)
    for name in ("from_generated", "target_age_needs_dit"):
        assert (getattr(intended, name), getattr(released, name)) == (False, True)
    assert (intended.real_wrong_label, released.real_wrong_label) == ("none", "positive")


def test_a_switch_may_be_set_by_itself():
    loss = ageing_loss("released", encoder_learns=True, real_wrong_label="negative", target_adversarial=None)
    assert loss.switches.encoder_learns
    assert loss.switches.real_wrong_label == "negative"
    assert not loss.switches.target_adversarial


def test_the_weight_of_the_age_waits_and_grows():
    loss = ageing_loss(age=0.4, age_after_epoch=2, age_ramp_epochs=3)
    assert [loss.age_at(epoch) for epoch in range(7)] == pytest.approx([0, 0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert [loss.settled(epoch) for epoch in (4, 5)] == [False, True]
    assert ageing_loss(age=0.4).age_at(0) == 0.4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "published"}, "loss.mode is 'published'; choose intended or released"),
        ({"real_wrong_label": "off"}, "loss.real_wrong_label is 'off'; choose none, negative or positive"),
        ({"encoder_learn": True}, "'encoder_learn'; choose encoder_learns"),
        ({"encoder_learns": "yes"}, "loss.encoder_learns is 'yes'"),
        ({"cyc": -1.0}, "loss.cyc is -1.0"),
        ({"age_after_epoch": 1.5}, "loss.age_after_epoch is 1.5"),
        ({"classifier_learns_from": "generated"}, "a classifier learns from generated hearts in the generator's"),
        ({"classifier_held": False}, "loss.classifier_held=false"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options, told):
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
        ageing_loss(**options)
