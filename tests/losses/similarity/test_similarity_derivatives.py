"""First and second derivatives of every similarity in float64, with and without mask."""

from __future__ import annotations

import pytest
import torch

from medreg.losses.similarity.lncc import LNCC, LNCCSigned
from medreg.losses.similarity.mi import MI, NMI
from medreg.losses.similarity.mind import MINDSSC
from medreg.losses.similarity.ncc import NCC, NCCSigned
from medreg.losses.similarity.ngf import NGF
from medreg.losses.similarity.ssd import SSD

LOSSES = [
    SSD(weight=1.0),
    NCC(weight=1.0),
    NCCSigned(weight=1.0),
    LNCC(window=3, weight=1.0),
    LNCC(window=3, weight=1.0, border="zeros"),
    LNCCSigned(window=3, weight=1.0),
    MI(bins=6, sample_ratio=1.0, weight=1.0),
    NMI(bins=6, sample_ratio=0.8, weight=1.0),
    NGF(eta=0.1, weight=1.0),
    MINDSSC(radius=1, dilation=1, weight=1.0),
]


def images(shape):
    torch.manual_seed(0)
    return torch.rand(2, *shape, dtype=torch.float64).requires_grad_().unbind(0)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (1, 2, 4, 3, 4)], ids=["2-D", "3-D"])
def test_first_derivative(loss, shape):
    warped, fixed = images(shape)
    mask = torch.rand(shape[0], 1, *shape[2:]) > 0.2
    assert torch.autograd.gradcheck(lambda w, f: loss(w, f, mask=mask), (warped, fixed), fast_mode=True)
    assert torch.autograd.gradcheck(lambda w: loss(w, fixed.detach()), (warped,), fast_mode=True)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_second_derivative(loss):
    warped, fixed = images((2, 1, 5, 6))
    mask = (torch.rand(2, 1, 5, 6) > 0.2).double()
    assert torch.autograd.gradgradcheck(lambda w, f: loss(w, f, mask=mask), (warped, fixed), fast_mode=True)
