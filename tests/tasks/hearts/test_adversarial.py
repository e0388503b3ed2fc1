"""Makers and judge in turns: who moves when, the balance that is logged, resuming to the bit."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from heart_training import Evaluation, batches, train
from small_hearts import conditions

from medreg.callbacks.tabular import read_rows
from medreg.losses.generative.adversarial import AdversarialLoss
from medreg.losses.generative.cheart import CHeartLoss
from medreg.models.hearts.adversarial import AdversarialModel, ConditionalGAN, JudgedCHeart
from medreg.tasks.hearts.adversarial import AdversarialTask
from medreg.tasks.hearts.volumes import VolumeDistance
from medreg.tasks.results import CaseResult

SIZE, FRAMES = (8, 8, 8), 4


def gan() -> ConditionalGAN:
    torch.manual_seed(0)
    return ConditionalGAN(
        conditions(), frames=FRAMES, classes=4, size=SIZE, n_down=2, filters=4, latent=6,
        cell="lstmcell", first_frame="code", discriminator_filters=4,
    )  # fmt: skip


def judged() -> JudgedCHeart:
    torch.manual_seed(0)
    return JudgedCHeart(
        conditions(), discriminator_filters=4, frames=FRAMES, classes=4, size=SIZE, n_down=2, filters=4, latent=3,
        mapped=5, mapping_layers=2, mapping_hidden=6, mapping_input_norm=False, mapping_in="both", cell="lstmcell",
        cond_position="before", first_frame="recurrence", decoder="voxel", norm="batch", sampled=True,
        checkpoint=False,
    )  # fmt: skip


def task(model: AdversarialModel, scheduler=None) -> AdversarialTask:
    loss = CHeartLoss(
        beta=0.01, frame_weights="none", class_weights=None, kl_reduction="mean", beta_warmup_epochs=0,
        frames_per_step=2, displacement_weight=0.0,
    )  # fmt: skip
    adam = functools.partial(torch.optim.Adam, lr=1e-3, betas=(0.5, 0.999))
    game = AdversarialLoss(weight=0.1, real_target=0.9, judge_prior=True, hard=True)
    return AdversarialTask(
        model, loss, adversarial=game, judge_optimiser=adam, optimiser=adam, evaluation=Evaluation(),
        scheduler=scheduler, seed=3,
    )  # fmt: skip


def shapes(count: int = 10) -> torch.Tensor:
    chance = torch.Generator().manual_seed(3)
    coarse = torch.randint(0, 4, (count, FRAMES, 2, 2, 2), generator=chance).to(torch.uint8)
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3).repeat_interleave(4, 4)


@pytest.mark.parametrize("make", [gan, judged])
def test_both_sides_move_and_everything_is_told(tmp_path, make):
    work = task(make())
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    trainer = train(work, shapes(), tmp_path, 2)
    still = [name for name, value in work.model.named_parameters() if torch.equal(value, before[name])]
    assert still == []
    assert trainer.global_step == 4  # batches, not steps of optimisers
    told = {row["name"]: float(row["value"]) for row in read_rows(tmp_path / "history.csv")}
    expected = {"loss", "adversarial", "judge", "real_right", "made_right"} | (
        {"ce", "kl"} if make is judged else set()
    )
    assert {name for name in told if name.startswith("train/")} == {f"train/{name}" for name in expected}
    assert all(math.isfinite(value) for value in told.values())
    assert "val/loss" in told
    assert (tmp_path / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("make", [gan, judged])
def test_a_resumed_training_is_the_same_to_the_bit(tmp_path, make):
    schedule = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)
    whole, first = task(make(), schedule), task(make(), schedule)
    train(whole, shapes(), tmp_path / "whole", 4)
    train(first, shapes(), tmp_path / "parts", 2)
    torch.manual_seed(99)
    second = task(make(), schedule)
    train(second, shapes(), tmp_path / "parts", 4)
    for (name, one), other in zip(whole.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert (tmp_path / "whole/history.csv").read_text() == (tmp_path / "parts/history.csv").read_text()
    assert second.optimizers()[0].param_groups[0]["lr"] == pytest.approx(1e-3 / 16)


@pytest.mark.parametrize(("make", "metrics"), [(gan, []), (judged, ["code_kl", "equivalent_beta"])])
def test_a_heart_is_scored_whether_its_code_is_known_or_not(make, metrics):
    work = task(make()).eval()
    work.evaluation = lambda model, batch, *, name, device, seed: CaseResult(case="one", rows={name: []})
    with torch.no_grad():
        found = work.test_step(batches(shapes(1))[0], 0)
    assert [row.metric for row in found.rows[work.name]] == metrics


def test_the_judge_learns_to_tell_noise_from_hearts(tmp_path):
    work = task(gan())
    work._optimiser = functools.partial(torch.optim.SGD, lr=0.0)  # makers that never learn
    train(work, shapes(18), tmp_path, 12)
    told = {row["name"]: float(row["value"]) for row in read_rows(tmp_path / "history.csv")}
    assert told["train/real_right"] > 0.9
    assert told["train/made_right"] > 0.9


def test_the_game_has_its_known_values():
    game = AdversarialLoss(weight=1.0, real_target=1.0, judge_prior=True, hard=True)
    undecided = torch.zeros(2, 3)
    assert float(game.of_judge(undecided, [undecided])) == pytest.approx(math.log(2))
    assert float(game.of_makers([undecided])) == pytest.approx(math.log(2))
    sure = torch.full((2, 3), 30.0)
    assert float(game.of_judge(sure, [-sure])) == pytest.approx(0, abs=1e-9)
    assert float(game.of_makers([-sure])) == pytest.approx(30.0)


def test_the_judge_sees_ones_and_zeros_with_the_gradient_of_probabilities():
    scores = torch.randn(2, 3, 4, 2, 2, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    factor = torch.randn(scores.shape, generator=torch.Generator().manual_seed(2))
    gradients = []
    for hard in (True, False):
        shown = AdversarialLoss(weight=1.0, real_target=1.0, judge_prior=True, hard=hard).shown(scores)
        gradients += torch.autograd.grad((shown * factor).sum(), scores)
        if hard:
            torch.testing.assert_close(shown.detach(), shown.detach().round(), atol=1e-6, rtol=0)
            assert torch.equal(shown.argmax(2), scores.argmax(2))
    torch.testing.assert_close(*gradients)


def test_the_distance_of_volumes_is_zero_for_the_same_hearts_and_one_for_a_shift_of_one_sd():
    sizes = torch.tensor([10, 20, 30, 40])
    real = torch.zeros(4, 1, 100, 1, 1, dtype=torch.uint8)
    made = real.clone()
    shift = round(float(sizes.double().std(correction=0)))
    for heart, size in enumerate(sizes.tolist()):
        real[heart, 0, :size], made[heart, 0, : size + shift] = 1, 1
    distance = VolumeDistance(2)
    distance.add(real, real.flip(0))
    assert float(distance.take()) == 0
    assert not len(distance)
    distance.add(real, made)
    assert float(distance.take()) == pytest.approx(1, abs=0.02)


def test_batches_of_the_support_are_whole():
    assert sum(len(batch["shape"]) for batch in batches(shapes())) == 10
