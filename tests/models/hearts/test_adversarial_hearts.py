"""Generators of hearts and their discriminator: shapes, what is told to whom, and which parameters are whose."""

from __future__ import annotations

import pytest
import torch
from small_hearts import conditions, people

from medreg.errors import CompositionError
from medreg.models.hearts.adversarial import ConditionalGAN, JudgedCHeart
from medreg.models.hearts.conditions import Conditions
from medreg.models.hearts.discriminator import FrameDiscriminator

SIZE, FRAMES = (8, 8, 8), 4


def gan(**options: object) -> ConditionalGAN:
    torch.manual_seed(0)
    chosen = {
        "frames": FRAMES, "classes": 4, "size": SIZE, "n_down": 2, "filters": 4, "latent": 6,
        "cell": "lstmcell", "first_frame": "code", "discriminator_filters": 4, **options,
    }  # fmt: skip
    return ConditionalGAN(conditions(), **chosen)


def judged() -> JudgedCHeart:
    torch.manual_seed(0)
    return JudgedCHeart(
        conditions(), discriminator_filters=4, frames=FRAMES, classes=4, size=SIZE, n_down=2, filters=4, latent=3,
        mapped=5, mapping_layers=2, mapping_hidden=6, mapping_input_norm=False, mapping_in="both", cell="lstmcell",
        cond_position="before", first_frame="recurrence", decoder="voxel", norm="batch", sampled=True,
        checkpoint=False,
    )  # fmt: skip


def test_the_full_grid_of_the_release_has_its_parameters():
    names = ("age", "height", "weight", "sbp", "hr")
    told = Conditions({name: next(iter(conditions().conditions.values())) for name in names})
    model = ConditionalGAN(
        told, frames=20, classes=4, size=(128, 128, 64), n_down=4, filters=4, latent=128,
        cell="lstmcell", first_frame="code", discriminator_filters=4,
    )  # fmt: skip
    generator = 128 * 32 * 256 + 32 + 5 * 32 * 256 + 32  # of_code and of_told, kernels (8, 8, 4)
    generator += 64 * (64 * 32 + 32 * 16 + 16 * 8 + 8 * 4) + 32 + 16 + 8 + 4 + 2 * (32 + 16 + 8)
    generator += 4 * 128 * (128 + 128) + 2 * 4 * 128  # LSTM cell
    assert sum(each.numel() for each in model.makers()) == generator
    judge = (
        64 * (4 * 4 + 5 * 4 + 8 * 16 + 16 * 32 + 32 * 64) + 4 + 4 + 16 + 32 + 64 + 2 * (4 + 4 + 16 + 32 + 64)
    )
    judge += 64 * 256 + 1
    assert sum(each.numel() for each in model.discriminator.parameters()) == judge


@pytest.mark.parametrize("make", [gan, judged])
def test_parameters_are_the_makers_or_the_judges(make):
    model = make()
    makers = {id(each) for each in model.makers()}
    judges = {id(each) for each in model.discriminator.parameters()}
    assert makers.isdisjoint(judges)
    assert len(makers) + len(judges) == len(list(model.parameters()))


def test_the_discriminator_sees_conditions_only_where_it_is_told_them():
    told = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    frames = torch.rand(2, 3, 4, *SIZE, generator=torch.Generator().manual_seed(1))
    for count, differs in ((2, True), (0, False)):
        torch.manual_seed(0)
        judge = FrameDiscriminator(classes=4, told=count, size=SIZE, n_down=2, filters=4).eval()
        odds = judge(frames, told)
        assert odds.shape == (2, 3)
        assert (not torch.equal(judge(frames, told.flip(0)), odds)) == differs


def test_a_generator_follows_latent_conditions_and_frame():
    model, told = gan().eval(), people(2)
    latent, frames = torch.randn(2, 6, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 2])
    scores = model.decoded(latent, told, frames)
    assert scores.shape == (2, 2, 4, *SIZE)
    assert not torch.allclose(scores[:, 0], scores[:, 1])
    older = told | {"age_years": told["age_years"] + 10}
    assert not torch.allclose(model.decoded(latent, older, frames), scores)
    torch.testing.assert_close(model.decoded(latent, told, torch.arange(FRAMES))[:, frames], scores)


def test_a_generator_makes_hearts_and_completes_none():
    model, told = gan().eval(), people(2)
    draw = lambda seed: model.generate(told, generator=torch.Generator().manual_seed(seed))  # noqa: E731
    assert draw(1).shape == (2, FRAMES, *SIZE)
    assert draw(1).dtype == torch.uint8
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    with pytest.raises(CompositionError, match="no encoder"):
        model.complete(draw(1)[:, 0], told)


def test_a_judged_cheart_answers_as_cheart_does():
    model, told = judged().eval(), people(2)
    shape = torch.randint(0, 4, (2, FRAMES, *SIZE), generator=torch.Generator().manual_seed(3)).to(
        torch.uint8
    )
    frames, chance = torch.tensor([0, 3]), torch.Generator().manual_seed(2)
    output = model.reconstructed(shape, told, frames, chance)
    assert output.scores.shape == (2, 2, 4, *SIZE)
    assert model.judge(output.scores.softmax(2), told).shape == (2, 2)
    assert not torch.equal(output.scores[:, 0], output.scores[:, 1])
    assert model.complete(shape[:, 0], told).shape == shape.shape
