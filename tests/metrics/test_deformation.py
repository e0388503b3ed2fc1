"""Folding, smoothness and end-point error: closed forms, numpy, and the Jacobian of the GraDIRN release."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medreg.metrics.deformation import (
    authors_determinant,
    determinant,
    end_point_error_mm,
    folding_percent,
    mag_grad_det_j,
    magnitude_mm,
    negative_percent,
    sd_log_jacobian,
)


def diagonal_field(gains, shape):
    """u_k = gain_k · x_k."""
    axes = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) for size in shape], indexing="ij")
    return torch.stack([gain * axis for gain, axis in zip(gains, axes, strict=True)])[None]


def smooth_random_field(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(2, len(shape), *[4] * len(shape), generator=generator, dtype=torch.float64)
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    return torch.nn.functional.interpolate(coarse * 2, size=shape, mode=mode, align_corners=True)


@pytest.mark.parametrize(
    ("gains", "exact", "authors"),
    [((0.3, 0.0), 1.3, 1.0), ((-1.5, 0.0), -0.5, 1.0), ((0.3, -0.2, 0.1), 1.144, 0.776)],
)
def test_determinant_of_a_diagonal_field_has_the_known_values(gains, exact, authors):
    field = diagonal_field(gains, (9, 10, 11)[: len(gains)])
    inner = (0, *[slice(1, -1)] * len(gains))
    torch.testing.assert_close(determinant(field)[inner], torch.full_like(determinant(field)[inner], exact))
    found = authors_determinant(field)[inner]
    torch.testing.assert_close(found, torch.full_like(found, authors))


@pytest.mark.parametrize("shape", [(12, 9), (8, 9, 7)])
def test_authors_determinant_is_itk_fed_in_the_order_of_the_release(shape):
    field = smooth_random_field(shape, 0)
    for item, found in zip(field, authors_determinant(field), strict=True):
        image = sitk.GetImageFromArray(np.moveaxis(item.numpy(), 0, -1), isVector=True)
        expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(12, 9), (8, 9, 7)])
def test_exact_determinant_is_itk_fed_with_components_in_its_own_order(shape):
    field = smooth_random_field(shape, 1)
    reversed_components = np.moveaxis(field[0].numpy(), 0, -1)[..., ::-1].copy()
    image = sitk.GetImageFromArray(reversed_components, isVector=True)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))
    inner = (slice(1, -1),) * len(shape)
    np.testing.assert_allclose(determinant(field)[0].numpy()[inner], expected[inner], atol=1e-6)


def test_folding_counts_zero_and_negative_and_authors_only_negative():
    det = torch.tensor([[[-1.0, 0.0], [0.5, 2.0]]])
    assert folding_percent(det).item() == 50
    assert negative_percent(det).item() == 25
    mask = torch.tensor([[[[1, 0], [1, 1]]]])
    assert folding_percent(det, mask=mask).item() == pytest.approx(100 / 3)


def test_reflection_folds_everywhere():
    det = determinant(diagonal_field((-2.0, 0.0, 0.0), (7, 6, 5)))
    assert folding_percent(det).item() == 100


@pytest.mark.parametrize("gains", [(0.0, 0.0), (0.3, -0.2), (0.3, -0.2, 0.1)])
def test_sd_log_jacobian_of_an_affine_map_is_zero(gains):
    det = determinant(diagonal_field(gains, (8, 7, 6)[: len(gains)]))
    assert sd_log_jacobian(det).item() == pytest.approx(0, abs=1e-7)


def test_sd_log_jacobian_is_the_population_sd_of_the_clipped_logarithm():
    det = torch.from_numpy(np.random.default_rng(0).normal(1, 0.8, (1, 9, 8)))
    assert (det <= 0).any()
    expected = np.std(np.log(np.clip(det.numpy(), 1e-9, 1e9)))
    assert sd_log_jacobian(det).item() == pytest.approx(expected, rel=1e-12)


def test_sd_log_jacobian_of_learn2reg_shifts_crops_and_masks():
    rng = np.random.default_rng(1)
    det, mask = rng.normal(0, 2, (10, 9, 8)), rng.integers(0, 2, (10, 9, 8))
    assert (det <= -3).any()
    inner = (slice(2, -2),) * 3
    values = np.log(np.clip(det[inner] + 3, 1e-9, 1e9))
    given = torch.from_numpy(det)[None]
    assert sd_log_jacobian(given, shift=3, crop=2).item() == pytest.approx(values.std(), rel=1e-12)
    masked = sd_log_jacobian(given, shift=3, crop=2, mask=torch.from_numpy(mask)[None, None])
    assert masked.item() == pytest.approx(values[mask[inner] == 1].std(), rel=1e-12)


def test_sd_log_jacobian_of_a_sinusoid_has_its_closed_form():
    amplitude, period, size = 1.5, 16, 65
    x = torch.arange(size, dtype=torch.float64)
    field = torch.zeros(1, 2, size, 6, dtype=torch.float64)
    field[0, 0] = amplitude * torch.sin(2 * math.pi * x / period)[:, None]
    det = 1 + amplitude * math.sin(2 * math.pi / period) * torch.cos(2 * math.pi * x / period)
    expected = np.std(np.log(det.numpy()[2:-2]))
    assert sd_log_jacobian(determinant(field), crop=2).item() == pytest.approx(expected, rel=1e-9)


def test_mag_grad_det_j_is_the_mean_of_numpys_gradient():
    det = torch.from_numpy(np.random.default_rng(2).normal(size=(2, 7, 6, 5)))
    expected = [np.mean(np.abs(np.gradient(item))) for item in det.numpy()]
    np.testing.assert_allclose(mag_grad_det_j(det).numpy(), expected, rtol=1e-12)


def test_end_point_error_is_in_millimetres_and_inside_the_mask():
    truth = torch.zeros(1, 2, 4, 4)
    estimate = torch.zeros(1, 2, 4, 4)
    estimate[:, 0, :2], estimate[:, 1, :2] = 3.0, 4.0
    spacing = torch.tensor([[1.0, 2.0]])
    assert end_point_error_mm(estimate, truth, spacing_mm=spacing).item() == pytest.approx(73**0.5 / 2)
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2, :] = True
    found = end_point_error_mm(estimate, truth, spacing_mm=spacing, mask=mask)
    assert found.item() == pytest.approx(73**0.5)


def test_empty_mask_gives_nan_and_not_zero():
    assert folding_percent(torch.ones(1, 3, 3), mask=torch.zeros(1, 1, 3, 3)).isnan()


@pytest.mark.parametrize("spacing", [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0, 2.0, 3.0]])])
def test_magnitude_takes_the_spacing_with_or_without_a_batch_axis(spacing):
    found = magnitude_mm(torch.ones(1, 3, 2, 2, 2), spacing_mm=spacing)
    torch.testing.assert_close(found, torch.full((1, 2, 2, 2), 14**0.5))


@pytest.mark.parametrize("shape", [(9, 8), (5, 9, 7), (2, 2, 2)], ids=str)
def test_compiled_and_torch_statistics_agree(monkeypatch, shape):
    det = determinant(2.0 * torch.randn(2, len(shape), *shape, generator=torch.Generator().manual_seed(0)))

    def measured():
        clip = (1e-3, 4.0)
        return mag_grad_det_j(det), sd_log_jacobian(det), sd_log_jacobian(det, clip=clip, shift=3.0)

    found = measured()
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    torch.testing.assert_close(found, measured(), rtol=1e-6, atol=1e-9)


def test_spread_of_the_logarithm_keeps_its_digits_far_from_the_identity():
    det = 1e6 * (1.0 + 1e-3 * torch.randn(1, 20, 20, 20, dtype=torch.float64))
    assert sd_log_jacobian(det).item() == pytest.approx(det.log().std(correction=0).item(), rel=1e-6)
