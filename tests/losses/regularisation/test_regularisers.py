"""Regularisers on fields whose derivatives are known, against MONAI, and across grids."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import BendingEnergyLoss, DiffusionLoss

from medreg.errors import ConfigError, DataError
from medreg.geometry.transformation import Deformation
from medreg.losses.regularisation.bending import Bending
from medreg.losses.regularisation.curvature import Curvature
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.regularisation.elastic import LinearElastic
from medreg.losses.regularisation.jacobian import Folding
from medreg.losses.regularisation.none import NoRegularisation
from medreg.losses.regularisation.total import Sum

SECOND_ORDER = [Bending(weight=1.0), Curvature(weight=1.0)]
ALL = [
    Diffusion(weight=1.0),
    *SECOND_ORDER,
    LinearElastic(mu=1.0, lam=0.5, weight=1.0),
    Folding(eps=0.2, weight=1.0),
    Sum(terms={"first": Diffusion(weight=0.3), "second": Bending(weight=2.0)}, weight=0.5),
]


def positions(shape):
    """Voxel coordinates, (D, *S)."""
    return torch.stack(torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in shape], indexing="ij"))


def linear_field(shape, matrix):
    return torch.einsum("ka,a...->k...", matrix, positions(shape))[None]


def inner_mask(shape):
    mask = torch.zeros(1, 1, *shape)
    mask[(..., *[slice(1, -1)] * len(shape))] = 1
    return mask


def test_diffusion_value_of_gradirn():
    field = linear_field((32, 32), torch.diag(torch.tensor([0.3, 0.1], dtype=torch.float64)))
    assert Diffusion(weight=1.0)(field).item() == pytest.approx(0.096875, abs=1e-12)
    assert Diffusion(weight=1.0, units="voxel")(
        field, spacing_mm=torch.tensor([2.0, 9.0])
    ).item() == pytest.approx(0.096875)


@pytest.mark.parametrize("regulariser", SECOND_ORDER, ids=str)
@pytest.mark.parametrize("shape", [(7, 5), (6, 4, 5)], ids=["2-D", "3-D"])
def test_linear_fields_cost_nothing_even_at_the_border(regulariser, shape):
    torch.manual_seed(0)
    field = linear_field(shape, torch.randn(len(shape), len(shape), dtype=torch.float64))
    assert regulariser.density(field, spacing_mm=torch.rand(1, len(shape)) + 0.5).max() < 1e-24


@pytest.mark.parametrize("shape", [(7, 5), (6, 4, 5)], ids=["2-D", "3-D"])
def test_quadratic_fields_have_constant_second_derivatives(shape):
    x = positions(shape)
    field = torch.zeros(1, len(shape), *shape, dtype=torch.float64)
    field[0, 0] = 0.5 * x[0] ** 2 + 3.0 * x[0] * x[1]
    ones = torch.ones(1, 1, *shape, dtype=torch.float64)
    torch.testing.assert_close(SECOND_ORDER[0].density(field, spacing_mm=None), 19.0 * ones)  # 1 + 2·3²
    torch.testing.assert_close(SECOND_ORDER[1].density(field, spacing_mm=None), ones)


@pytest.mark.parametrize("regulariser", ALL[:-2], ids=str)
def test_checkerboard_is_penalised_more_than_a_smooth_wave(regulariser):
    x = positions((16, 16))
    checkerboard = torch.stack([(-1.0) ** x.sum(0)] * 2)[None]
    wave = torch.stack([math.sqrt(2) * torch.sin(x.sum(0) * math.pi / 4)] * 2)[None]
    assert regulariser(checkerboard) > 4 * regulariser(wave) > 0


def test_elastic_potential_is_free_for_rotation_and_right_for_dilation():
    regulariser = LinearElastic(mu=3.0, lam=5.0, weight=1.0)
    spin = torch.tensor([[0.0, 0.2, -0.1], [-0.2, 0.0, 0.4], [0.1, -0.4, 0.0]], dtype=torch.float64)
    assert regulariser(linear_field((5, 4, 6), spin)).item() == pytest.approx(0.0, abs=1e-24)
    growth = linear_field((5, 4, 6), 0.1 * torch.eye(3, dtype=torch.float64))
    assert regulariser(growth).item() == pytest.approx(3.0 * 3 * 0.01 + 2.5 * 0.09)


def test_folding_penalises_depth_below_the_threshold():
    fold = linear_field((8, 8), torch.diag(torch.tensor([-1.5, 0.0], dtype=torch.float64)))  # det −0.5
    assert Folding(eps=0.0, weight=2.0)(fold).item() == pytest.approx(1.0)
    assert Folding(eps=0.1, weight=1.0)(fold).item() == pytest.approx(0.6)
    assert Folding(eps=0.0, weight=1.0)(0.5 * fold).item() == 0.0


def test_no_regularisation_is_zero():
    assert NoRegularisation(weight=3.0)(torch.randn(2, 2, 4, 4)).tolist() == [0.0, 0.0]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # inside MONAI 1.6.1
@pytest.mark.parametrize("shape", [(9, 8), (6, 7, 8)], ids=["2-D", "3-D"])
def test_equals_monai_on_inner_voxels(shape):
    """MONAI averages over the D components, too."""
    torch.manual_seed(0)
    field = torch.randn(2, len(shape), *shape, dtype=torch.float64)
    ours = Bending(weight=1.0)(field, mask=inner_mask(shape).expand(2, -1, *shape)).mean()
    assert ours.item() == pytest.approx(len(shape) * BendingEnergyLoss()(field).item(), rel=1e-12)
    slope = linear_field(shape, torch.randn(len(shape), len(shape), dtype=torch.float64))
    ours = Diffusion(weight=1.0)(slope, mask=inner_mask(shape))
    assert ours.item() == pytest.approx(len(shape) * DiffusionLoss()(slope).item(), rel=1e-12)


@pytest.mark.parametrize("regulariser", ALL, ids=str)
def test_same_physical_field_costs_the_same_on_every_grid(regulariser):
    """A quadratic displacement in mm, sampled on isotropic and anisotropic voxels of one box."""

    def cost(shape, spacing):
        spacing = torch.tensor(spacing, dtype=torch.float64)
        mm = (positions(shape) + 0.5) * spacing.view(3, 1, 1, 1)
        u_mm = torch.stack(
            [0.02 * mm[0] * mm[1], -0.03 * mm[2] ** 2 + 0.2 * mm[0], -1.1 * mm[2] + 0.1 * mm[1]]
        )
        inner = torch.zeros(1, 1, *shape)
        inner[..., 1:-1, 1:-1, 1:-1] = 1
        return regulariser.density((u_mm / spacing.view(3, 1, 1, 1))[None], spacing_mm=spacing), inner

    fine, fine_inner = cost((12, 12, 12), (1.0, 1.0, 1.0))
    coarse, coarse_inner = cost((12, 6, 4), (1.0, 2.0, 3.0))
    # Second derivatives are constant; first ones differ by where in the voxel they are taken: compare means.
    fine, coarse = fine[fine_inner > 0].mean(), coarse[coarse_inner > 0].mean()
    exact = isinstance(regulariser, Bending | Curvature)
    assert fine.item() == pytest.approx(coarse.item(), rel=1e-9 if exact else 0.2)
    assert fine > 0


def test_linear_field_costs_exactly_the_same_on_every_grid():
    matrix_mm = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.4, 0.1], [0.2, 0.2, -1.5]], dtype=torch.float64)
    spacing = torch.tensor([0.7, 1.9, 5.0], dtype=torch.float64)
    matrix = matrix_mm * spacing[None] / spacing[:, None]
    for regulariser in (ALL[3], ALL[4]):
        physical = regulariser(linear_field((5, 5, 5), matrix_mm), spacing_mm=torch.ones(3))
        voxels = regulariser(linear_field((5, 5, 5), matrix), spacing_mm=spacing)
        assert voxels.item() == pytest.approx(physical.item(), rel=1e-12)
        assert physical > 0
    diffusion = Diffusion(weight=1.0).density(linear_field((5, 5, 5), matrix), spacing_mm=spacing)
    assert diffusion[0, 0, 2, 2, 2].item() == pytest.approx(matrix_mm.square().sum().item())


def test_bending_weight_in_mm_is_spacing_squared_times_that_in_voxels():
    field = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    in_mm = Bending(weight=1.8**2)(field, spacing_mm=torch.tensor([1.8, 1.8]))
    assert in_mm.item() == pytest.approx(Bending(weight=1.0, units="voxel")(field).item())


def test_weight_as_number_sample_and_map():
    torch.manual_seed(0)
    field = torch.randn(2, 2, 6, 7, dtype=torch.float64)
    regulariser = Diffusion(weight=0.25)
    plain = regulariser(field)
    torch.testing.assert_close(regulariser(field, weight=0.5), 2 * plain)
    torch.testing.assert_close(regulariser(field, weight=torch.tensor(0.5)), 2 * plain)
    torch.testing.assert_close(
        regulariser(field, weight=torch.tensor([0.5, 1.0])), plain * torch.tensor([2, 4])
    )
    weights = torch.rand(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    expected = (weights * regulariser.density(field, spacing_mm=None)).mean((1, 2, 3))
    value = regulariser(field, weight=weights)
    torch.testing.assert_close(value, expected)
    (gradient,) = torch.autograd.grad(value.sum(), weights)
    torch.testing.assert_close(gradient, regulariser.density(field, spacing_mm=None) / 42)
    with pytest.raises(DataError, match="weight has shape"):
        regulariser(field, weight=torch.ones(2, 1, 7, 6))


def test_sum_adds_weighted_terms_on_their_own_fields():
    torch.manual_seed(0)
    deformation = Deformation(displacement=3 * torch.randn(2, 2, 6, 6), regularised=torch.randn(2, 2, 6, 6))
    diffusion, folding = Diffusion(weight=0.3), Folding(eps=0.1, weight=0.7)
    total = Sum(terms={"diffusion": diffusion, "folding": folding}, weight=2.0)
    expected = diffusion(deformation.regularised) + folding(deformation.displacement)
    torch.testing.assert_close(total.evaluate(deformation), 2 * expected)
    torch.testing.assert_close(total.evaluate(deformation, weight=torch.ones(2, 1, 6, 6)), expected)
    torch.testing.assert_close(diffusion.evaluate(deformation), diffusion(deformation.regularised))


def test_refuses_what_makes_no_sense():
    with pytest.raises(ConfigError, match="units"):
        Bending(weight=1.0, units="cm")
    with pytest.raises(ConfigError, match="terms"):
        Sum(terms={}, weight=1.0)
    with pytest.raises(DataError, match="3 voxels"):
        Bending(weight=1.0)(torch.zeros(1, 2, 2, 8))
    with pytest.raises(DataError, match="component"):
        Diffusion(weight=1.0)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(DataError, match="spacing"):
        Diffusion(weight=1.0)(torch.zeros(2, 2, 8, 8), spacing_mm=torch.ones(2, 3))


@pytest.mark.parametrize("regulariser", ALL, ids=str)
@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 3)], ids=["2-D", "3-D"])
def test_first_and_second_derivative(regulariser, shape):
    torch.manual_seed(0)
    field = torch.randn(2, len(shape), *shape, dtype=torch.float64, requires_grad=True)
    spacing = torch.rand(2, len(shape)) + 0.5
    assert torch.autograd.gradcheck(lambda u: regulariser(u, spacing_mm=spacing), (field,), fast_mode=True)
    assert torch.autograd.gradgradcheck(
        lambda u: regulariser(u, spacing_mm=spacing), (field,), fast_mode=True
    )
