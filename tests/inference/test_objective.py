"""The energy of θ is right, exact in its gradient, batched over chains, and open to whoever minimises or samples."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_distance import tiny_distance

from medreg.augmentation.random_convolution import Stack
from medreg.errors import CompositionError, DataError
from medreg.geometry.affine import Affine
from medreg.geometry.dense import Dense
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.svf import StationaryVelocity
from medreg.geometry.transformation import Deformation
from medreg.inference.descent import LBFGS, Adam, Effort, descend
from medreg.inference.level import Level, full_images
from medreg.inference.objective import EnergyFunction, PairEnergy
from medreg.inference.registration import Registration
from medreg.inference.smoothing import gaussian_smooth
from medreg.losses.energy import Energy
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.similarity.mi import NMI
from medreg.losses.similarity.ssd import SSD
from medreg.models.mad import MAD

FAMILIES = [Dense(), StationaryVelocity(3), FreeForm(3), FreeFormVelocity(3, 3), Affine()]
SHAPE = (9, 8)


def named(transformation):
    return type(transformation).__name__


def waves(shape, *, seed=0, dtype=torch.float64):
    """A smooth image (1, 1, *shape) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(n, dtype=dtype) for n in shape], indexing="ij")
    image = sum(
        torch.sin(sum((torch.rand(1, generator=generator) - 0.5) * 1.6 * a for a in axes) + number)
        for number in range(6)
    )
    return ((image - image.min()) / (image.max() - image.min()))[None, None].to(dtype)


def pair_energy(
    transformation, *, shape=SHAPE, similarity=None, initial=None, dtype=torch.float64, **settings
):
    masks = torch.ones(2, 1, 1, *shape, dtype=dtype)
    masks[0, ..., -2:] = 0
    masks[1, ..., :1, :] = 0
    images = full_images(
        waves(shape, dtype=dtype),
        waves(shape, seed=1, dtype=dtype),
        spacing_mm=torch.tensor([1.5, 1.0, 2.0][: len(shape)], dtype=dtype),
        fixed_mask=masks[0],
        moving_mask=masks[1],
        initial=initial,
    )
    energy = Energy(similarity or SSD(weight=2.0), Diffusion(weight=0.3))
    return PairEnergy(energy, transformation, images, **settings)


def somewhere(objective, *, size=0.3, seed=3):
    """θ away from the voxel positions, where interpolation has a kink."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(objective.shape, generator=generator, dtype=torch.float64)
    return (objective.identity() + size * (noise + 0.3)).to(objective.identity())


@pytest.mark.parametrize("transformation", FAMILIES, ids=named)
@pytest.mark.parametrize("variant", ["plain", "initial", "coarse field", "3-D"])
def test_gradient_is_exact(transformation, variant):
    initial, level, shape = None, None, SHAPE
    if variant == "initial":
        initial = torch.full((1, 2, *SHAPE), 0.21, dtype=torch.float64)
    elif variant == "coarse field":
        level, shape = Level(1.0, 0.7, iterations=1, learning_rate=1.0, field=1.7), (17, 15)
    elif variant == "3-D":
        shape = (5, 6, 5)
    objective = pair_energy(transformation, shape=shape, initial=initial, level=level).weighted(weight=0.4)
    theta = somewhere(objective).requires_grad_(True)
    assert torch.autograd.gradcheck(objective, (theta,), fast_mode=True)
    value, gradient = objective.value_and_gradient(theta)
    (expected,) = torch.autograd.grad(objective(theta).sum(), theta)
    assert not value.requires_grad
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("transformation", [Dense(), FreeFormVelocity(3, 3)], ids=named)
def test_total_is_the_sum_of_its_parts_and_of_the_energy_of_the_deformation(transformation):
    objective = pair_energy(transformation, data_weight=0.7, weight=1.9)
    theta = somewhere(objective)
    similarity, regularisation = objective.parts(theta)
    torch.testing.assert_close(objective(theta), 0.7 * similarity + regularisation)
    images, deformation = objective.images, objective.deformation(theta)
    value = objective.energy(
        images.fixed,
        images.moving,
        deformation,
        spacing_mm=images.spacing_mm,
        fixed_mask=images.fixed_mask,
        moving_mask=images.moving_mask,
        weight=1.9,
        data_weight=0.7,
    )
    torch.testing.assert_close(value.total, objective(theta)[0])
    other = objective.weighted(data_weight=torch.tensor([1.4]))
    torch.testing.assert_close(other(theta), 1.4 * similarity + regularisation)
    torch.testing.assert_close(objective(theta), 0.7 * similarity + regularisation)  # the first is as it was


def test_without_weights_the_terms_have_their_own():
    objective = pair_energy(Dense())
    theta = somewhere(objective)
    similarity, regularisation = objective.parts(theta)
    torch.testing.assert_close(objective(theta), 2.0 * similarity + regularisation)
    double = objective.weighted(weight=0.6).parts(theta)[1]
    torch.testing.assert_close(double, 2 * regularisation)


@pytest.mark.parametrize("transformation", FAMILIES, ids=named)
def test_chains_of_a_batch_equal_chains_one_by_one(transformation):
    initial = torch.full((1, 2, *SHAPE), 0.21, dtype=torch.float64)
    data_weights, weights = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([0.1, 0.0, 0.4])
    single = pair_energy(transformation, initial=initial)
    together = single.chains(3).weighted(data_weight=data_weights, weight=weights)
    theta = somewhere(together)
    energies, gradient = together.value_and_gradient(theta)
    for chain in range(3):
        alone = single.weighted(data_weight=data_weights[chain], weight=weights[chain])
        value, slope = alone.value_and_gradient(theta[chain : chain + 1])
        torch.testing.assert_close(energies[chain : chain + 1], value)
        torch.testing.assert_close(gradient[chain : chain + 1], slope)
    assert energies.unique().numel() == 3


def test_chains_share_the_images_of_their_pair():
    initial = torch.full((1, 2, *SHAPE), 0.21, dtype=torch.float64)
    single = pair_energy(Dense(), initial=initial)
    many = single.chains(50)
    assert many.shape == (50, 2, *SHAPE)
    for name, tensor in vars(single.images).items():
        shared = getattr(many.images, name)
        assert shared.data_ptr() == tensor.data_ptr()
        assert shared.shape[0] == 50


def test_chains_of_several_pairs_are_chain_after_chain():
    fixed = torch.cat([waves(SHAPE, seed=seed) for seed in (0, 1)])
    moving = torch.cat([waves(SHAPE, seed=seed) for seed in (2, 3)])
    energy = Energy(SSD(weight=1.0), Diffusion(weight=0.1))
    pairs = PairEnergy(energy, Dense(), full_images(fixed, moving), data_weight=torch.tensor([1.0, 3.0]))
    many = pairs.chains(2)
    theta = somewhere(many)
    torch.testing.assert_close(many(theta), torch.cat([pairs(theta[:2]), pairs(theta[2:])]))


def test_what_does_not_fit_is_refused():
    objective = pair_energy(Dense())
    with pytest.raises(DataError, match=r"chains\(n\)"):
        objective(objective.identity().expand(3, -1, -1, -1))
    with pytest.raises(DataError, match="one value a sample"):
        objective.weighted(data_weight=torch.ones(2))(objective.identity())


class Bowl(EnergyFunction):
    """½ (θ − c)² of each sample."""

    def __init__(self, centre):
        self.centre = centre

    def __call__(self, theta):
        return 0.5 * (theta - self.centre).square().flatten(1).sum(1)


@pytest.mark.parametrize("minimiser", [Adam(betas=(0.9, 0.99), damping=1.0), LBFGS(history=5)], ids=named)
def test_a_trace_keeps_what_it_is_asked_for(minimiser):
    seen = []
    trace = minimiser.minimise(
        Bowl(torch.tensor([1.0, -2.0])),
        torch.zeros(1, 2),
        effort=Effort(12, 0.3, 0.0),
        report=lambda iteration, theta, energies: seen.append((iteration, theta, energies)),
        thinning=3,
    )
    assert [iteration for iteration, _, _ in seen] == list(range(len(trace.energies)))
    assert len(trace.kept) == math.ceil(len(seen) / 3)
    for kept, (_, theta, energies) in zip(trace.kept, seen[::3], strict=True):
        torch.testing.assert_close(kept, theta)
        torch.testing.assert_close(Bowl(torch.tensor([1.0, -2.0]))(kept), energies)
    assert trace.kept[0].abs().max() == 0  # an update does not write into what was kept
    assert trace.lowest < 0.5
    without = minimiser.minimise(Bowl(torch.zeros(2)), torch.ones(1, 2), effort=Effort(2, 0.1, 0.0))
    assert without.kept == []


def langevin(step_length, *, generator, shape_noise=lambda noise: noise):
    """θ ← θ − τ S ∇E + √(2τ) S^½ ξ, with S^½ the shape of the noise."""

    def step(theta, gradient, _):
        noise = torch.randn(theta.shape, generator=generator, dtype=theta.dtype)
        return (
            theta
            - step_length * shape_noise(shape_noise(gradient))
            + (2 * step_length) ** 0.5 * shape_noise(noise)
        )

    return step


def gaussian_posterior():
    """An energy whose exp(−E) is a normal distribution of the displacement, and its mean and Hessian.

    The moving image is linear in x, with a channel an axis, so that warping is linear in u; the outermost voxels,
    where interpolation stops, are left out of the comparison.
    """
    shape = (4, 5)
    moving = torch.stack(torch.meshgrid(*[torch.arange(n) for n in shape], indexing="ij"))[None].double()
    generator = torch.Generator().manual_seed(0)
    fixed = moving + 0.2 * torch.randn(moving.shape, generator=generator, dtype=torch.float64)
    mask = torch.zeros(1, 1, *shape)
    mask[..., 1:-1, 1:-1] = 1
    energy = Energy(SSD(weight=1.0), Diffusion(weight=1.0))
    images = full_images(fixed, moving, fixed_mask=mask)
    objective = PairEnergy(energy, Dense(), images, data_weight=300.0, weight=400.0)

    def of_vector(flat):
        u = flat.reshape(objective.shape)
        return energy(
            fixed, moving, Deformation(u, u), fixed_mask=mask, weight=400.0, data_weight=300.0
        ).total

    origin = objective.identity().flatten() + 1e-3
    hessian = torch.autograd.functional.hessian(of_vector, origin)
    slope = torch.autograd.functional.jacobian(of_vector, origin)
    return objective, origin - torch.linalg.solve(hessian, slope), hessian


def test_langevin_chains_draw_from_a_known_posterior():
    objective, mean, hessian = gaussian_posterior()
    tau, eye = 0.3 / torch.linalg.eigvalsh(hessian).max(), torch.eye(len(mean), dtype=torch.float64)
    # The stationary covariance of the discrete chain, exact for a quadratic energy.
    covariance = torch.linalg.inv(hessian @ (eye - tau / 2 * hessian))
    chains = objective.chains(150)
    trace = descend(
        chains,
        chains.identity(),
        effort=Effort(950, 0.0, 0.0),
        step=langevin(tau, generator=torch.Generator().manual_seed(1)),
        thinning=50,
    )
    draws = torch.cat(trace.kept[8:]).flatten(1)
    assert len(draws) == 12 * 150
    assert (draws.mean(0) - mean).abs().max() < 0.03
    found = draws.T.cov()
    assert torch.linalg.norm(found - covariance) < 0.2 * torch.linalg.norm(covariance)
    torch.testing.assert_close(found.diag(), covariance.diag(), rtol=0.15, atol=0)
    # half the temperature is twice both weights, chain by chain
    cold = objective.weighted(data_weight=600.0, weight=800.0)
    torch.testing.assert_close(cold(objective.identity()), 2 * objective(objective.identity()))


def test_a_variational_fit_finds_mean_and_precision():
    """The best factorised normal of a normal posterior has its mean, and precisions of the Hessian's diagonal."""
    objective, mean, hessian = gaussian_posterior()
    draws = objective.chains(32)
    centre = objective.identity().requires_grad_(True)
    log_std = torch.full_like(centre, -1.0, requires_grad=True)
    optimiser = torch.optim.Adam([centre, log_std], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 500)
    generator = torch.Generator().manual_seed(0)
    for _ in range(500):
        half = torch.randn(16, *objective.shape[1:], generator=generator, dtype=torch.float64)
        theta = centre + log_std.exp() * torch.cat([half, -half])  # antithetic
        loss = draws(theta).mean() - log_std.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(centre.detach().flatten(), mean, rtol=0, atol=0.01)
    torch.testing.assert_close(log_std.detach().exp().flatten(), hessian.diag().rsqrt(), rtol=0.1, atol=0)


@pytest.fixture(scope="module")
def trained_distance(tmp_path_factory):
    stack = Stack(layers=4, channels=8, wide=0.0, bias=0.3, slope=0.01)
    return MAD(
        ckpt=tiny_distance(tmp_path_factory.mktemp("run")), tta_k=0, convolution=stack, seed=0, weight=1.0
    )


@pytest.mark.parametrize("measure", ["mad", "nmi", "lncc"])
@pytest.mark.parametrize("transformation", [Affine(), FreeFormVelocity(8, 4)], ids=named)
def test_any_similarity_can_be_sampled(measure, transformation, trained_distance):
    similarity = {
        "mad": trained_distance,
        "nmi": NMI(bins=16, sample_ratio=1.0, weight=1.0),
        "lncc": LNCC(window=5, weight=1.0),
    }[measure]
    fixed, moving = (waves((24, 20), seed=seed, dtype=torch.float32) for seed in (0, 1))
    energy = Energy(similarity, Bending(weight=0.1))
    objective = PairEnergy(energy, transformation, full_images(fixed, moving), data_weight=480.0)
    chains = objective.chains(3)
    noise = (lambda field: gaussian_smooth(field, 0.5)) if len(objective.shape) > 2 else (lambda field: field)
    step = langevin(1e-4, generator=torch.Generator().manual_seed(0), shape_noise=noise)
    start = chains.identity()
    trace = descend(chains, start, effort=Effort(4, 0.0, 0.0), step=step, thinning=1)
    samples = torch.stack(trace.kept)
    assert torch.isfinite(samples).all()
    assert (samples[-1, 0] - samples[-1, 1]).abs().max() > 0
    fields = torch.stack([chains.deformation(theta).displacement[:1] for theta in trace.kept])
    answer = Registration(fields[-1], fields[-1], samples[-1, :1], samples=fields)
    torch.testing.assert_close(answer.mean(), fields.mean(0))
    torch.testing.assert_close(answer.std(), fields.std(0))
    assert answer.std().max() > 0


def test_a_registration_without_samples_says_so():
    zero = torch.zeros(1, 2, 4, 4)
    with pytest.raises(CompositionError, match="0 samples and 1 are needed"):
        Registration(zero, zero, zero).mean()
    with pytest.raises(CompositionError, match="1 samples and 2 are needed"):
        Registration(zero, zero, zero, samples=zero[None]).std()
