"""The posterior energy: a closed form, exact gradients, masks, pairs and chains, and resumption bit by bit."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from ramp_problem import ramp_problem

from medreg.errors import CompositionError, ConfigError, DataError
from medreg.geometry.affine import Affine
from medreg.geometry.dense import Dense
from medreg.geometry.ffd import FreeForm, FreeFormVelocity
from medreg.geometry.sobolev import SobolevFilter
from medreg.geometry.svf import StationaryVelocity
from medreg.inference.level import full_images
from medreg.inference.objective import EnergyFunction, PairEnergy
from medreg.inference.posterior import PosteriorEnergy
from medreg.losses.energy import Energy
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.gaussian import Gaussian
from medreg.losses.likelihood.mixture import GaussianMixture
from medreg.losses.likelihood.potential import Potential
from medreg.losses.likelihood.residual import Difference, LocallyStandardised
from medreg.losses.prior import potential as prior_potential
from medreg.losses.prior.fixed import Fixed
from medreg.losses.prior.lognormal import LogNormal
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.lncc import LNCC
from medreg.losses.tuning import Rate

SHAPES = [(9, 8), (7, 8, 6)]
ROOT = SobolevFilter(half_width=2, strength=0.5)


def waves(shape, *, pairs=1, seed=0, dtype=torch.float64):
    """Smooth images (pairs, 1, *shape) in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(n, dtype=dtype) for n in shape], indexing="ij")
    images = []
    for _ in range(pairs):
        image = sum(
            torch.sin(sum((torch.rand(1, generator=generator) - 0.5) * 1.6 * a for a in axes) + number)
            for number in range(6)
        )
        images.append((image - image.min()) / (image.max() - image.min()))
    return torch.stack(images)[:, None].to(dtype)


def mixture(residual=None, decimation=None):
    return GaussianMixture(
        residual=residual or LocallyStandardised(window=3, eps=1e-2),
        components=3,
        scale_prior=(0.0, 2.3),
        dirichlet=0.5,
        rate=Rate(0.2, 0.001),
        warm_up=5,
        decimation=decimation,
    )


def lognormal():
    return LogNormal(
        regulariser=Diffusion(weight=1.0, units="voxel"),
        weight=1.4,
        log_scale_prior=(2.8, 5.0),
        rate=Rate(0.01),
    )


def posterior(shape, *, pairs=1, dtype=torch.float64, transformation=None, masks=True, **changes):
    fixed_mask, moving_mask = torch.ones(2, pairs, 1, *shape, dtype=dtype)
    fixed_mask[..., -2:] = 0
    moving_mask[..., :1, :] = 0
    settings = {
        "likelihood": mixture(),
        "prior": lognormal(),
        "transformation": transformation or StationaryVelocity(3),
        "images": full_images(
            waves(shape, pairs=pairs, dtype=dtype),
            waves(shape, pairs=pairs, seed=1, dtype=dtype),
            spacing_mm=torch.tensor([1.5, 1.0, 2.0][: len(shape)], dtype=dtype),
            fixed_mask=fixed_mask if masks else None,
            moving_mask=moving_mask if masks else None,
        ),
        "smoothing": ROOT,
        "jitter": 0.0,
    }
    return PosteriorEnergy(**settings | changes)


def latent(energy, *, scale=0.4, seed=4):
    like = energy.identity()
    return scale * torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5)])
def test_the_ramp_has_the_posterior_of_its_closed_form(shape):
    """U is quadratic with the Hessian (g²/s²) I + λL and its minimum at the known mean."""
    ramp = ramp_problem(shape, ridge=0.0)
    energy, start = ramp.energy, ramp.mean.view(1, 1, *shape)
    hessian = torch.autograd.functional.hessian(lambda z: energy(z).sum(), start)
    size = len(ramp.mean)
    torch.testing.assert_close(hessian.view(size, size), ramp.precision, atol=1e-9, rtol=1e-9)
    _, gradient = energy.value_and_gradient(start)
    torch.testing.assert_close(gradient, torch.zeros_like(start), atol=1e-9, rtol=0)
    step = ramp.truth.view_as(start) - start
    rise = energy(start + step) - energy(start)
    flat = step.flatten()
    torch.testing.assert_close(rise[0], 0.5 * flat @ ramp.precision @ flat)


def test_the_hessian_of_the_latent_field_is_that_of_theta_between_two_roots():
    ramp = ramp_problem((6, 5), smoothing=ROOT)
    energy = ramp.energy
    start = energy.latent(ramp.mean.view(1, 1, 6, 5))
    hessian = torch.autograd.functional.hessian(lambda z: energy(z).sum(), start).view(30, 30)
    root = energy.parameters(torch.eye(30, dtype=torch.float64).view(30, 1, 6, 5)).flatten(1)
    torch.testing.assert_close(hessian, root @ ramp.precision @ root, atol=1e-9, rtol=1e-9)
    _, gradient = energy.value_and_gradient(start)
    torch.testing.assert_close(gradient, torch.zeros_like(start), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(6, 5), (5, 4, 4)])
@pytest.mark.parametrize(
    "transformation", [Dense(), StationaryVelocity(2), FreeFormVelocity(3, 2), FreeForm(3)]
)
def test_the_gradient_is_exact_through_the_root(shape, transformation):
    energy = posterior(shape, transformation=transformation, masks=False)
    z = latent(energy, scale=0.3)
    energy.start(z)
    assert torch.autograd.gradcheck(energy, z.requires_grad_(True), atol=1e-6)


def test_masks_in_the_gradient():
    energy = posterior((7, 6))
    z = latent(energy, scale=0.2)
    energy.start(z)
    assert torch.autograd.gradcheck(energy, z.requires_grad_(True), atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_masked_intensities_have_no_influence(shape):
    plain = posterior(shape)
    z = latent(plain)
    plain.start(z)
    images = copy.copy(plain.images)
    wild = {
        name: getattr(images, name).masked_fill(getattr(images, f"{name}_mask") == 0, math.nan)
        for name in ("fixed", "moving")
    }
    other = posterior(shape, images=full_images(**{**vars(images), **wild}))
    other.start(z)
    for one, two in zip(plain.value_and_gradient(z), other.value_and_gradient(z), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_released_filter_hands_the_gradient_of_theta_through(shape):
    released = SobolevFilter(half_width=2, strength=0.5, form="released", boundary="replicate")
    energy = posterior(shape, smoothing=released)
    z = latent(energy)
    energy.start(z)
    bare = copy.copy(energy)
    bare.smoothing = None
    value, gradient = energy.value_and_gradient(z)
    known_value, known = bare.value_and_gradient(released(z))
    torch.testing.assert_close(value, known_value)
    assert torch.equal(gradient, known)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("masks", [False, True])
def test_pairs_and_chains_equal_one_by_one(shape, masks):
    energy = posterior(shape, pairs=2, masks=masks)
    many = energy.chains(3)
    z = latent(many)
    energy.start(z[:2])
    values, gradients = many.value_and_gradient(z)
    for sample in range(6):
        pair = sample % 2
        one = posterior(shape, pairs=2, masks=masks)
        images = full_images(
            **{name: None if t is None else t[pair : pair + 1] for name, t in vars(one.images).items()}
        )
        alone = posterior(shape, images=images)
        alone.start(z[pair : pair + 1])
        value, gradient = alone.value_and_gradient(z[sample : sample + 1])
        torch.testing.assert_close(values[sample], value[0])
        torch.testing.assert_close(gradients[sample], gradient[0])


def test_chains_of_one_pair_share_its_images():
    energy = posterior((9, 8))
    many = energy.chains(5)
    assert many.shape == (5, 2, 9, 8)
    assert many.identity().shape == many.shape
    for name in ("fixed", "moving", "fixed_mask", "moving_mask"):
        assert getattr(many.images, name).data_ptr() == getattr(energy.images, name).data_ptr()
    assert many.likelihood is energy.likelihood


def test_a_potential_is_the_energy_of_the_framework_times_its_voxels():
    """w·N·D + λ·N·R: the posterior of MAD, NMI or LNCC is that of the energy that is minimised."""
    shape = (9, 8)
    energy = posterior(
        shape,
        likelihood=Potential(similarity=LNCC(window=3, weight=2.0)),
        prior=prior_potential.Potential(regulariser=Diffusion(weight=0.3)),
        smoothing=None,
        masks=False,
    )
    pair = PairEnergy(
        Energy(LNCC(window=3, weight=2.0), Diffusion(weight=0.3)), StationaryVelocity(3), energy.images
    )
    z = latent(energy)
    torch.testing.assert_close(energy(z), 72 * pair(z))
    assert isinstance(energy, EnergyFunction)


def test_a_prior_on_control_points():
    shape = (13, 10)
    settings = {"transformation": FreeFormVelocity(4, 2), "smoothing": None, "masks": False}
    regulariser = Diffusion(weight=1.0, units="voxel")
    on_points = posterior(
        shape, prior=Fixed(regulariser=regulariser, weight=2.0), prior_on="parameters", **settings
    )
    on_field = posterior(shape, prior=Fixed(regulariser=regulariser, weight=2.0), **settings)
    z = latent(on_points)
    unknowns = z[0].numel()
    assert on_points.prior.unknowns == on_field.prior.unknowns == unknowns == 2 * 6 * 6
    constant = -0.5 * unknowns * math.log(2.0)
    for energy, field in ((on_points, z), (on_field, on_field.deformation(z).regularised)):
        y = field.diff(dim=2).square().sum() + field.diff(dim=3).square().sum()
        torch.testing.assert_close(energy.parts(z)[1][0], y + constant)


def test_noise_is_of_the_fit_alone():
    energy = posterior((9, 8), jitter=0.1)
    z = latent(energy)
    energy.start(z)
    first, second = energy(z), energy(z)
    assert first != second
    assert torch.equal(energy.deformation(z).displacement, energy.deformation(z).displacement)
    noisy = energy._noisy(torch.zeros(4, 2, 200, 150, dtype=torch.float64))
    assert noisy.abs().max() <= 0.1
    assert float(noisy.std()) == pytest.approx(0.2 / math.sqrt(12), rel=0.01)
    assert abs(float(noisy.mean())) < 1e-3
    other = posterior((9, 8), jitter=0.1, generator=torch.Generator().manual_seed(0))
    other.start(z)
    assert torch.equal(other(z), first)


@pytest.mark.parametrize("shape", SHAPES)
def test_resumed_bit_by_bit(shape):
    def run(energy, z, steps):
        values = []
        for _ in range(steps):
            value, gradient = energy.value_and_gradient(z)
            z = z - 1e-3 * gradient.to(z)
            values.append(value)
        return z, values

    def fresh():
        energy = posterior(
            shape,
            pairs=2,
            dtype=torch.float32,
            jitter=0.1,
            likelihood=mixture(decimation=VirtualDecimation()),
        ).chains(2)
        energy.adaptive = True
        return energy

    one = fresh()
    z, _ = run(one, latent(one), 3)
    state = copy.deepcopy(one.state())
    other = fresh()
    other.load_state(state)
    end, values = run(one, z, 3)
    again, found = run(other, z, 3)
    assert torch.equal(end, again)
    assert all(torch.equal(a, b) for a, b in zip(values, found, strict=True))


def test_adaptive_evaluations_step_the_numbers_and_others_do_not():
    energy = posterior((9, 8))
    z = latent(energy)
    energy.start(z)
    before = copy.deepcopy(energy.state())
    energy(z)
    assert torch.equal(
        energy.likelihood.state()["numbers"]["values"], before["likelihood"]["numbers"]["values"]
    )
    energy.adaptive = True
    energy(z)
    assert energy.likelihood.state()["numbers"]["steps"] == before["likelihood"]["numbers"]["steps"] + 1
    assert energy.prior.state()["numbers"]["steps"] == 1


def test_fitting_lowers_the_energy_of_a_shifted_image():
    """A blob, two voxels away: descent on z brings it back, with every part of the model at work."""
    shape = (24, 20)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij")
    blob = lambda x: torch.exp(-((axes[0] - x) ** 2 + (axes[1] - 9) ** 2) / 18)[None, None]  # noqa: E731
    energy = posterior(
        shape,
        images=full_images(blob(11.0), blob(13.0)),
        likelihood=mixture(Difference(), VirtualDecimation()),
        prior=Fixed(regulariser=Diffusion(weight=1.0, units="voxel"), weight=0.1),
        jitter=0.1,
    )
    energy.adaptive = True
    z = energy.identity().requires_grad_(True)
    optimiser = torch.optim.Adam([z], lr=0.05)
    for _ in range(80):
        optimiser.zero_grad()
        energy(z).sum().backward()
        optimiser.step()
    before, after = (
        float((energy.evaluate(point).warped - energy.images.fixed).square().sum())
        for point in (energy.identity(), z.detach())
    )
    assert after < 0.1 * before


def test_bad_input_is_a_sentence():
    shape = (9, 8)
    good = waves(shape)
    flat = torch.full_like(good, 0.5)
    for images, sentence in (
        ({"fixed": flat, "moving": good}, "fixed image of pair 0 is constant"),
        ({"fixed": good, "moving": flat}, "moving image of pair 0 is constant"),
        ({"fixed": good, "moving": good, "fixed_mask": torch.zeros_like(good)}, "mask of pair 0 is empty"),
        ({"fixed": good * math.nan, "moving": good}, "NaN"),
    ):
        with pytest.raises(DataError, match=sentence):
            posterior(shape, images=full_images(**images))
    with pytest.raises(ConfigError, match="jitter"):
        posterior(shape, jitter=-0.1)
    with pytest.raises(ConfigError, match=r"model\.prior_on"):
        posterior(shape, prior_on="velocity")
    energy = posterior(shape)
    wrong = torch.zeros(2, *energy.shape[1:], dtype=torch.float64)
    with pytest.raises(DataError, match="chains"):
        energy(wrong)
    energy = posterior(shape, transformation=Affine(), masks=False)
    with pytest.raises(CompositionError, match="smoothing=none"):
        energy(energy.identity())


def test_values_are_double_and_the_gradient_is_of_the_latent_field():
    energy = posterior((9, 8), dtype=torch.float32)
    value, gradient = energy.value_and_gradient(latent(energy))
    assert value.dtype == torch.float64
    assert gradient.dtype == torch.float32


def test_a_gaussian_with_a_learnt_deviation():
    energy = posterior(
        (9, 8), likelihood=Gaussian(residual=Difference(), sigma=None, rate=Rate(0.05), decimation=None)
    )
    energy.adaptive = True
    values = [float(energy(energy.identity())) for _ in range(3)]
    assert all(math.isfinite(value) for value in values)
