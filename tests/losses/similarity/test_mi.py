"""Mutual information: independence, chunks, sampling and masks."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import GlobalMutualInformationLoss

from medreg.errors import ConfigError
from medreg.losses.similarity import parzen
from medreg.losses.similarity.mi import MI, NMI, sampled_voxels
from medreg.losses.similarity.parzen import ParzenWindow, joint_histogram


def plain_histogram(warped, fixed, window, weights):
    """The definition, with all windows in memory."""
    centres = torch.linspace(window.vmin, window.vmax, window.bins, dtype=warped.dtype)
    peak = 1 / (math.sqrt(2 * math.pi) * window.sigma)

    def kernel(v):
        return peak * torch.exp(-((v[:, None] - centres[:, None]) ** 2) / (2 * window.sigma**2))

    return torch.einsum("bin,bjn,bn->bij", kernel(warped), kernel(fixed), weights)


@pytest.mark.parametrize("form", ["kernel", "off"])
@pytest.mark.parametrize("bins", [2, 5, 16, 64])
def test_histogram_and_gradient_equal_the_definition(monkeypatch, form, bins):
    monkeypatch.setenv("MEDREG_KERNELS", form)
    monkeypatch.setattr(parzen, "_ELEMENTS_CPU", 1)
    monkeypatch.setattr(parzen, "_PART", 100)
    torch.manual_seed(0)
    warped, fixed, weights = (torch.rand(2, 300, dtype=torch.float64) for _ in range(3))
    upstream = torch.rand(2, bins**2, dtype=torch.float64)
    warped[0, :3] = torch.tensor([-0.5, 0.09, 1.5])  # outside the range: faded out, or nearly so
    warped.requires_grad_()
    fixed.requires_grad_()
    window = ParzenWindow(0.1, 0.8, bins)
    expected = plain_histogram(warped, fixed, window, weights)
    ours = joint_histogram(warped, fixed, window, weights=weights)
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-10)
    expected_gradients = torch.autograd.grad((expected.flatten(1) * upstream).sum(), (warped, fixed))
    gradients = torch.autograd.grad((ours.flatten(1) * upstream).sum(), (warped, fixed))
    torch.testing.assert_close(gradients, expected_gradients, rtol=1e-9, atol=1e-6)


def test_same_bits_on_any_number_of_threads():
    torch.manual_seed(0)
    warped, fixed = torch.rand(2, 1, 1, 300, 300).unbind(0)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            image = warped.clone().requires_grad_()
            value = NMI(bins=32, sample_ratio=1.0, weight=1.0)(image, fixed)
            found.append((value, *torch.autograd.grad(value, image)))
    finally:
        torch.set_num_threads(threads)
    assert all(a.equal(b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("form", ["kernel", "off"])
def test_nan_is_not_hidden(monkeypatch, form):
    monkeypatch.setenv("MEDREG_KERNELS", form)
    warped, fixed = torch.rand(2, 1, 1, 9, 9).unbind(0)
    warped[0, 0, 4, 4] = torch.nan
    assert MI(bins=8, sample_ratio=1.0, weight=1.0)(warped, fixed).isnan()


def test_keeps_images_but_no_windows_for_the_backward_pass():
    warped, fixed = torch.rand(2, 1, 1, 64, 64).unbind(0)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        MI(bins=16, sample_ratio=1.0, weight=1.0)(warped.requires_grad_(), fixed)
    assert sum(kept) < 3 * 64 * 64  # the windows alone would be 16 times an image


def test_independent_noise_shares_no_information():
    torch.manual_seed(0)
    noise, other = torch.rand(2, 1, 1, 128, 128)
    loss = MI(bins=16, sample_ratio=1.0, weight=1.0)
    assert loss(noise, other).item() == pytest.approx(0.0, abs=0.02)
    assert loss(noise, noise).item() < -1.5


def test_sampled_value_is_close_and_repeatable():
    torch.manual_seed(0)
    image = torch.nn.functional.avg_pool2d(torch.rand(1, 1, 132, 132), 5, 1)
    image = (image - image.min()) / (image.max() - image.min())
    full = NMI(bins=32, sample_ratio=1.0, weight=1.0)(image.square(), image)
    part = NMI(bins=32, sample_ratio=0.3, weight=1.0)
    assert part(image.square(), image).item() == pytest.approx(full.item(), abs=0.02)
    assert part(image.square(), image).equal(part(image.square(), image))


@pytest.mark.parametrize("ratio", [0.1, 0.7])
def test_sampled_voxels_are_spread_evenly(ratio):
    chosen = sampled_voxels(100_000, ratio, device=torch.device("cpu"))
    per_part = torch.bincount(chosen // 1000, minlength=100).float() / 1000
    assert (per_part - ratio).abs().max() < 0.01


def test_same_order_of_alignments_as_monai():
    """MONAI normalises the windows of each voxel and clips to [0, 1]; values differ, the ranking does not."""
    i = torch.linspace(0, 1, 64, dtype=torch.float64)
    image = (torch.sin(9 * i)[:, None] * torch.cos(7 * i)[None] * 0.5 + 0.5)[None, None]
    pairs = [(image.roll(shift, 2).square(), image) for shift in (0, 2, 4, 8)]
    monai = GlobalMutualInformationLoss(num_bins=32)
    ours = MI(bins=32, sample_ratio=1.0, weight=1.0)
    values = [(ours(*pair).item(), monai(*pair).item()) for pair in pairs]
    assert values == sorted(values)
    assert [v for _, v in values] == sorted(v for _, v in values)


def test_empty_mask_gives_zero_and_no_gradient():
    image = torch.rand(1, 1, 8, 8, requires_grad=True)
    for loss in (MI(bins=8, sample_ratio=1.0, weight=1.0), NMI(bins=8, sample_ratio=1.0, weight=1.0)):
        value = loss(image, image.detach(), mask=torch.zeros(1, 1, 8, 8))
        (gradient,) = torch.autograd.grad(value.sum(), image)
        assert value.item() == 0.0
        assert gradient.abs().max() == 0.0


@pytest.mark.parametrize("wrong", [{"bins": 1}, {"sample_ratio": 0.0}, {"vmin": 1.0}])
def test_refuses_impossible_settings(wrong):
    with pytest.raises(ConfigError, match=f"similarity.{next(iter(wrong))}"):
        NMI(**{"bins": 8, "sample_ratio": 1.0, "weight": 1.0, **wrong})
