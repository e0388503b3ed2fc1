"""Closed forms of the intensity-consistency layer of VR-Net."""

from __future__ import annotations

import pytest
import torch
from registration_pairs import blob
from scipy.optimize import minimize

from medreg.errors import ConfigError
from medreg.models.blocks.intensity_consistency import (
    Linearisation,
    consistency,
    consistent_l1,
    consistent_l2,
    image_gradient,
    linearise,
)


def consistent_l2_without_eps(v, at, *, eps=0.0, **options):
    return consistent_l2(v, at, **options)


FORMS = {"l1": consistent_l1, "l2": consistent_l2_without_eps}


def field(values):
    """Vectors of n voxels, (n, D), as (1, D, n, 1) or (1, D, n, 1, 1)."""
    values = torch.as_tensor(values, dtype=torch.float64)
    return values.T.reshape(1, values.shape[1], -1, *[1] * (values.shape[1] - 1))


def random_voxels(ndim, seed=0, count=300):
    generator = torch.Generator().manual_seed(seed)
    g, v, d = (torch.randn(1, ndim, count, *[1] * (ndim - 1), generator=generator).double() for _ in range(3))
    r = torch.randn(1, 1, count, *[1] * (ndim - 1), generator=generator).double()
    return v, Linearisation(g, r, d)


def energy(u, v, at, theta, power):
    return at.residual(u).abs() ** power / power + theta / 2 * (u - v).square().sum(1, keepdim=True)


VECTORS = [
    ("2d", 0.2, 0.05, (0.680010, 2.159995), (0.724138, 2.137931)),
    ("2d", 0.2, 1.0, (0.680010, 2.159995), (0.923810, 2.038095)),
    ("2d", 0.2, 4.0, (0.875, 2.0625), (0.976812, 2.011594)),
    ("2d", 2.0, 1.0, (0.5, 2.25), (0.238095, 2.380952)),
    ("3d", 0.2, 0.05, (0.844966, 2.077517, -1.031007), (0.865772, 2.067114, -1.026846)),
    ("3d", 0.2, 1.0, (0.844966, 2.077517, -1.031007), (0.962193, 2.018904, -1.007561)),
    ("3d", 0.2, 4.0, (0.875, 2.0625, -1.025), (0.988433, 2.005784, -1.002313)),
    ("3d", 2.0, 1.0, (0.5, 2.25, -1.1), (0.281664, 2.359168, -1.143667)),
]
SITE = {
    "2d": ((0.5, -0.25), (1.0, 2.0), (0.5, 1.0)),
    "3d": ((0.5, -0.25, 0.1), (1.0, 2.0, -1.0), (0.5, 1.0, 0.0)),
}


@pytest.mark.parametrize(("site", "difference", "theta", "l1", "l2"), VECTORS)
def test_1_reference_vectors(site, difference, theta, l1, l2):
    g, v, d = (field([value]) for value in SITE[site])
    at = Linearisation(g, torch.full_like(g[:, :1], difference), d)
    torch.testing.assert_close(consistent_l1(v, at, theta=theta), field([l1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(consistent_l2(v, at, theta=theta), field([l2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_1_no_numerical_minimiser_finds_less(ndim, name, power):
    v, at = random_voxels(ndim, count=40)
    theta = 0.7
    u = FORMS[name](v, at, theta=theta, eps=0.0)
    ours = energy(u, v, at, theta, power).flatten().numpy()
    g, r, d, v = (x.flatten(2)[0].T.numpy() for x in (at.gradient, at.difference, at.expansion, v))

    def value(x, i):
        rho = float(g[i] @ (x - d[i]) + r[i, 0])
        return abs(rho) ** power / power + theta / 2 * float(((x - v[i]) ** 2).sum())

    for i in range(len(v)):
        tight = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 2000}
        found = minimize(
            value, u.flatten(2)[0, :, i].numpy() + 0.05, args=(i,), method="Nelder-Mead", options=tight
        )
        assert ours[i] <= found.fun + 1e-10


def test_2_vector_form_is_the_released_component_form():
    v, at = random_voxels(3)
    theta = 0.3
    (g1, g2, g3), (x1, x2, x3) = at.gradient[0], (v - at.expansion)[0]
    r = at.difference[0, 0]
    bottom = g1**2 + g2**2 + g3**2 + theta
    first = (
        at.expansion[0, 0] + ((g2**2 + g3**2 + theta) * x1 - g1 * g2 * x2 - g1 * g3 * x3 - g1 * r) / bottom
    )
    torch.testing.assert_close(consistent_l2(v, at, theta=theta)[0, 0], first, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_3_optimality_of_the_squared_form(ndim):
    v, at = random_voxels(ndim)
    theta, mu = 0.4, 1.7
    u = consistent_l2(v, at, theta=theta, weight=mu)
    step = u - at.expansion
    left = theta * step + mu * at.gradient * (at.gradient * step).sum(1, keepdim=True)
    right = theta * (v - at.expansion) - mu * at.gradient * at.difference
    torch.testing.assert_close(left, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_3_optimality_of_the_absolute_form(ndim):
    v, at = random_voxels(ndim)
    theta, mu = 0.4, 0.3
    u = consistent_l1(v, at, theta=theta, weight=mu, eps=0.0)
    before, threshold = at.residual(v), mu * at.squared_gradient / theta
    soft = before.sign() * (before.abs() - threshold).clamp_min(0)
    torch.testing.assert_close(at.residual(u), soft, rtol=0, atol=1e-12)
    clipped = (before.abs() > threshold).expand_as(u)
    length = (u - v).square().sum(1, keepdim=True).sqrt().expand_as(u)
    full = (mu * at.squared_gradient.sqrt() / theta).expand_as(u)
    torch.testing.assert_close(length[clipped], full[clipped])
    assert clipped.any()
    assert not clipped.all()


def test_3_steps_are_along_the_gradient_and_flat_regions_stay():
    v, at = random_voxels(2)
    flat = Linearisation(torch.zeros_like(at.gradient), at.difference, at.expansion)
    for solve in FORMS.values():
        step = (solve(v, at, theta=0.5) - v)[0].flatten(1)
        g = at.gradient[0].flatten(1)
        assert (step[0] * g[1] - step[1] * g[0]).abs().max() < 1e-12
        assert torch.equal(solve(v, flat, theta=0.5), v)


@pytest.mark.parametrize("shape", [(40, 48), (28, 32, 24)])
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_4_a_shift_is_found_along_the_line_through_the_centre(shape, name):
    centre = [n // 2 for n in shape]
    for axis in range(len(shape)):
        moved = [c + 0.3 * (a == axis) for a, c in enumerate(centre)]
        fixed, moving = blob(shape, centre, 5.0), blob(shape, moved, 5.0)
        nothing = torch.zeros(1, len(shape), *shape, dtype=torch.float64)
        at = linearise(moving, fixed, nothing)
        theta, eps = (1e-6, 0.0) if name == "l2" else (1e-4, 1e-12)
        u = FORMS[name](nothing, at, theta=theta, eps=eps)
        place = list(centre)
        place[axis] += 4
        found = u[(0, slice(None), *place)]
        assert found[axis] == pytest.approx(0.3, abs=0.012)
        others = [k for k in range(len(shape)) if k != axis]
        assert found[others].abs().max() < 0.012


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_5_equal_images_stay(name):
    fixed = blob((20, 24), (9.3, 12.1), 4.0)
    nothing = torch.zeros(1, 2, 20, 24, dtype=torch.float64)
    assert torch.equal(FORMS[name](nothing, linearise(fixed, fixed, nothing), theta=0.1), nothing)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_6_gradcheck_and_closed_derivatives(name):
    v, at = random_voxels(2, seed=4, count=6)
    theta = torch.tensor(0.8, dtype=torch.float64)
    inputs = [x.clone().requires_grad_() for x in (v, at.gradient, at.difference, at.expansion, theta)]

    def layer(v, g, r, d, theta):
        return FORMS[name](v, Linearisation(g, r, d), theta=theta, eps=1e-5)

    assert torch.autograd.gradcheck(layer, inputs)
    if name == "l2":
        u = layer(*inputs)
        (slope,) = torch.autograd.grad(u.sum(), inputs[4])
        expected = at.gradient * at.residual(v) / (theta + at.squared_gradient).square()
        torch.testing.assert_close(slope, expected.sum())


def test_6_theta_moves_only_clipped_voxels_of_the_absolute_form():
    v, at = random_voxels(3, count=50)
    theta = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    u = consistent_l1(v, at, theta=theta, eps=0.0)
    slopes = torch.stack([torch.autograd.grad(x, theta, retain_graph=True)[0] for x in u.flatten(2)[0, 0]])
    clipped = (at.residual(v).abs() * 0.8 > at.squared_gradient).flatten()
    assert slopes[~clipped].abs().max() < 1e-12
    assert slopes[clipped].abs().min() > 0


def test_7_limits():
    v, at = random_voxels(3)
    for solve in FORMS.values():
        torch.testing.assert_close(solve(v, at, theta=1e9), v, rtol=0, atol=1e-6)
        assert at.residual(solve(v, at, theta=1e-9, eps=0.0)).abs().max() < 1e-5


@pytest.mark.parametrize(("name", "power"), [("l1", 1), ("l2", 2)])
def test_8_intensity_scale_is_a_change_of_theta(name, power):
    v, at = random_voxels(2)
    k = 37.0
    scaled = Linearisation(k * at.gradient, k * at.difference, at.expansion)
    ours = FORMS[name](v, at, theta=0.2, eps=1e-5)
    theirs = FORMS[name](v, scaled, theta=0.2 * k**power, eps=1e-5 * k**2)
    torch.testing.assert_close(ours, theirs)


def test_9_derivative_of_squares_and_ramps():
    for axis in range(3):
        shape = [4, 5, 7]
        shape[axis] = 6
        view = [1, 1, 1, 1, 1]
        view[2 + axis] = 6
        line = torch.arange(6.0)
        gradient = image_gradient(line.square().reshape(view).expand(1, 1, *shape))
        expected = torch.tensor([0.5, 2, 4, 6, 8, 4.5]).reshape(view).expand(1, 1, *shape)
        torch.testing.assert_close(gradient[:, axis : axis + 1], expected)
        others = [k for k in range(3) if k != axis]
        assert gradient[:, others].abs().max() == 0
        ramp = image_gradient((2.0 * line).reshape(view).expand(1, 1, *shape))
        expected = torch.tensor([1.0, 2, 2, 2, 2, 1]).reshape(view).expand(1, 1, *shape)
        torch.testing.assert_close(ramp[:, axis : axis + 1], expected)


@pytest.mark.parametrize("name", ["l1", "l2"])
def test_16_a_volume_constant_along_an_axis_gives_the_slice(name):
    fixed, moving = blob((16, 20), (7.4, 9.2), 4.0), blob((16, 20), (8.1, 9.9), 4.0)
    nothing = torch.zeros(1, 2, 16, 20, dtype=torch.float64)
    flat = FORMS[name](nothing, linearise(moving, fixed, nothing), theta=0.01)
    deep = [x[..., None].expand(*x.shape, 5).contiguous() for x in (fixed, moving)]
    volume = torch.zeros(1, 3, 16, 20, 5, dtype=torch.float64)
    solid = FORMS[name](volume, linearise(deep[1], deep[0], volume), theta=0.01)
    torch.testing.assert_close(solid[:, :2, ..., 2], flat)
    assert solid[:, 2].abs().max() == 0


def test_a_mask_of_zero_leaves_the_denoised_field():
    v, at = random_voxels(2, count=10)
    weight = torch.zeros(1, 1, 10, 1, dtype=torch.float64)
    weight[:, :, 5:] = 1
    for solve in FORMS.values():
        u = solve(v, at, theta=0.5, weight=weight)
        assert torch.equal(u[:, :, :5], v[:, :, :5])
        torch.testing.assert_close(u[:, :, 5:], solve(v, at, theta=0.5)[:, :, 5:])


def test_unknown_data_term():
    with pytest.raises(ConfigError, match="choose l1 or l2"):
        consistency("ncc", eps=1e-5)
