"""The Sobolev filter: its kernels, its root, its two derivatives, any grid."""

from __future__ import annotations

import pytest
import torch
from ramp_problem import laplacian

from medreg.errors import CompositionError, ConfigError
from medreg.geometry.ffd import FreeFormVelocity
from medreg.geometry.separable import apply_per_axis
from medreg.geometry.sobolev import SobolevFilter, _root, sobolev_kernel

SHAPES = [(7, 9), (8, 6, 5), (2, 3), (1, 4)]


def noise(shape, dtype=torch.float64, batch=2):
    return torch.randn(batch, len(shape), *shape, dtype=dtype, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("half_width", "values"),
    [
        (1, (1 / 6, 2 / 3, 1 / 6)),
        (2, (0.04, 0.16, 0.6, 0.16, 0.04)),
        (3, (0.010417, 0.041667, 0.15625, 0.583333, 0.15625, 0.041667, 0.010417)),
    ],
)
def test_kernels_of_the_paper(half_width, values):
    kernel = sobolev_kernel(half_width, 0.5)
    torch.testing.assert_close(kernel, torch.tensor(values, dtype=torch.float64), atol=5e-7, rtol=0)
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("boundary", ["mirror", "replicate"])
def test_a_filter_is_its_kernel_inside_and_keeps_constants(boundary):
    smoothing = SobolevFilter(half_width=2, strength=0.5, form="released", boundary=boundary)
    field = torch.zeros(1, 2, 11, 9, dtype=torch.float64)
    field[0, 1, 5, 4] = 1.0
    kernel = sobolev_kernel(2, 0.5)
    spot = smoothing(field)
    torch.testing.assert_close(spot[0, 1, 3:8, 2:7], kernel[:, None] * kernel[None])
    assert spot[0, 0].abs().max() == 0
    constant = torch.full((1, 2, 11, 9), 2.5, dtype=torch.float64)
    torch.testing.assert_close(smoothing(constant), constant)


def test_borders_mirror_or_repeat():
    field = torch.zeros(1, 2, 6, 1, dtype=torch.float64)
    field[0, 0, 1] = 1.0
    k = sobolev_kernel(2, 0.5)
    mirror = SobolevFilter(half_width=2, strength=0.5, form="released")(field)[0, 0, :, 0]
    # Seen from voxel 0 the mirror image puts voxel 1 at −2 as well; the repeated border does not.
    torch.testing.assert_close(mirror[0], k[3] + k[4])
    repeated = SobolevFilter(half_width=2, strength=0.5, form="released", boundary="replicate")(field)
    torch.testing.assert_close(repeated[0, 0, 0, 0], k[3])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_root_applied_twice_is_the_filter(shape):
    smoothing = SobolevFilter(half_width=3, strength=0.5)
    field = noise(shape)
    torch.testing.assert_close(smoothing(smoothing(field)), smoothing.smooth(field))
    torch.testing.assert_close(smoothing.latent(smoothing(field)), field)
    other = noise(shape).flip(0)  # symmetric: ⟨a, A b⟩ = ⟨A a, b⟩
    torch.testing.assert_close((other * smoothing(field)).sum(), (smoothing(other) * field).sum())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_root_is_differentiated_as_it_is(shape):
    smoothing = SobolevFilter(half_width=3, strength=0.5)
    assert torch.autograd.gradcheck(smoothing, noise(shape, batch=1).requires_grad_(True))


@pytest.mark.parametrize("boundary", ["mirror", "replicate"])
def test_the_released_gradient_is_handed_through(boundary):
    smoothing = SobolevFilter(half_width=3, strength=0.5, form="released", boundary=boundary)
    field = noise((7, 9)).requires_grad_(True)
    upstream = noise((7, 9)).flip(1)
    (gradient,) = torch.autograd.grad(smoothing(field), field, upstream)
    assert torch.equal(gradient, upstream)
    torch.testing.assert_close(smoothing.latent(smoothing(field)), field)


@pytest.mark.parametrize("shape", [(40, 33), (26, 30, 28), (64, 7, 30)])
def test_short_kernels_equal_matrices(shape):
    smoothing = SobolevFilter(half_width=3, strength=0.5)
    field = noise(shape, torch.float32).requires_grad_(True)
    keys = [(size, 3, 0.5, "mirror") for size in shape]
    exact = apply_per_axis(field.detach().double(), keys, _root)
    torch.testing.assert_close(smoothing(field).detach().double(), exact, atol=2e-6, rtol=0)
    upstream = noise(shape, torch.float32).flip(0)
    (gradient,) = torch.autograd.grad(smoothing(field), field, upstream)
    torch.testing.assert_close(
        gradient.double(), apply_per_axis(upstream.double(), keys, _root), atol=2e-6, rtol=0
    )


def test_a_wide_filter_falls_back_to_matrices():
    smoothing = SobolevFilter(half_width=30, strength=400.0)
    field = noise((20, 24), torch.float32)
    torch.testing.assert_close(smoothing(smoothing(field)), smoothing.smooth(field), atol=1e-4, rtol=0)


def test_control_grids_are_grids():
    shape = FreeFormVelocity(4, 3).parameter_shape((17, 12, 9))
    smoothing = SobolevFilter(half_width=3, strength=0.5)
    theta = torch.randn(1, *shape)
    assert smoothing(theta).shape == theta.shape


def test_bad_settings_are_refused():
    for bad in (
        {"half_width": -1},
        {"half_width": 1.5},
        {"strength": -0.5},
        {"form": "half"},
        {"boundary": "zeros"},
        {"boundary": "replicate"},
    ):
        with pytest.raises(ConfigError, match="smoothing"):
            SobolevFilter(**{"half_width": 3, "strength": 0.5} | bad)
    with pytest.raises(CompositionError, match="smoothing=none"):
        SobolevFilter(half_width=3, strength=0.5)(torch.zeros(1, 6))


def matrix_of(smoothing, shape):
    """The filter as a matrix over the voxels of a grid."""
    basis = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).view(-1, 1, *shape)
    return smoothing(basis).flatten(1).mT


@pytest.mark.parametrize(("form", "shape"), [("root", (5, 4)), ("released", (5, 4)), ("root", (3, 2, 4))])
def test_covariance_of_langevin_noise(form, shape):
    """The drift of θ is S∇E; the noise A of the root keeps H⁻¹, that of the released form makes it S H⁻¹."""
    noise_of = matrix_of(SobolevFilter(half_width=2, strength=0.5, form=form), shape)
    released = matrix_of(SobolevFilter(half_width=2, strength=0.5, form="released"), shape)
    precision = laplacian(shape) + 0.3 * torch.eye(
        len(released), dtype=torch.float64
    )  # commutes with S: both mirror
    covariance = torch.linalg.inv(precision)
    if form == "released":
        covariance = released @ covariance
    # The stationary law of dθ = −S H θ dt + √2 A dW solves S H C + C H S = 2 A Aᵀ.
    drift = released @ precision
    left = drift @ covariance + covariance @ drift.mT
    torch.testing.assert_close(left, 2 * noise_of @ noise_of.mT, atol=1e-12, rtol=0)
