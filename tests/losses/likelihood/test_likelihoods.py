"""Likelihoods: the mixture fits what it should, values and gradients are exact, pairs do not see one another."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Categorical, Dirichlet, MixtureSameFamily, Normal

from medreg.errors import CheckpointError, ConfigError, DataError
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.mixture import GaussianMixture
from medreg.losses.likelihood.mixture_sums import MixtureLoss, negative_log_density, sweep
from medreg.losses.likelihood.potential import Potential
from medreg.losses.likelihood.residual import Difference, LocallyStandardised
from medreg.losses.similarity.mi import NMI
from medreg.losses.similarity.ssd import SSD
from medreg.losses.tuning import Rate

SHAPES = [(12, 10), (9, 8, 7)]


def texture(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def mixture(residual=None, **changes):
    settings = {
        "residual": residual or Difference(),
        "components": 4,
        "scale_prior": (0.0, 2.3),
        "dirichlet": 0.5,
        "rate": Rate(0.2, 0.001),
        "warm_up": 25,
        "decimation": VirtualDecimation(),
    }
    return GaussianMixture(**settings | changes)


def gaussian(sigma=None, **changes):
    return Gaussian(
        **{"residual": Difference(), "sigma": sigma, "rate": Rate(0.05), "decimation": None} | changes
    )


LIKELIHOODS = {
    "mixture": mixture,
    "mixture_lcc": lambda: mixture(LocallyStandardised(window=3, eps=1e-4)),
    "plain": lambda: mixture(decimation=None),
    "gaussian": gaussian,
    "fixed": lambda: gaussian(0.3),
    "decimated": lambda: gaussian(0.3, decimation=VirtualDecimation()),
    "ssd": lambda: Potential(similarity=SSD(weight=2.0)),
}


def reference(numbers):
    """The mixture of numbers (1, 2K) by torch."""
    log_scales, logits = numbers[0].chunk(2)
    return MixtureSameFamily(
        Categorical(logits=logits), Normal(torch.zeros_like(log_scales), log_scales.exp())
    )


def test_a_known_mixture_is_found():
    """Two components, a hundred thousand residuals."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.rand(1, 1, 400, 250, dtype=torch.float64, generator=generator) < 0.3
    residual = torch.randn(wide.shape, dtype=torch.float64, generator=generator) * torch.where(wide, 1.0, 0.1)
    likelihood = mixture(components=2, decimation=None, rate=Rate(0.2, 0.02))
    fixed = texture(1, 1, 400, 250)
    likelihood.start(fixed - residual, fixed)
    for _ in range(300):
        likelihood(fixed - residual, fixed, adapt=True)
    scales, shares = likelihood.scales[0].sort()
    assert scales.tolist() == pytest.approx([0.1, 1.0], rel=0.03)
    assert likelihood.shares[0][shares].tolist() == pytest.approx([0.7, 0.3], abs=0.02)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sums_are_those_of_torch(masked, dtype):
    """Far more voxels than one chunk, in the far tails too."""
    residual = 3 * torch.randn(2, 50_000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    residual[0, :5] = 300.0
    numbers = torch.tensor(
        [[-4.0, 0.0, 1.0, 0.3, 0.0, -2.0], [0.5, -1.0, 0.0, 0.0, 1.0, 0.0]], dtype=torch.float64
    )
    mask = texture(2, 50_000, seed=3).to(dtype) if masked else None
    weights = torch.ones(2, 50_000, dtype=torch.float64) if mask is None else mask.double()
    found, moments = sweep(residual, mask, numbers, moments=False), sweep(residual, mask, numbers)
    tolerance = {"rtol": 1e-4 if dtype == torch.float32 else 1e-9, "atol": 1e-6}
    for pair in range(2):
        known = reference(numbers[pair : pair + 1])
        value = -(weights[pair] * known.log_prob(residual[pair].double())).sum()
        torch.testing.assert_close(found.value[pair], value, **tolerance)
        logs = known.component_distribution.log_prob(residual[pair].double()[:, None])
        gamma = (logs + known.mixture_distribution.logits).softmax(1)
        torch.testing.assert_close(moments.counts[pair], (weights[pair, :, None] * gamma).sum(0), **tolerance)
        squares = residual[pair].double().square()[:, None]
        torch.testing.assert_close(
            moments.squares[pair], (weights[pair, :, None] * gamma * squares).sum(0), **tolerance
        )
        precision = (gamma / known.component_distribution.scale.square()).sum(1)
        torch.testing.assert_close(found.precision[pair].double(), precision, rtol=1e-4, atol=1e-6)
    assert torch.equal(found.precision, moments.precision)


def test_gradient_and_curvature_of_the_density():
    residual = torch.randn(2, 1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    residual.requires_grad_(True)
    numbers = torch.tensor([[-1.0, 0.5, 0.3, 0.0], [0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
    mask = texture(2, 20, seed=2)
    from medreg.losses.fused import fused

    def value(r):
        return fused(MixtureLoss(numbers, mask), r)

    assert torch.autograd.gradcheck(value, residual)
    assert torch.autograd.gradgradcheck(value, residual)
    values = (negative_log_density(residual.flatten(1), numbers) * mask).sum(1)
    torch.testing.assert_close(value(residual), values)


@pytest.mark.parametrize("decimated", [False, True])
def test_a_step_goes_down_the_gradient_of_the_joint_density(decimated):
    """The first step of Adam is the sign of the gradient: that of autograd, whichever way it is computed."""
    fixed, warped = texture(1, 1, 14, 11), texture(1, 1, 14, 11, seed=1)
    likelihood = mixture(warm_up=0, decimation=VirtualDecimation() if decimated else None)
    likelihood.start(warped, fixed)
    steps = []
    likelihood._tuned.step = steps.append
    likelihood(warped, fixed, adapt=True)
    numbers = likelihood._tuned.values.clone().requires_grad_(True)
    log_scales, logits = numbers.chunk(2, 1)
    data = -reference(numbers).log_prob((fixed - warped).flatten()).sum() * likelihood.share
    prior = Normal(0.0, 2.3).log_prob(log_scales).sum()
    dirichlet = Dirichlet(torch.full((4,), 0.5, dtype=torch.float64)).log_prob(logits.softmax(1)).sum()
    (gradient,) = torch.autograd.grad((data - prior - dirichlet).sum(), numbers)
    torch.testing.assert_close(steps[0], gradient)
    torch.testing.assert_close(likelihood.penalty()[0], -(prior + dirichlet).detach())


def test_where_the_mixture_starts():
    fixed, warped = texture(2, 1, 20, 18), texture(2, 1, 20, 18, seed=1)
    warped[1] *= 0.5
    likelihood = mixture(warm_up=0)
    likelihood.start(warped, fixed)
    for pair in range(2):
        spread = (fixed - warped)[pair].std(correction=0)
        torch.testing.assert_close(
            likelihood.scales[pair].log(),
            torch.linspace(float((spread / 100).log()), float((5 * spread).log()), 4, dtype=torch.float64),
        )
    torch.testing.assert_close(likelihood.shares, torch.full((2, 4), 0.25, dtype=torch.float64))
    assert mixture()._numbers is None
    warm = mixture()
    warm.start(warped, fixed)
    assert warm._tuned.steps == 25


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_pairs_in_a_batch_equal_pairs_alone(name, shape):
    fixed, warped = texture(2, 1, *shape), texture(2, 1, *shape, seed=1)
    warped[1] = 0.7 * warped[1] + 0.3 * fixed[1]
    mask = (texture(2, 1, *shape, seed=5) > 0.1).double()
    together = LIKELIHOODS[name]()
    for _ in range(3):
        values = together(warped, fixed, mask=mask, adapt=True)
    for pair in range(2):
        chosen = slice(pair, pair + 1)
        alone = LIKELIHOODS[name]()
        for _ in range(3):
            value = alone(warped[chosen], fixed[chosen], mask=mask[chosen], adapt=True)
        torch.testing.assert_close(values[chosen], value)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_chains_share_the_numbers_of_their_pair(name):
    fixed, warped = texture(2, 1, 9, 8), texture(6, 1, 9, 8, seed=1)
    likelihood = LIKELIHOODS[name]()
    likelihood.prepare(2, fixed)
    values = likelihood(warped, fixed)
    for chain in range(3):
        chosen = slice(2 * chain, 2 * chain + 2)
        torch.testing.assert_close(values[chosen], likelihood(warped[chosen], fixed))
    if name.startswith("mixture"):
        before = likelihood._tuned.steps
        adapted = likelihood(warped, fixed, adapt=True)
        assert likelihood._tuned.steps == before + 3
        # the last chain sees the numbers as they are now
        torch.testing.assert_close(adapted[4:], likelihood(warped[4:], fixed) * 1.0, rtol=0.2, atol=0.0)


@pytest.mark.parametrize("name", LIKELIHOODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_voxels_outside_the_mask_contribute_nothing(name, shape):
    fixed, warped = texture(1, 1, *shape), texture(1, 1, *shape, seed=1)
    mask = torch.zeros(1, 1, *shape)
    mask[..., 2:-2, 1:-2] = 1
    plain, wild = LIKELIHOODS[name](), LIKELIHOODS[name]()
    value = plain(warped, fixed, mask=mask, adapt=True)
    noisy = [image.masked_fill(mask == 0, float("nan")).requires_grad_(True) for image in (warped, fixed)]
    found = wild(*noisy, mask=mask, adapt=True)
    torch.testing.assert_close(found, value)
    (gradient,) = torch.autograd.grad(found.sum(), noisy[0])
    assert gradient.isfinite().all()
    assert (gradient * (1 - mask)).abs().max() == 0
    # and the value is a sum: a mask of half the weight gives half of it, up to the share and the learnt numbers
    if name in ("fixed", "ssd"):
        torch.testing.assert_close(plain(warped, fixed, mask=0.5 * mask), 0.5 * value)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_resumed_bit_by_bit(name):
    fixed, warped = texture(2, 1, 9, 8, dtype=torch.float32), texture(2, 1, 9, 8, seed=1, dtype=torch.float32)
    one = LIKELIHOODS[name]()
    for _ in range(3):
        one(warped, fixed, adapt=True)
    other = LIKELIHOODS[name]()
    other.prepare(2, fixed)
    other.load_state(one.state())
    for _ in range(3):
        assert torch.equal(one(warped, fixed, adapt=True), other(warped, fixed, adapt=True))
    if name.startswith("mixture"):
        stranger = LIKELIHOODS[name]()
        stranger.prepare(3, fixed)
        with pytest.raises(CheckpointError, match="shape"):
            stranger.load_state(one.state())


def test_gaussian_is_the_normal_density():
    fixed, warped = texture(1, 1, 9, 8), texture(1, 1, 9, 8, seed=1)
    known = -Normal(0.0, torch.tensor(0.3, dtype=torch.float64)).log_prob(fixed - warped).sum()
    assert float(gaussian(0.3)(warped, fixed)) == pytest.approx(float(known), rel=1e-12)


def test_the_learnt_deviation_is_the_root_mean_square():
    fixed, warped = texture(2, 1, 30, 20), texture(2, 1, 30, 20, seed=1)
    likelihood = gaussian(rate=Rate(0.05, 0.01))
    likelihood.start(warped, fixed)
    known = (fixed - warped).flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(likelihood.sigma, known)
    narrower = fixed + 0.5 * (warped - fixed)
    for _ in range(300):
        likelihood(narrower, fixed, adapt=True)
    torch.testing.assert_close(likelihood.sigma, 0.5 * known, rtol=1e-3, atol=0)


@pytest.mark.parametrize("similarity", [SSD(weight=0.7), NMI(weight=0.7, bins=16, sample_ratio=1.0)])
def test_a_potential_is_weight_times_voxels_times_similarity(similarity):
    fixed, warped = texture(1, 1, 12, 10), texture(1, 1, 12, 10, seed=1)
    mask = torch.zeros(1, 1, 12, 10)
    mask[..., 2:9, 3:8] = 1
    value = Potential(similarity=similarity)(warped, fixed, mask=mask)
    torch.testing.assert_close(value, 0.7 * 35 * similarity(warped, fixed, mask=mask).double())
    other = Potential(similarity=similarity, weight=3.0)(warped, fixed)
    torch.testing.assert_close(other, 3.0 * 120 * similarity(warped, fixed).double())


def test_bad_input_is_a_sentence():
    fixed = texture(1, 1, 9, 8)
    likelihood = mixture()
    with pytest.raises(DataError, match=r"mask of pair 0 is empty"):
        likelihood.start(fixed, fixed, torch.zeros(1, 1, 9, 8))
    with pytest.raises(DataError, match=r"fixed image of pair 0 is constant"):
        likelihood.start(fixed, torch.ones_like(fixed))
    with pytest.raises(DataError, match=r"moving image of pair 0 is constant inside the mask"):
        likelihood.start(torch.ones_like(fixed), fixed, torch.ones(1, 1, 9, 8))
    with pytest.raises(DataError, match="NaN"):
        likelihood.start(fixed * math.nan, fixed)
    for bad in ({"components": 0}, {"warm_up": -1}, {"scale_prior": (0.0, 0.0)}, {"dirichlet": 0.0}):
        with pytest.raises(ConfigError, match="likelihood"):
            mixture(**bad)
    with pytest.raises(ConfigError, match=r"likelihood\.sigma"):
        gaussian(-0.1)
    with pytest.raises(ConfigError, match="learning_rate"):
        Rate(-0.1)


def test_one_image_twice_can_be_started():
    """Nothing to explain: the widths start at a floor, and the value is finite."""
    fixed = texture(1, 1, 9, 8)
    for likelihood in (mixture(), gaussian()):
        assert likelihood(fixed, fixed, adapt=True).isfinite().all()


def test_pixels_that_are_one_and_the_same_do_not_swallow_a_component():
    """Padding on both images: its residuals are exactly zero, and no width falls upon them without end."""
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(1, 1, 24, 24, generator=generator)
    fixed[..., :12, :] = 0
    warped = fixed + 0.05 * torch.randn(fixed.shape, generator=generator) * (fixed > 0)
    mixture = GaussianMixture(
        residual=Difference(), components=4, scale_prior=(0.0, 2.3), dirichlet=0.5, rate=Rate(0.2), warm_up=25,
        decimation=VirtualDecimation(),
    )  # fmt: skip
    mixture.start(warped, fixed)
    for _ in range(300):
        value = mixture(warped.requires_grad_(), fixed, adapt=True)
    (gradient,) = torch.autograd.grad(value.sum(), warped)
    assert gradient.isfinite().all()
    assert value.isfinite().all()
    assert float(mixture.scales.min()) >= 0.99e-2 * float(fixed.std())
