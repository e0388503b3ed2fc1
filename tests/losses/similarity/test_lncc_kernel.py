"""The sweep of the local correlation against its formula: borders, masks, long axes, threads, memory."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from medreg.kernels.compile import available
from medreg.losses.similarity.lncc import LNCC, LNCCSigned, LocalCorrelation

pytestmark = pytest.mark.skipif(not available(), reason="kernels are switched off or numba is absent")
SHAPES = [(3, 1, 7, 30), (2, 2, 45, 5), (1, 1, 43, 3, 9), (1, 2, 6, 9, 8)]


def images(shape, dtype=torch.float64):
    torch.manual_seed(0)
    return (3 + torch.rand(2, *shape, dtype=dtype)).unbind(0)


def both_forms(term, warped, fixed):
    """Value and gradients by the formula and by the kernel."""
    inputs = [image.clone().requires_grad_() for image in (warped, fixed)]
    value = term.formula(*inputs)
    found = term.evaluate(inputs, (True, True))
    return (value.detach(), *torch.autograd.grad(value.sum(), inputs)), (found.values, *found.gradients)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("window", [3, 5, 21])
def test_equals_the_formula_for_every_border_sign_and_mask(shape, window):
    warped, fixed = images(shape)
    mask = torch.rand(shape[0], 1, *shape[2:]).double().sub(0.3).clamp_min(0.0)
    for border, signed, seen in product(("inside", "zeros"), (False, True), (None, mask)):
        inside = 1.0 if seen is None else (seen > 0).double()
        term = LocalCorrelation(window, border, 1e-5, signed, seen)
        expected, found = both_forms(term, warped * inside, fixed * inside)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_float32_keeps_its_digits_along_a_long_axis_and_on_a_bright_offset(offset):
    """Noise of 1/64 steps, exact in float32 up to 2^17, after a part that is a thousand times as strong."""
    torch.manual_seed(0)
    warped, fixed = (torch.randint(64, (2, 1, 1, 4, 6000)) / 64.0).unbind(0)
    warped[..., :3000] *= 1024.0
    exact = LocalCorrelation(3, "inside", 1e-5, False, None).formula(warped.double(), fixed.double())
    ours = LNCC(window=3, weight=1.0)(warped + offset, fixed + offset)
    assert ours.item() == pytest.approx(exact.item(), rel=1e-6)


def test_same_bits_on_any_number_of_threads():
    warped, fixed = images((1, 1, 90, 8, 9), torch.float32)
    term = LocalCorrelation(3, "inside", 1e-5, False, None)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(term.evaluate((warped, fixed), (True, True)))
    finally:
        torch.set_num_threads(threads)
    assert found[0].values.equal(found[1].values)
    assert all(a.equal(b) for a, b in zip(found[0].gradients, found[1].gradients, strict=True))


@pytest.mark.parametrize("loss", [LNCC(window=5, weight=1.0), LNCCSigned(window=5, weight=1.0)], ids=str)
def test_keeps_images_and_one_gradient_for_the_backward_pass(loss):
    warped, fixed = images((1, 1, 20, 20, 20), torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        loss(warped.requires_grad_(), fixed)
    assert sum(kept) <= 2 * fixed.numel()


def test_nan_is_not_hidden():
    warped, fixed = images((1, 1, 9, 9), torch.float32)
    warped[0, 0, 4, 4] = torch.nan
    assert LNCC(window=3, weight=1.0)(warped, fixed).isnan()
