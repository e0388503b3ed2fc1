"""The ageing heart's networks: their published sizes, what they give, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from small_ageing import ageing_batch, codes, small_ageheart

from medreg.errors import CompositionError, ConfigError
from medreg.models.hearts.age_codes import SexCode
from medreg.models.hearts.ageheart import at_group, known_groups, target_groups
from medreg.models.hearts.ageheart_critics import AgeClassifier, ImageCritic, held
from medreg.models.hearts.ageheart_networks import HeartGenerator, IdentityEncoder, halved
from medreg.models.hearts.conditions import Conditions

FULL = (128, 128, 64)


def sizes_of(network, entry):
    """Channels and grid after every convolution."""
    found = []
    hooks = [
        layer.register_forward_hook(lambda _, __, output: found.append(tuple(output.shape[1:])))
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv3d | torch.nn.ConvTranspose3d)
    ]
    with torch.no_grad(), torch.device("meta"):
        network.to("meta").eval()(*entry)
    for hook in hooks:
        hook.remove()
    return found


def meta(*shape):
    return torch.empty(shape, device="meta")


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_encoder_on_the_full_grid():
    with torch.device("meta"):
        encoder = IdentityEncoder(8, base_channels=64, size=FULL, depth=4, z_dim=32, normalised=True)
    assert sizes_of(encoder, [meta(1, 8, *FULL)]) == [
        (64, 62, 62, 30), (128, 29, 29, 13), (256, 13, 13, 5), (512, 5, 5, 1), (1024, 1, 1, 1),
    ]  # fmt: skip
    assert encoder(meta(2, 8, *FULL)).shape == (2, 32)
    assert count(encoder) == pytest.approx(34.7e6, rel=0.002)


def test_the_generator_on_the_full_grid():
    with torch.device("meta"):
        generator = HeartGenerator(64, 8, base_channels=64, size=FULL, depth=4)
    assert generator.start == (4, 4, 2)
    assert generator.linear.out_features == 32768
    found = sizes_of(generator, [meta(1, 32), meta(1, 32)])
    assert [size[0] for size in found] == [512, 256, 128, 64, 8]
    assert found[-1] == (8, *FULL)


def test_parameters_of_the_release():
    with torch.device("meta"):
        model = small_ageheart(
            size=FULL, z_dim=32, style_dim=32, mapping_hidden=64, mapping_layers=8, encoder_channels=64,
            generator_channels=64, critic_width=32, image_critic_width=1024, classifier_channels=64,
        )  # fmt: skip
    assert count(model.generator) + count(model.mapping) == pytest.approx(46.8e6, rel=0.002)
    assert count(model.latent_critic) == pytest.approx(1.8e3, rel=0.03)
    assert count(model.image_critic) == pytest.approx(33.6e6, rel=0.002)
    assert count(model.classifier) == pytest.approx(178.9e6, rel=0.001)


def test_critics_on_the_full_grid():
    with torch.device("meta"):
        critic = ImageCritic(8, 13, size=FULL, width=1024)
        classifier = AgeClassifier(8, base_channels=16, size=FULL, groups=7, dropout=0.0)
    assert sizes_of(critic, [meta(2, 8, *FULL), meta(2, 13)])[-1] == (128, 8, 8, 4)
    assert critic.linear[0].in_features == 32768
    assert critic(meta(2, 8, *FULL), meta(2, 13)).shape == (2, 1)
    found = sizes_of(classifier, [meta(2, 8, *FULL)])
    assert len(found) == 6
    assert found[-1] == (512, 2, 2, 1)
    assert classifier(meta(2, 8, *FULL)).shape == (2, 7)


def test_a_heart_becomes_a_code_and_a_heart_again():
    model, batch = small_ageheart(), ageing_batch(3)
    heart = model.heart(batch["shape"])
    assert heart.shape == (3, 8, 16, 16, 16)
    assert torch.equal(heart[:, 4:].argmax(1).to(torch.uint8), batch["shape"][:, 1])
    code = model.encode(heart)
    assert code.shape == (3, 8)
    assert float(code.detach().abs().max()) < 1
    scores = model.decode(code, model.label(batch["covariates"]))
    assert scores.shape == heart.shape
    assert model.latent_critic(code, model.label(batch["covariates"])).shape == (3, 1)
    found = model.reconstruct(batch["shape"], batch["covariates"])
    assert found.shape == batch["shape"].shape
    assert found.dtype == torch.uint8


def test_the_perfect_scores_have_no_loss_and_give_the_heart_back():
    model, batch = small_ageheart(), ageing_batch(2)
    heart = model.heart(batch["shape"])
    sure = 60.0 * (heart - 0.5)
    assert float(model.difference(sure, heart)) == pytest.approx(0.0, abs=1e-6)
    assert torch.equal(model.shape(sure), batch["shape"])
    assert float(model.difference(torch.zeros_like(heart), heart)) == pytest.approx(math.log(4))
    tanh = small_ageheart(mode="released")
    assert tanh.out == "tanh_l1"
    assert float(tanh.difference(sure, heart)) == pytest.approx(0.5 * 0 + _off_by_one(heart), rel=1e-4)


def _off_by_one(heart):
    """Mean |tanh(∓30) − x|: right at 1, wrong by 1 at 0, since tanh gives −1 there."""
    return float((heart == 0).float().mean())


def test_sharp_hearts_are_label_maps_through_which_gradients_pass():
    model, batch = small_ageheart(sharp=True), ageing_batch(2)
    code = torch.zeros(2, 8, requires_grad=True)
    made = model.made(model.decode(code, model.label(batch["covariates"])))
    assert set(made.detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    made.square().sum().backward()
    assert float(code.grad.abs().sum()) > 0


def test_ageing_changes_the_style_and_not_the_code():
    model, batch = small_ageheart(), ageing_batch(4)
    later = at_group(batch["covariates"], torch.full((4,), 6))
    code = model.encode(model.heart(batch["shape"]))
    expected = model.shape(model.decode(code, model.label(later)))
    assert torch.equal(model.age(batch["shape"], batch["covariates"], later), expected)
    assert torch.equal(model.identity(batch["shape"]), code)


def test_generation_follows_the_generator_alone():
    model, told = small_ageheart(), ageing_batch(3)["covariates"]
    first, again, other = (
        model.generate(told, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first.shape == (3, 2, 16, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_target_is_never_the_own_group_and_all_others_are_as_likely():
    group = torch.randint(0, 7, (7000,), generator=torch.Generator().manual_seed(0))
    target = target_groups(group, torch.Generator().manual_seed(1))
    assert not (target == group).any()
    counts = torch.bincount((target - group) % 7, minlength=7)
    assert counts[0] == 0
    assert counts[1:].tolist() == pytest.approx([7000 / 6] * 6, rel=0.15)
    assert torch.equal(target, target_groups(group, torch.Generator().manual_seed(1)))


def test_a_held_network_passes_gradients_and_keeps_still():
    critic = ImageCritic(8, 13, size=(16, 16, 16), width=8)
    before = {name: value.clone() for name, value in critic.state_dict().items()}
    heart = torch.rand(3, 8, 16, 16, 16, requires_grad=True)
    with held(critic):
        logit = critic(heart, torch.zeros(3, 13))
    logit.sum().backward()
    assert float(heart.grad.abs().sum()) > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in critic.parameters())
    assert all(torch.equal(before[name], value) for name, value in critic.state_dict().items())
    assert critic.training
    with held(critic, still=True):
        assert not critic.training
    assert critic.training


def test_what_does_not_fit_is_refused():
    with pytest.raises(CompositionError, match=r"data.phases=edes"):
        small_ageheart(frames=10)
    with pytest.raises(CompositionError, match=r"conditions=age_codes"):
        small_ageheart(conditions=Conditions(sex=SexCode(repeats=3)))
    with pytest.raises(CompositionError, match=r"16×16×8 voxels are too few"):
        small_ageheart(size=(16, 16, 8))
    with pytest.raises(CompositionError, match=r"20×20×10 cannot be halved 3 times"):
        halved((20, 20, 10), 3)
    with pytest.raises(ConfigError, match=r"model.out is 'sigmoid'"):
        small_ageheart(out="sigmoid")
    with pytest.raises(ConfigError, match=r"model.mode is 'published'"):
        small_ageheart(mode="published")
    model = small_ageheart()
    assert not model.completes
    with pytest.raises(CompositionError, match=r"use model=cheart"):
        model.complete(torch.zeros(1, 16, 16, 16, dtype=torch.uint8), {})
    with pytest.raises(CompositionError, match=r"The age of b is unknown"):
        known_groups({"age_years": torch.tensor([50.0, torch.nan])}, ["a", "b"])


def test_without_a_mapping_the_label_itself_is_the_style():
    plain = small_ageheart(mapping=False, conditions=codes())
    assert plain.mapping is None
    assert plain.generator.linear.in_features == 8 + 13
    assert small_ageheart().generator.linear.in_features == 8 + 6
