"""Which gradients a step of the ageing heart sends where: the audit of both modes."""

from __future__ import annotations

import math

import pytest
import torch
from small_ageing import ageing_batch, ageing_loss, small_ageheart

from medreg.tasks.hearts.ageing_terms import (
    classifier_terms,
    generator_terms,
    image_terms,
    latent_terms,
    told_of,
)


def step(mode="intended", *, age=0.1, model=None, **options):
    """A generator's step without a descent: the networks with their gradients, terms, and what was made."""
    model = model or small_ageheart(mode=mode)
    batch = ageing_batch(6)
    told = told_of(model, batch["shape"], batch["covariates"], torch.Generator().manual_seed(0), noisy=True)
    terms, made = generator_terms(model, ageing_loss(mode, **options), told, age=age)
    if terms.loss.requires_grad:
        terms.loss.backward()
    return model, terms, told, made


def has_gradients(network):
    """Whether all parameters have a gradient that is not 0, none has, or some."""
    found = [p.grad is not None and bool(p.grad.any()) for p in network.parameters()]
    return "all" if all(found) else "some" if any(found) else "none"


def test_intended_reaches_every_parameter_of_encoder_and_generator():
    model, *_ = step()
    assert has_gradients(model.encoder) == "all"
    assert has_gradients(model.generator) == "all"
    assert has_gradients(model.mapping) == "all"


def test_the_likeness_of_codes_reaches_the_encoder_alone():
    model, *_ = step(rec=0.0, gi=0.0, cyc=0.0, age=0.0)
    assert has_gradients(model.encoder) == "all"
    assert has_gradients(model.generator) == "none"


def test_the_likeness_of_hearts_reaches_both():
    model, *_ = step(rec=0.0, ez=0.0, cyc=0.0, dit=0.0, gi=1.0, age=0.0)
    assert has_gradients(model.encoder) == "all"
    assert has_gradients(model.generator) == "all"


def test_released_leaves_the_encoder_without_any_gradient():
    model, *_ = step("released")
    assert all(parameter.grad is None for parameter in model.encoder.parameters())
    assert has_gradients(model.generator) == "all"
    model, terms, *_ = step("released", rec=0.0, cyc=0.0, age=0.0, gi=1.0, ez=1.0)
    assert has_gradients(model.generator) == "none"  # the adversarial terms reach nobody
    assert float(terms.parts["gi"].detach()) > 0


@pytest.mark.parametrize("mode", ["intended", "released"])
def test_critics_do_not_change_in_the_generators_step(mode):
    model = small_ageheart(mode=mode)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step(mode, model=model)
    for part in ("latent_critic", "image_critic"):
        network = model.get_submodule(part)
        assert has_gradients(network) == "none"
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[f"{part}.{name}"])


def test_the_classifier_learns_from_real_hearts_alone_or_with_the_generator():
    model, _, told, _ = step()
    assert all(parameter.grad is None for parameter in model.classifier.parameters())
    classifier_terms(model, told).loss.backward()
    assert has_gradients(model.classifier) == "all"
    assert has_gradients(step("released")[0].classifier) == "all"


def test_the_critics_own_steps_reach_nobody_else():
    model, _, told, made = step()
    model.zero_grad()
    latent_terms(model, told, made).loss.backward()
    assert has_gradients(model.latent_critic) == "all"
    image_terms(model, ageing_loss(), told, made).loss.backward()
    assert has_gradients(model.image_critic) == "all"
    for part in (model.encoder, model.generator, model.mapping, model.classifier):
        assert has_gradients(part) == "none"


def test_terms_at_the_start_are_those_of_networks_that_know_nothing():
    model, terms, told, made = step()
    assert float(latent_terms(model, told, made).loss.detach()) == pytest.approx(2 * math.log(2), abs=0.35)
    assert float(terms.parts["age"].detach()) == pytest.approx(math.log(7), abs=0.35)
    assert float(terms.parts["age_target"].detach()) == pytest.approx(math.log(7), abs=0.35)
    assert float(terms.parts["rec"].detach()) == pytest.approx(math.log(4), abs=0.15)


def test_the_loss_is_the_weighted_sum_of_its_terms():
    _, terms, *_ = step(age=0.3, gi=0.5, dit=0.2, cyc=0.7, ez=0.4)
    parts = {name: float(value.detach()) for name, value in terms.parts.items()}
    expected = parts["rec"] + 0.4 * parts["ez"] + 0.5 * (parts["gi"] + 0.2 * parts["gi_target"])
    expected += 0.3 * (parts["age"] + parts["age_target"]) + 0.7 * parts["cyc"]
    assert float(terms.loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_released_asks_for_the_target_age_only_with_dit():
    assert "age_target" not in step("released", dit=0.0)[1].parts
    assert "age_target" in step("released", dit=0.1)[1].parts
    assert "age_target" in step(dit=0.0)[1].parts
    assert "gi_target" not in step("released")[1].parts


def test_a_real_heart_with_a_wrong_age_counts_as_the_switch_says():
    found = {}
    for choice in ("none", "negative", "positive"):
        model, _, told, made = step()
        loss = ageing_loss(dit=0.5, real_wrong_label=choice)
        found[choice] = float(image_terms(model, loss, told, made).loss.detach())
    logit = model.image_critic(told.heart, told.target_label)
    real = torch.nn.functional.softplus(-logit).mean()
    assert found["positive"] - found["none"] == pytest.approx(0.5 * float(real.detach()), abs=2e-3)
    assert found["negative"] != found["positive"]


def test_targets_follow_the_generator_and_differ_from_the_own_group():
    *_, told, _ = step()
    assert not (told.target == told.group).any()
    assert float(told.uniform.abs().max()) <= 1
    changed = (told.label != told.target_label).any(0)
    assert changed[:7].any()
    assert not changed[7:].any()  # the sex stays
