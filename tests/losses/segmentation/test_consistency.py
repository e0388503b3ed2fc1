"""Consistency: KL, MSE and contour by hand, masks, and the defects of the release as switches."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import CompositionError, ConfigError, DataError
from medreg.losses.segmentation.consistency import Consistency

# probabilities of class 1 at four voxels; class 0 has the rest
P = torch.tensor([[0.5, 0.8], [0.2, 0.9]])
Q = torch.tensor([[0.6, 0.6], [0.2, 0.5]])


def scores(foreground):
    """(1, 2, 2, 2) scores whose softmax is (1 − p, p)."""
    return torch.stack([1 - foreground, foreground]).log().unsqueeze(0)


def value(mask=None, **options):
    loss = Consistency(**{"contour": 0.0, **options})
    return float(loss(scores(P), scores(Q), mask))


def random_scores(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_kl_by_hand():
    terms = [p * math.log(p / q) for p, q in zip(P.flatten().tolist(), Q.flatten().tolist(), strict=True)]
    terms += [
        (1 - p) * math.log((1 - p) / (1 - q))
        for p, q in zip(P.flatten().tolist(), Q.flatten().tolist(), strict=True)
    ]
    assert value(divergence="kl") == pytest.approx(sum(terms) / 4, rel=1e-5)


def test_mse_by_hand_is_a_sum_over_classes_and_a_mean_over_voxels():
    # differences −0.1, 0.2, 0, 0.4 in both classes
    assert value(divergence="mse") == pytest.approx(2 * (0.01 + 0.04 + 0.16) / 4, rel=1e-5)


def test_contour_by_hand():
    # d = p − q; Sobel of a 2×2 image with zeros outside, row by row:
    d = [[-0.1, 0.2], [0.0, 0.4]]
    along_x = [2 * d[1][0] + d[1][1], d[1][0] + 2 * d[1][1], 2 * d[0][0] + d[0][1], d[0][0] + 2 * d[0][1]]
    along_y = [2 * d[0][1] + d[1][1], 2 * d[0][0] + d[1][0], d[0][1] + 2 * d[1][1], d[0][0] + 2 * d[1][0]]
    expected = 0.5 * (sum(v * v for v in along_x) + sum(v * v for v in along_y)) / 4
    assert value(weight=0.0, contour=1.0) == pytest.approx(expected, rel=1e-5)
    assert value(contour=0.5, divergence="mse") == pytest.approx(0.105 + 0.5 * expected, rel=1e-5)


def test_weight_multiplies_the_divergence_alone():
    assert value(weight=3.0, divergence="mse") == pytest.approx(3 * value(divergence="mse"), rel=1e-6)


def test_equal_predictions_cost_nothing():
    for divergence in ("kl", "mse"):
        s = random_scores(2, 4, 6, 5, seed=0)
        assert float(Consistency(divergence=divergence)(s, s + 1.5)) == pytest.approx(0.0, abs=1e-6)


def test_a_contour_leaves_the_background_out():
    """The maps of two foreground classes are averaged; a third class that takes from both counts, too."""
    p, q = random_scores(1, 3, 6, 5, seed=1), random_scores(1, 3, 6, 5, seed=2)
    whole = float(Consistency(weight=0.0, contour=1.0)(p, q))
    order = [0, 2, 1]
    assert float(Consistency(weight=0.0, contour=1.0)(p[:, order], q[:, order])) == pytest.approx(whole)
    other = float(Consistency(weight=0.0, contour=1.0)(p[:, [1, 0, 2]], q[:, [1, 0, 2]]))
    assert abs(other - whole) > 1e-3


def test_mse_does_not_depend_on_the_batch_nor_on_the_size_of_voxels():
    p, q = random_scores(1, 4, 6, 5, seed=3), random_scores(1, 4, 6, 5, seed=4)
    loss = Consistency(divergence="mse", contour=0.0)
    once = float(loss(p, q))
    assert float(loss(p.repeat(3, 1, 1, 1), q.repeat(3, 1, 1, 1))) == pytest.approx(once, rel=1e-5)
    fine = [s.repeat_interleave(2, 2).repeat_interleave(2, 3) for s in (p, q)]
    assert float(loss(*fine)) == pytest.approx(once, rel=1e-5)


def test_the_released_mse_is_divided_once_more():
    p, q = random_scores(2, 4, 6, 5, seed=3), random_scores(2, 4, 6, 5, seed=4)
    right = float(Consistency(divergence="mse", contour=0.0)(p, q))
    released = float(Consistency(divergence="mse", contour=0.0, mse_released=True)(p, q))
    assert released == pytest.approx(right / (4 * 2 * 6 * 5), rel=1e-5)


@pytest.mark.parametrize("divergence", ["kl", "mse"])
def test_what_lies_outside_the_mask_has_no_say(divergence):
    p, q = random_scores(2, 3, 8, 7, seed=5), random_scores(2, 3, 8, 7, seed=6)
    mask = torch.ones(2, 1, 8, 7)
    mask[:, :, :3] = 0
    loss = Consistency(divergence=divergence)
    changed = torch.where(mask.bool(), q, random_scores(2, 3, 8, 7, seed=7) * 30)
    assert torch.equal(loss(p, changed, mask), loss(p, q, mask))
    released = Consistency(divergence=divergence, contour_unmasked=True)
    assert not torch.allclose(released(p, changed, mask), released(p, q, mask))


def test_a_mask_makes_the_loss_of_an_image_smaller_but_not_that_of_the_mask():
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).reshape(1, 1, 2, 2)
    inside = 2 * (0.01 + 0.16)
    assert value(mask, divergence="mse") == pytest.approx(inside / 4, rel=1e-5)
    assert value(mask, divergence="mse", normalise="mask") == pytest.approx(inside / 2, rel=1e-5)


@pytest.mark.parametrize("normalise", ["image", "mask"])
def test_an_empty_mask_costs_nothing(normalise):
    s = scores(Q).requires_grad_()
    loss = Consistency(normalise=normalise)(scores(P), s, torch.zeros(1, 1, 2, 2))
    (gradient,) = torch.autograd.grad(loss, s)
    assert float(loss.detach()) == 0.0
    assert torch.equal(gradient, torch.zeros_like(s))


def test_samples_do_not_depend_on_their_neighbours():
    p, q = random_scores(2, 3, 8, 7, seed=5), random_scores(2, 3, 8, 7, seed=6)
    both = Consistency().per_sample(p, q)
    assert both.shape == (2,)
    assert torch.allclose(both[:1], Consistency().per_sample(p[:1], q[:1]))


def test_volumes_weigh_all_axes_and_the_released_contour_is_blind_to_the_first():
    p = random_scores(1, 2, 6, 5, 4, seed=1)
    step = torch.zeros(1, 2, 6, 5, 4)
    step[:, 1, 3:] = 4.0  # differs along the first axis alone
    interior = torch.zeros(1, 1, 6, 5, 4)
    interior[:, :, 2:4, 1:-1, 1:-1] = 1
    flat = torch.zeros_like(step)
    right = Consistency(weight=0.0, contour=1.0, contour_unmasked=True)
    blind = Consistency(weight=0.0, contour=1.0, contour_unmasked=True, sobel_released=True)
    assert float(right(flat, step, interior)) > 0.01
    assert float(blind(flat, step, interior)) == pytest.approx(0.0, abs=1e-9)
    for axes in ((0, 1, 3, 2, 4), (0, 1, 4, 3, 2)):  # the right one treats all axes alike
        turned = float(right(p.permute(axes), flat.permute(axes)))
        assert turned == pytest.approx(float(right(p, flat)), rel=1e-5)


def test_half_precision_is_compared_in_single():
    p, q = random_scores(1, 4, 32, 32, seed=1), random_scores(1, 4, 32, 32, seed=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = Consistency()(p.bfloat16(), q.bfloat16())
    assert found.dtype == torch.float32
    assert torch.allclose(found, Consistency()(p.bfloat16().float(), q.bfloat16().float()))


def test_what_does_not_fit_is_refused():
    s = torch.zeros(1, 2, 4, 4)
    with pytest.raises(DataError, match="reference has shape"):
        Consistency()(torch.zeros(1, 3, 4, 4), s)
    with pytest.raises(DataError, match="mask has shape"):
        Consistency()(s, s, torch.ones(1, 2, 4, 4))
    with pytest.raises(CompositionError, match="one output channel"):
        Consistency()(s[:, :1], s[:, :1])
    with pytest.raises(ConfigError, match=r"consistency\.divergence"):
        Consistency(divergence="dice")
    with pytest.raises(ConfigError, match=r"consistency\.weight"):
        Consistency(weight=-1)
