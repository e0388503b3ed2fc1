"""The terms of CHeart's loss against known numbers, and what β means."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError, DataError
from medreg.losses.generative.cheart import CHeartLoss
from medreg.losses.generative.cross_entropy import frame_weights, sequence_cross_entropy
from medreg.losses.generative.divergence import active_dimensions, equivalent_beta, gaussian_divergence
from medreg.models.hearts.base import SequenceOutput

SIZE = (4, 3, 2)
PLAIN = {
    "beta": 0.01,
    "frame_weights": "none",
    "class_weights": None,
    "kl_reduction": "mean",
    "beta_warmup_epochs": 0,
    "frames_per_step": None,
    "displacement_weight": 0.01,
}


def drawn(frames=5, seed=0):
    chance = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, frames, 4, *SIZE, generator=chance)
    return scores, torch.randint(0, 4, (2, frames, *SIZE), generator=chance, dtype=torch.uint8)


def by_hand(scores, shape, weights, class_weights=None):
    """As the released training script has it, frame by frame."""
    given = None if class_weights is None else torch.tensor(class_weights)
    each = [
        torch.nn.functional.cross_entropy(scores[:, t], shape[:, t].long(), weight=given)
        for t in range(scores.shape[1])
    ]
    return sum(w * ce for w, ce in zip(weights, each, strict=True)) / sum(weights)


def test_divergence_of_known_distributions():
    zero = torch.zeros(3, 8)
    assert float(gaussian_divergence(zero, zero, reduction="mean")) == 0.0
    for size in (1, 8, 32):
        one = torch.ones(3, size)
        assert float(gaussian_divergence(one, 0 * one, reduction="mean")) == pytest.approx(0.5)
        assert float(gaussian_divergence(one, 0 * one, reduction="sum")) == pytest.approx(0.5 * size)
    spread = torch.full((1, 1), math.log(4.0))
    assert float(gaussian_divergence(0 * spread, spread, reduction="mean")) == pytest.approx(
        0.5 * (3 - math.log(4))
    )


def test_uniform_scores_cost_the_logarithm_of_the_classes():
    _, shape = drawn()
    scores = torch.zeros(2, 5, 4, *SIZE)
    assert float(sequence_cross_entropy(scores, shape, weights=torch.ones(5))) == pytest.approx(math.log(4))


@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 2.0, 2.0), (1.0, 1.0, 1.0, 1.0)])
@pytest.mark.parametrize("weights", [(1.0,) * 5, (1.0, 2.0, 2.0, 1.0, 1.0)])
def test_sequence_is_that_of_the_release(class_weights, weights):
    scores, shape = drawn()
    found = sequence_cross_entropy(scores, shape, weights=torch.tensor(weights), class_weights=class_weights)
    torch.testing.assert_close(found, by_hand(scores, shape, weights, class_weights))


def test_systole_is_that_of_the_release():
    weights = frame_weights("systole", torch.arange(20), 20)
    assert weights.tolist() == [1.0] * 3 + [2.0] * 11 + [1.0] * 6
    shorter = frame_weights("systole", torch.arange(10), 10)  # the same phases
    assert shorter.tolist() == [1.0] * 2 + [2.0] * 6 + [1.0] * 2
    assert frame_weights("systole", torch.tensor([1, 12]), 20).tolist() == [1.0, 2.0]


def test_weights_are_normalised():
    scores, shape = drawn(frames=1)
    scores, shape = scores.expand(-1, 20, -1, -1, -1, -1), shape.expand(-1, 20, -1, -1, -1)
    plain, systole = (
        sequence_cross_entropy(scores, shape, weights=frame_weights(kind, torch.arange(20), 20))
        for kind in ("none", "systole")
    )
    torch.testing.assert_close(plain, systole)


@pytest.mark.parametrize("class_weights", [None, (1.0, 2.0, 2.0, 2.0)])
def test_gradient_of_the_cross_entropy(class_weights):
    scores, shape = drawn()
    ours, theirs = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    sequence_cross_entropy(ours, shape, weights=torch.ones(5), class_weights=class_weights).backward()
    by_hand(theirs, shape, (1.0,) * 5, class_weights).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def output_of(frames=None):
    scores, shape = drawn()
    mean, log_variance = torch.full((2, 3), 1.0), torch.zeros(2, 3)
    chosen = torch.arange(5) if frames is None else torch.tensor(frames)
    output = SequenceOutput(scores[:, chosen], chosen, mean, log_variance, torch.tensor(2.0))
    return output, shape, scores


def test_loss_is_the_sum_of_its_weighted_terms():
    output, shape, scores = output_of()
    parts = CHeartLoss(**PLAIN)(output, shape)
    ce = by_hand(scores, shape, (1.0,) * 5)
    torch.testing.assert_close(parts.loss, ce + 0.01 * 0.5 + 0.01 * 2.0)
    torch.testing.assert_close(parts.ce, ce)
    assert float(parts.kl) == pytest.approx(0.5)
    assert float(parts.penalty) == 2.0


def test_some_frames_are_judged_by_themselves():
    output, shape, scores = output_of([1, 3])
    parts = CHeartLoss(**PLAIN)(output, shape)
    torch.testing.assert_close(parts.ce, by_hand(scores[:, [1, 3]], shape[:, [1, 3]], (1.0, 1.0)))


def test_a_code_that_is_not_drawn_has_no_divergence():
    output, shape, _ = output_of()
    plain = SequenceOutput(output.scores, output.frames, output.mean, None, None)
    parts = CHeartLoss(**PLAIN)(plain, shape)
    assert float(parts.kl) == 0.0
    assert float(parts.loss) == float(parts.ce)


def test_warm_up_rises_to_beta():
    loss = CHeartLoss(**{**PLAIN, "beta": 0.4, "beta_warmup_epochs": 4})
    assert [loss.beta_at(epoch) for epoch in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert CHeartLoss(**PLAIN).beta_at(0) == 0.01


def test_equivalent_beta_of_the_paper():
    whole = {"frames": 20, "size": (128, 128, 64), "latent": 32}
    assert equivalent_beta(0.01, **whole, reduction="mean") == pytest.approx(6553.6)
    assert equivalent_beta(0.01, **whole, reduction="sum") == pytest.approx(32 * 6553.6)


def test_equivalent_beta_balances_the_same_terms():
    """T |S| (CE + β KL_mean) = Σ CE + β* KL_sum."""
    scores, shape = drawn()
    mean, log_variance = torch.randn(2, 7), torch.randn(2, 7)
    ce = sequence_cross_entropy(scores, shape, weights=torch.ones(5))
    voxels = 5 * math.prod(SIZE)
    star = equivalent_beta(0.3, frames=5, size=SIZE, latent=7, reduction="mean")
    left = voxels * (ce + 0.3 * gaussian_divergence(mean, log_variance, reduction="mean"))
    right = voxels * ce + star * gaussian_divergence(mean, log_variance, reduction="sum")
    torch.testing.assert_close(left, right)


def test_active_dimensions_are_those_that_vary():
    assert active_dimensions(torch.tensor([0.0, 0.04, 0.06, 1.0]), 0.05) == 2


def test_frames_of_a_step_follow_from_the_chance_alone():
    loss = CHeartLoss(**{**PLAIN, "frames_per_step": 4})
    found = [loss.draw_frames(10, torch.Generator().manual_seed(seed)).tolist() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 4
    assert found[0] == sorted(found[0])
    assert max(found[0]) < 10
    assert loss.draw_frames(4, torch.Generator()) is None
    assert CHeartLoss(**PLAIN).draw_frames(9, torch.Generator()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", -1.0),
        ("kl_reduction", "max"),
        ("frame_weights", "diastole"),
        ("frames_per_step", 0),
        ("beta_warmup_epochs", -1),
        ("class_weights", [0.0, 0.0]),
        ("displacement_weight", -0.1),
    ],
)
def test_wrong_options_are_told(name, value):
    with pytest.raises(ConfigError, match=rf"loss\.{name}"):
        CHeartLoss(**{**PLAIN, name: value})


def test_arrays_that_do_not_belong_together_are_told():
    scores, shape = drawn()
    with pytest.raises(DataError, match="do not belong together"):
        sequence_cross_entropy(scores, shape[:, :4], weights=torch.ones(5))
    with pytest.raises(DataError, match=r"loss\.class_weights"):
        sequence_cross_entropy(scores, shape, weights=torch.ones(5), class_weights=(1.0, 2.0))
