"""Values that the released codes of GraDIRN and midir give for formula images, in float64."""

from __future__ import annotations

import pytest
import torch

from medreg.losses.similarity.lncc import LNCC, LNCCSigned
from medreg.losses.similarity.mi import MI, NMI
from medreg.losses.similarity.ncc import NCC, NCCSigned
from medreg.losses.similarity.ssd import SSD


def sinusoids():
    i = torch.arange(32, dtype=torch.float64)[:, None]
    j = torch.arange(32, dtype=torch.float64)[None]
    a = 0.5 + 0.5 * torch.sin(0.3 * i) * torch.cos(0.2 * j)
    b = 0.5 + 0.5 * torch.sin(0.3 * (i + 1.5)) * torch.cos(0.2 * (j - 1))
    return a[None, None], b[None, None]


def test_mean_squared_error_of_gradirn():
    a, b = sinusoids()
    assert SSD(weight=1.0)(a, b).item() == pytest.approx(0.0150410, abs=5e-8)


def test_squared_correlation_of_gradirn():
    a, b = sinusoids()
    assert NCC(weight=1.0)(a, b).item() == pytest.approx(-0.774079, abs=5e-7)
    exact = NCC(weight=1.0, eps=1e-30)
    assert exact(a, 2 * a + 3).item() == pytest.approx(-1.0, abs=1e-8)
    assert exact(a, -a).item() == pytest.approx(-1.0, abs=1e-8)


def test_signed_correlation_tells_inverted_contrast():
    a, _ = sinusoids()
    assert NCCSigned(weight=1.0, eps=1e-30)(a, 2 * a + 3).item() == pytest.approx(-1.0, abs=1e-8)
    assert NCCSigned(weight=1.0, eps=1e-30)(a, -a).item() == pytest.approx(1.0, abs=1e-8)
    assert LNCCSigned(window=5, weight=1.0, eps=1e-30)(a, -a).item() == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(("window", "value"), [(7, -0.809560), (9, -0.819594)])
def test_local_correlation_of_midir(window, value):
    a, b = sinusoids()
    assert LNCC(window=window, weight=1.0, border="zeros")(a, b).item() == pytest.approx(value, abs=5e-7)


def test_local_correlation_of_an_image_with_itself():
    a, _ = sinusoids()
    assert LNCC(window=7, weight=1.0, border="zeros")(a, a).item() == pytest.approx(-0.999990, abs=5e-7)


@pytest.mark.parametrize(
    ("function", "nmi64", "mi64", "nmi32"),
    [
        (lambda x: x, -1.652101, -3.278857, -1.603929),
        (lambda x: 1 - x, -1.652101, -3.278857, -1.603929),
        (lambda x: x**2, -1.604214, -3.044914, -1.555930),
        (lambda x: 0.5 + 0.5 * torch.sin(7 * x), -1.478273, -2.654753, -1.418156),
    ],
    ids=["identity", "inverted", "square", "sine"],
)
def test_mutual_information_of_midir(function, nmi64, mi64, nmi32):
    x = torch.linspace(0, 1, 4096, dtype=torch.float64).view(1, 1, 64, 64)
    y = function(x)
    assert NMI(bins=64, sample_ratio=1.0, weight=1.0)(y, x).item() == pytest.approx(nmi64, abs=1e-6)
    assert MI(bins=64, sample_ratio=1.0, weight=1.0)(y, x).item() == pytest.approx(mi64, abs=1e-6)
    assert NMI(bins=32, sample_ratio=1.0, weight=1.0)(y, x).item() == pytest.approx(nmi32, abs=1e-6)
