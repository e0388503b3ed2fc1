"""Priors: sums over voxels, densities as in their formulas, learnt numbers that go where they must."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import Gamma as GammaLaw
from torch.distributions import LogNormal as LogNormalLaw
from torch.distributions import Normal

from medreg.errors import CheckpointError, ConfigError
from medreg.geometry.transformation import Deformation
from medreg.losses.prior.fixed import Fixed
from medreg.losses.prior.gamma import Gamma
from medreg.losses.prior.lognormal import LogNormal
from medreg.losses.prior.potential import Potential
from medreg.losses.prior.replicated import ReplicatedDiffusion
from medreg.losses.prior.student import Student
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.tuning import Rate


def diffusion(units="voxel"):
    return Diffusion(weight=0.3, units=units)


def lognormal(weight=1.4, **changes):
    settings = {"regulariser": diffusion(), "log_scale_prior": (2.8, 5.0), "rate": Rate(0.01, 0.001)}
    return LogNormal(weight=weight, **settings | changes)


PRIORS = {
    "fixed": lambda: Fixed(regulariser=diffusion(), weight=1.4),
    "gamma": lambda: Gamma(regulariser=diffusion(), weight=1.4, rate=Rate(0.01, 0.001)),
    "student": lambda: Student(regulariser=diffusion(), shape=1e-6, inverse_scale=1e-6),
    "lognormal": lognormal,
    "released": lambda: lognormal(loc_prior_on="energy_released"),
    "regulariser": lambda: Potential(regulariser=diffusion()),
}


def field(*shape, batch=2, dtype=torch.float64):
    return torch.randn(batch, len(shape), *shape, dtype=dtype, generator=torch.Generator().manual_seed(2))


def prepared(prior, pairs=2, unknowns=240):
    prior.prepare(pairs, unknowns, torch.zeros(1, dtype=torch.float64))
    return prior


def value(prior, u, **settings):
    return prior(Deformation(u, u), **settings)


def test_the_energy_is_the_sum_of_squared_differences():
    u = field(5, 4, 3)
    known = sum(u.diff(dim=axis).square().flatten(1).sum(1) for axis in (2, 3, 4))
    torch.testing.assert_close(prepared(PRIORS["fixed"]()).energies(Deformation(u, u)), known)
    spacing = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
    in_mm = u * spacing.view(1, 3, 1, 1, 1)
    known = sum((in_mm.diff(dim=axis) / spacing[axis - 2]).square().flatten(1).sum(1) for axis in (2, 3, 4))
    prior = prepared(Fixed(regulariser=diffusion("mm"), weight=1.0))
    torch.testing.assert_close(prior.energies(Deformation(u, u), spacing_mm=spacing), known)


def test_the_gradient_operator_of_linear_fields():
    """v_x = x, v_y = 1.5 y + 3 z + 1: derivatives 1, 1.5 and 3 at every voxel that has a neighbour."""
    x, y, z = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in (6, 5, 4)], indexing="ij")
    u = torch.stack([x, 1.5 * y + 3 * z + 1, torch.zeros_like(x)])[None]
    known = 1.0 * 5 * 5 * 4 + 1.5**2 * 6 * 4 * 4 + 3.0**2 * 6 * 5 * 3
    prior = prepared(PRIORS["fixed"](), pairs=1)
    assert float(prior.energies(Deformation(u, u))) == pytest.approx(known, rel=1e-12)
    assert float(prior.energies(Deformation(u * 0 + 7, u * 0 + 7))) == 0.0


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("shape", [(7, 5), (5, 4, 6)])
def test_gradients(name, shape):
    prior = prepared(PRIORS[name]())
    u = field(*shape).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: value(prior, v), u)


@pytest.mark.parametrize("spacing", [None, (2.0, 1.0, 0.5)])
def test_the_released_energy_counts_the_last_difference_twice(spacing):
    u = field(5, 4, 3)
    scale = torch.tensor(spacing or (1.0, 1.0, 1.0), dtype=torch.float64)
    differences = [(u * scale.view(1, 3, 1, 1, 1)).diff(dim=a + 2).square() / scale[a] ** 2 for a in range(3)]
    known = sum(
        d.flatten(1).sum(1) + d.narrow(a + 2, d.shape[a + 2] - 1, 1).flatten(1).sum(1)
        for a, d in enumerate(differences)
    )
    regulariser = ReplicatedDiffusion(weight=1.0, units="voxel" if spacing is None else "mm")
    prior = prepared(Fixed(regulariser=regulariser, weight=1.0))
    torch.testing.assert_close(prior.energies(Deformation(u, u), spacing_mm=scale), known)


def test_fixed_and_regulariser():
    u = field(7, 5)
    y = prepared(PRIORS["fixed"]()).energies(Deformation(u, u))
    torch.testing.assert_close(value(prepared(PRIORS["fixed"]()), u), 0.7 * y - 120 * math.log(1.4))
    torch.testing.assert_close(value(prepared(PRIORS["regulariser"]()), u), 0.3 * y)
    bending = Potential(regulariser=Bending(weight=0.2, units="voxel"), weight=2.0)
    mean = Bending(weight=1.0, units="voxel")(u)
    torch.testing.assert_close(value(prepared(bending), u), 2.0 * 35 * mean)


def test_gamma_is_the_joint_density_and_settles_at_its_mode():
    u = field(7, 5)
    unknowns = 70
    prior = prepared(Gamma(regulariser=diffusion(), weight=1.4, rate=Rate(0.05, 0.01)), unknowns=unknowns)
    y = prior.energies(Deformation(u, u))
    a = unknowns / 2
    law = GammaLaw(torch.tensor(a, dtype=torch.float64), torch.tensor(1 / a, dtype=torch.float64))
    w = torch.tensor(1.4, dtype=torch.float64)
    # ln w is what is learnt: its density has the Jacobian w
    known = 0.5 * w * y - 0.5 * unknowns * w.log() - law.log_prob(w) - w.log()
    torch.testing.assert_close(value(prior, u), known)
    for _ in range(2000):
        value(prior, u)
        prior.adapt()
    torch.testing.assert_close(
        prior.tuned.values[:, 0].exp(), unknowns / (y / 2 + 2 / unknowns), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize(("shape", "inverse_scale"), [(1.0, 0.5), (2.5, 3.0)])
def test_student_is_the_marginal_of_fixed(shape, inverse_scale):
    """By quadrature over ln w; the densities agree but for one constant."""
    unknowns = 12
    prior = prepared(
        Student(regulariser=diffusion(), shape=shape, inverse_scale=inverse_scale), unknowns=unknowns
    )
    energies = torch.tensor([0.3, 2.0, 9.0, 40.0], dtype=torch.float64)
    logs = torch.linspace(-25, 12, 200_001, dtype=torch.float64)
    w = logs.exp()
    law = GammaLaw(*(torch.tensor(v, dtype=torch.float64) for v in (shape, inverse_scale)))
    integrand = -0.5 * w * energies[:, None] + 0.5 * unknowns * logs + law.log_prob(w) + logs
    marginal = torch.logsumexp(integrand, 1) + math.log(float(logs[1] - logs[0]))
    difference = prior.negative_log(energies, torch.zeros(4, 0)) + marginal
    torch.testing.assert_close(difference, difference[:1].expand(4), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "weight", "loc", "scale"),
    [
        (128, 1.4, 15.318231, 61.27),
        (128, 2.0, 14.961556, 59.85),
        (128, 1.6, 15.184699, 60.74),
        (96, 0.75, 15.079339, 60.32),
    ],
)
def test_where_the_lognormal_starts(size, weight, loc, scale):
    prior = prepared(lognormal(weight), unknowns=3 * size**3)
    m, log_s = prior.tuned.values[0].tolist()
    assert m == pytest.approx(loc, abs=1e-6)
    assert math.exp(log_s) == pytest.approx(scale, abs=6e-3)


def test_lognormal_is_the_density_of_the_energy_turned_into_one_of_the_field():
    unknowns = 60
    prior = prepared(lognormal(), unknowns=unknowns)
    y = torch.tensor([3.0, 40.0], dtype=torch.float64)
    m, log_s = prior.tuned.values[0]
    field_part = -LogNormalLaw(m, log_s.exp()).log_prob(y) + (unknowns / 2 - 1) * y.log()
    gamma = GammaLaw(*(torch.tensor(v, dtype=torch.float64) for v in (unknowns / 2, 0.7)))
    hyper = gamma.log_prob(m.exp()) + m + Normal(2.8, 5.0).log_prob(log_s)
    found = prior.negative_log(y, prior.tuned.values)
    torch.testing.assert_close(found.diff(), (field_part - hyper).diff())
    # the constants that are left out: √2π of the two normal densities
    torch.testing.assert_close(found, field_part - hyper - math.log(2 * math.pi), rtol=1e-6, atol=1e-6)


def test_the_released_location_prior_is_a_fixed_weight():
    """½ w y + ½((ln y − m)/s)² + ln s + const: everything else in ln y cancels."""
    prior = prepared(lognormal(weight=2.0, loc_prior_on="energy_released"), unknowns=3 * 20**3)
    y = torch.tensor([1e2, 3e3, 2e4, 5e4], dtype=torch.float64)
    numbers = prior.tuned.values[:1].expand(4, 2)
    found = prior.negative_log(y, numbers)
    m, log_s = numbers.unbind(1)
    known = y + 0.5 * ((y.log() - m) / log_s.exp()).square() + log_s
    difference = found - known
    torch.testing.assert_close(difference, difference[:1].expand(4), rtol=0, atol=1e-8)
    correct = prepared(lognormal(weight=2.0), unknowns=3 * 20**3).negative_log(y, numbers)
    assert ((correct - known) - (correct - known)[0]).abs().max() > 1e3  # the correct form is another density


def test_the_effective_weight_of_the_lognormal():
    unknowns = 60
    prior = prepared(lognormal(), unknowns=unknowns)
    y = torch.tensor([3.0, 40.0], dtype=torch.float64)
    m, log_s = prior.tuned.values.unbind(1)
    known = (unknowns + 2 * (y.log() - m) / log_s.exp().square()) / y
    torch.testing.assert_close(prior.effective_weight(y), known)
    released = prepared(lognormal(loc_prior_on="energy_released"), unknowns=unknowns)
    torch.testing.assert_close(released.effective_weight(y), torch.full_like(y, 1.4), rtol=1e-2, atol=0)


@pytest.mark.parametrize("name", PRIORS)
def test_the_identity_has_a_finite_density_and_gradient(name):
    prior = prepared(PRIORS[name]())
    u = torch.zeros(2, 2, 7, 5, dtype=torch.float64, requires_grad=True)
    found = value(prior, u)
    (gradient,) = torch.autograd.grad(found.sum(), u)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    prior.adapt()
    assert prior.tuned.values.isfinite().all()


@pytest.mark.parametrize("name", PRIORS)
def test_pairs_are_independent_and_chains_share(name):
    u = field(7, 5, batch=4)  # two chains of two pairs
    prior = prepared(PRIORS[name]())
    for _ in range(3):
        found = value(prior, u)
        prior.adapt()
    for pair in range(2):
        alone = prepared(PRIORS[name](), pairs=1)
        for _ in range(3):
            one = value(alone, u[pair::2])
            alone.adapt()
        torch.testing.assert_close(found[pair::2], one)
    learns = name in ("gamma", "lognormal", "released")
    assert bool((prior.tuned.values != prepared(PRIORS[name]()).tuned.values).any()) == learns


@pytest.mark.parametrize("name", PRIORS)
def test_resumed_bit_by_bit(name):
    u = field(7, 5, dtype=torch.float32)
    one = prepared(PRIORS[name]())
    for _ in range(3):
        value(one, u)
        one.adapt()
    other = prepared(PRIORS[name]())
    other.load_state(one.state())
    for _ in range(3):
        assert torch.equal(value(one, u), value(other, u))
        one.adapt()
        other.adapt()
    with pytest.raises(CheckpointError, match="shape"):
        prepared(PRIORS[name](), pairs=3).load_state(one.state())


def test_adapting_does_not_disturb_a_graph():
    """The step comes before the backward pass of the evaluation that it follows."""
    u = field(7, 5).requires_grad_(True)
    still, moving = prepared(lognormal()), prepared(lognormal())
    (known,) = torch.autograd.grad(value(still, u).sum(), u)
    found = value(moving, u)
    moving.adapt()
    (gradient,) = torch.autograd.grad(found.sum(), u)
    assert torch.equal(gradient, known)


def test_large_sums_keep_their_digits():
    u = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 48, 48, 48)).astype(np.float32))
    exact = sum(u.double().diff(dim=axis).square().sum() for axis in (2, 3, 4))
    found = prepared(PRIORS["fixed"](), pairs=1).energies(Deformation(u, u))
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(float(exact), rel=2e-7)


def test_bad_settings_are_sentences():
    for make in (
        lambda: Fixed(regulariser=diffusion(), weight=0.0),
        lambda: Student(regulariser=diffusion(), shape=-1.0, inverse_scale=1.0),
        lambda: Gamma(regulariser=diffusion(), weight=1.0, rate=Rate(0.01), shape=0.0),
        lambda: lognormal(loc_prior_on="energy"),
        lambda: lognormal(log_scale_prior=(2.8, 0.0)),
        lambda: Potential(regulariser=diffusion(), weight=-1.0),
    ):
        with pytest.raises(ConfigError, match="prior"):
            make()
    with pytest.raises(ConfigError, match="prepare"):
        value(PRIORS["fixed"](), field(7, 5))
