"""The energy as the sum of its terms, and what masks exclude from it."""

from __future__ import annotations

import pytest
import torch

from medreg.errors import ConfigError, DataError
from medreg.geometry.transformation import Deformation
from medreg.losses.energy import Energy
from medreg.losses.regularisation.diffusion import Diffusion
from medreg.losses.similarity.ssd import SSD


def smooth_deformation(shape=(9, 10), batch=2):
    torch.manual_seed(0)
    displacement = 0.4 + 0.3 * torch.randn(batch, len(shape), *shape, dtype=torch.float64)
    return Deformation(displacement=displacement, regularised=torch.randn_like(displacement))


def images(shape=(9, 10), batch=2):
    torch.manual_seed(1)
    return torch.rand(2, batch, 1, *shape, dtype=torch.float64).unbind(0)


@pytest.mark.parametrize("shape", [(9, 10), (5, 6, 7)], ids=["2-D", "3-D"])
def test_total_is_the_weighted_sum_of_parts(shape):
    fixed, moving = images(shape)
    deformation = smooth_deformation(shape)
    value = Energy(SSD(weight=3.0), Diffusion(weight=0.1))(fixed, moving, deformation)
    torch.testing.assert_close(value.similarity, (value.warped - fixed).square().flatten(1).mean(1))
    torch.testing.assert_close(value.regularisation, Diffusion(weight=0.1)(deformation.regularised))
    torch.testing.assert_close(value.total, (3 * value.similarity + value.regularisation).mean())


def test_identity_leaves_the_image():
    fixed, moving = images()
    zero = torch.zeros(2, 2, 9, 10, dtype=torch.float64)
    value = Energy(SSD(weight=1.0), Diffusion(weight=0.1))(fixed, moving, Deformation(zero, zero))
    torch.testing.assert_close(value.warped, moving)
    assert value.regularisation.abs().max() == 0


def test_weight_of_the_call_replaces_that_of_the_regulariser():
    fixed, moving = images()
    energy = Energy(SSD(weight=1.0), Diffusion(weight=0.1))
    plain = energy(fixed, moving, smooth_deformation())
    stronger = energy(fixed, moving, smooth_deformation(), weight=torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(stronger.regularisation, plain.regularisation * torch.tensor([2.0, 4.0]))


def test_data_weight_of_the_call_replaces_that_of_the_similarity():
    fixed, moving = images()
    energy = Energy(SSD(weight=3.0), Diffusion(weight=0.1))
    plain = energy(fixed, moving, smooth_deformation())
    torch.testing.assert_close(plain.energies, 3 * plain.similarity + plain.regularisation)
    weights = torch.tensor([0.5, 4.0], dtype=torch.float64)
    value = energy(fixed, moving, smooth_deformation(), data_weight=weights)
    torch.testing.assert_close(value.similarity, plain.similarity)
    torch.testing.assert_close(value.energies, weights * plain.similarity + plain.regularisation)
    torch.testing.assert_close(value.total, value.energies.mean())
    with pytest.raises(DataError, match="one value a sample"):
        energy(fixed, moving, smooth_deformation(), data_weight=torch.ones(2, 1, 9, 10))


def test_an_unknown_padding_is_refused():
    with pytest.raises(ConfigError, match="choose border or zeros"):
        Energy(SSD(weight=1.0), Diffusion(weight=0.1), padding="reflect")


def test_intensities_outside_the_masks_have_no_influence():
    fixed, moving = images()
    fixed_mask, moving_mask = torch.rand(2, 2, 1, 9, 10) > 0.15
    energy = Energy(SSD(weight=1.0), Diffusion(weight=0.0))
    masks = {"fixed_mask": fixed_mask, "moving_mask": moving_mask.to(torch.uint8)}
    plain = energy(fixed, moving, smooth_deformation(), **masks)
    assert plain.similarity.min() > 0
    fixed, moving = fixed + 50.0 * ~fixed_mask, moving.masked_fill(~moving_mask, float("nan"))
    u = smooth_deformation().displacement.requires_grad_()
    spoilt = energy(fixed, moving, Deformation(u, u), **masks)
    (gradient,) = torch.autograd.grad(spoilt.total, u)
    torch.testing.assert_close(spoilt.similarity, plain.similarity)
    assert torch.isfinite(gradient).all()


def test_moving_mask_shrinks_by_what_interpolation_reads():
    moving_mask = torch.ones(1, 1, 6, 6)
    moving_mask[..., 4:, :] = 0
    half = torch.zeros(1, 2, 6, 6)
    half[:, 0] = 0.5
    energy = Energy(SSD(weight=1.0), Diffusion(weight=0.0))
    overlap = energy.overlap(half, None, moving_mask)
    assert overlap[0, 0, :, 0].tolist() == [True, True, True, False, False, False]


def test_energy_drives_both_terms_and_differentiates_twice():
    fixed, moving = images((5, 6), 1)
    start = smooth_deformation((5, 6), 1).displacement.requires_grad_()
    energy = Energy(SSD(weight=1.0), Diffusion(weight=0.1))
    total = lambda u: energy(fixed, moving, Deformation(u, u), moving_mask=torch.ones(1, 1, 5, 6)).total  # noqa: E731
    assert torch.autograd.gradcheck(total, (start,), fast_mode=True)
    assert torch.autograd.gradgradcheck(total, (start,), fast_mode=True)
