"""Local standardisation, and how many observations a field of residuals is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medreg.errors import ConfigError, DataError
from medreg.losses.likelihood.decimation import VirtualDecimation
from medreg.losses.likelihood.residual import Difference, LocallyStandardised
from medreg.losses.similarity.window import box_sum, extended_box_sum


def texture(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_hand(image, window, eps, border, mask):
    """Loops over the voxels of one image (X, Y)."""
    radius = window // 2
    weights = np.ones(image.shape) if mask is None else mask
    mode = {"mode": "edge"} if border == "replicate" else {"mode": "constant"}
    padded_weights = np.pad(weights, radius, **mode)

    def mean(values):
        padded, out = np.pad(values, radius, **mode), np.zeros(values.shape)
        for x, y in np.ndindex(*values.shape):
            part = padded[x : x + window, y : y + window]
            inside = padded_weights[x : x + window, y : y + window]
            out[x, y] = (part * inside).sum() / inside.sum() if inside.sum() else 0.0
        return out

    centred = (image - mean(image)) * (weights > 0)
    return centred / np.sqrt(mean(centred**2) + eps)


@pytest.mark.parametrize("border", ["replicate", "inside"])
@pytest.mark.parametrize("masked", [False, True])
def test_standardisation_is_that_of_loops(border, masked):
    image = texture(9, 7)
    mask = None
    if masked:
        mask = torch.zeros(9, 7, dtype=torch.float64)
        mask[2:8, 1:5] = 1.0
    standardise = LocallyStandardised(window=5, eps=1e-10, border=border)
    found = standardise.transformed(
        (image if mask is None else image * mask)[None, None], None if mask is None else mask[None, None]
    )
    known = by_hand(image.numpy(), 5, 1e-10, border, None if mask is None else mask.numpy())
    torch.testing.assert_close(found[0, 0], torch.from_numpy(known))


@pytest.mark.parametrize("shape", [(12, 10), (9, 8, 7)])
def test_blind_to_gain_and_offset(shape):
    fixed = texture(1, 1, *shape, dtype=torch.float32)
    residual = LocallyStandardised(window=3)(3.7 * fixed + 2.0, fixed)
    assert residual.abs().max() < 1e-3
    assert LocallyStandardised(window=3)(-fixed, fixed).abs().max() > 1.0


def test_nothing_outside_the_mask_has_an_influence():
    fixed, warped = texture(1, 1, 12, 10), texture(1, 1, 12, 10, seed=1)
    mask = torch.zeros(1, 1, 12, 10)
    mask[..., 3:9, 2:8] = 1
    for residual in (LocallyStandardised(window=5), Difference()):
        wild = [image.masked_fill(mask == 0, float("nan")).requires_grad_(True) for image in (warped, fixed)]
        found = residual(*wild, mask)
        assert found.isfinite().all()
        torch.testing.assert_close(found * mask, residual(warped, fixed, mask) * mask)
        gradients = torch.autograd.grad((found * mask).square().sum(), wild)
        assert all(g.isfinite().all() and (g * (1 - mask)).abs().max() == 0 for g in gradients)


@pytest.mark.parametrize("border", ["replicate", "inside"])
def test_gradients_of_the_residual(border):
    fixed, warped = texture(1, 1, 6, 5), texture(1, 1, 6, 5, seed=1).requires_grad_(True)
    residual = LocallyStandardised(window=3, eps=1e-2, border=border)
    mask = (texture(1, 1, 6, 5, seed=2) > 0.2).double()
    assert torch.autograd.gradcheck(lambda w: residual(w, fixed), warped)
    assert torch.autograd.gradcheck(lambda w: residual(w, fixed, mask), warped)
    assert torch.autograd.gradgradcheck(lambda w: residual(w, fixed), warped)


@pytest.mark.parametrize("shape", [(6, 5), (4, 5, 3), (1, 4)])
def test_box_sums_with_repeated_borders(shape):
    values = texture(2, 1, *shape).requires_grad_(True)
    padded = F.pad(values, [1] * 2 * len(shape), mode="replicate")
    inner = (..., *[slice(1, -1)] * len(shape))
    torch.testing.assert_close(extended_box_sum(values, 3), box_sum(padded, 3)[inner])
    assert torch.autograd.gradcheck(lambda v: extended_box_sum(v, 3), values)
    assert torch.autograd.gradgradcheck(lambda v: extended_box_sum(v, 3), values)


def test_the_fixed_image_is_standardised_once_and_again_when_it_changes():
    residual, fixed, warped = LocallyStandardised(window=3), texture(1, 1, 8, 8), texture(1, 1, 8, 8, seed=1)
    first = residual(warped, fixed)
    seen = []
    residual.transformed = lambda image, mask: seen.append(image) or image
    residual(warped, fixed)
    assert len(seen) == 1
    del residual.transformed
    fixed[..., :4] = 0.3
    assert not torch.equal(residual(warped, fixed), first)
    torch.testing.assert_close(residual(warped, fixed), LocallyStandardised(window=3)(warped, fixed))


def test_pairs_and_chains_are_independent():
    fixed, warped = texture(2, 1, 8, 7), texture(6, 1, 8, 7, seed=1)
    residual = LocallyStandardised(window=3)
    together = residual(warped, fixed)
    for sample in range(6):
        alone = LocallyStandardised(window=3)(warped[sample : sample + 1], fixed[sample % 2][None])
        torch.testing.assert_close(together[sample], alone[0])


def test_bad_residuals_are_refused():
    for bad in ({"window": 4}, {"window": 1}, {"window": 3, "eps": 0.0}, {"window": 3, "border": "zeros"}):
        with pytest.raises(ConfigError, match="likelihood"):
            LocallyStandardised(**bad)
    with pytest.raises(DataError, match="fixed grid"):
        Difference()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(DataError, match="one channel"):
        Difference()(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 5))
    with pytest.raises(DataError, match="chains of 2 pairs"):
        Difference()(torch.zeros(3, 1, 4, 4), torch.zeros(2, 1, 4, 4))


def smooth_noise(shape, fwhm):
    """White noise after a Gaussian filter, made in the Fourier domain so that its autocorrelation is a Gaussian."""
    white = torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    sigma = fwhm / math.sqrt(8 * math.log(2))
    spectrum = torch.fft.fftn(white)
    for axis, size in enumerate(shape):
        line = torch.exp(-0.5 * (2 * math.pi * sigma * torch.fft.fftfreq(size)).square())
        spectrum = spectrum * line.view(-1, *[1] * (len(shape) - 1 - axis))
    field = torch.fft.ifftn(spectrum).real
    return field / field.std()


@pytest.mark.parametrize(
    ("fwhm", "normalised", "squared"),
    [(0, 1.0, 0.592), (1.5, 0.245, 0.260), (2, 0.108, 0.136), (3, 0.033, 0.047)],
)
def test_decimation_of_smoothed_noise(fwhm, normalised, squared):
    field = smooth_noise((96, 96, 96), fwhm)
    for measured, known in (("normalised", normalised), ("squared_released", squared)):
        share = float(VirtualDecimation(residual=measured)(field))
        assert share == pytest.approx(known, rel=0.1), measured


def test_decimation_in_two_dimensions_is_the_product_over_two_axes():
    known = (0.9394 / 2) ** 2
    assert float(VirtualDecimation()(smooth_noise((300, 280), 2))) == pytest.approx(known, rel=0.05)


def test_negative_correlation_keeps_every_observation():
    rows = torch.ones(1, 1, 8, 6)
    rows[..., ::2, :] = -1.0  # neighbours along the first axis are opposite
    rows[..., ::2] *= -1.0  # and along the second
    assert float(VirtualDecimation()(rows)) == 1.0
    assert float(VirtualDecimation()(torch.zeros(1, 1, 8, 6))) == 1.0


def test_masked_voxels_are_no_observations():
    field = torch.randn(2, 1, 40, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = torch.zeros(2, 1, 40, 30)
    mask[..., 5:30, 4:20] = 1
    wild = field.masked_fill(mask == 0, float("nan"))
    shares = VirtualDecimation()(wild, mask)
    torch.testing.assert_close(shares, VirtualDecimation()(field * mask))
    inner = (field * mask)[1, 0].numpy()
    power = (inner**2).sum()
    known = 1.0
    for axis in range(2):
        pairs = np.delete(inner, -1, axis) * np.delete(inner, 0, axis)
        c = pairs.sum() / power
        known *= 1.0 if c <= 0 else math.sqrt(min(1.0, -2 / math.pi * math.log(c)))
    assert float(shares[1]) == pytest.approx(known, rel=1e-12)


def test_an_unknown_measure_is_refused():
    with pytest.raises(ConfigError, match="squared_released"):
        VirtualDecimation(residual="absolute")
