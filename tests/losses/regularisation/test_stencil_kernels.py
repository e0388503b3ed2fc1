"""Kernels of the regularisers against their densities: seams of slabs, weights, masks, spacings, derivatives."""

from __future__ import annotations

import pytest
import torch

from medreg.kernels.compile import available
from medreg.losses.regularisation import stencil
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.curvature import Curvature
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.regularisation.elastic import LinearElastic
from medreg.losses.regularisation.jacobian import Folding

pytestmark = pytest.mark.skipif(not available(), reason="kernels are switched off or numba is absent")
ALL = [
    Diffusion(weight=0.7),
    Bending(weight=0.7),
    Curvature(weight=0.7),
    LinearElastic(mu=0.8, lam=0.5, weight=0.7),
    Folding(eps=0.2, weight=0.7),
]
SHAPES = [(3, 3), (23, 7), (3, 3, 3), (17, 4, 6)]


def field_of(shape):
    torch.manual_seed(0)
    return torch.randn(2, len(shape), *shape, dtype=torch.float64).requires_grad_()


def value_and_gradient(regulariser, field, **arguments):
    value = regulariser(field, **arguments)
    (gradient,) = torch.autograd.grad((value * torch.tensor([1.0, -3.0])).sum(), field)
    return value.detach(), gradient


@pytest.mark.parametrize("regulariser", ALL, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_the_mean_of_the_density(monkeypatch, regulariser, shape):
    monkeypatch.setattr(stencil, "_SLAB", 1)
    field, spacing = field_of(shape), torch.rand(2, len(shape)) + 0.5
    mask = torch.rand(2, 1, *shape).double().sub(0.3).clamp_min(0.0)
    for arguments in (
        {},
        {"spacing_mm": spacing[0], "weight": torch.tensor([0.3, 2.0])},
        {"spacing_mm": spacing, "mask": mask},
        {"spacing_mm": spacing, "mask": mask > 0, "weight": torch.rand(1, 1, *shape)},
        {"weight": torch.rand(2, 1, *shape)},
    ):
        found = value_and_gradient(regulariser, field, **arguments)
        with monkeypatch.context() as without:
            without.setenv("MEDREG_KERNELS", "off")
            expected = value_and_gradient(regulariser, field, **arguments)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_derivatives(regulariser):
    field, spacing = field_of((4, 3, 3)), torch.tensor([0.8, 1.0, 1.7])
    assert torch.autograd.gradcheck(lambda u: regulariser(u, spacing_mm=spacing), (field,), fast_mode=True)
    assert torch.autograd.gradgradcheck(
        lambda u: regulariser(u, spacing_mm=spacing), (field,), fast_mode=True
    )


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_float32_follows_float64(regulariser):
    field = (0.3 * field_of((9, 8, 20)).detach()).requires_grad_()
    single = field.detach().float().requires_grad_()
    expected = value_and_gradient(regulariser, field)
    found = value_and_gradient(regulariser, single)
    assert found[1].dtype == torch.float32
    torch.testing.assert_close([f.double() for f in found], list(expected), rtol=1e-5, atol=1e-7)


def test_a_weight_that_is_learnt_takes_the_formula():
    field, weight = field_of((5, 6)).detach(), torch.ones(1, 1, 5, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(Bending(weight=1.0)(field, weight=weight).sum(), weight)
    torch.testing.assert_close(gradient[0], Bending(weight=1.0).density(field, spacing_mm=None).sum(0) / 30)
