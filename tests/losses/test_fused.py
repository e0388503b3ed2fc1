"""The frame of compiled losses: derivatives of every order, graphs that are kept, callers that trace."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from medreg.kernels.compile import available
from medreg.kernels.dispatch import usable
from medreg.losses.fused import Evaluation, fused

pytestmark = pytest.mark.skipif(not available(), reason="kernels are switched off or numba is absent")


@dataclass
class Cubes:
    """Σ a³·b² of each sample; counts how often each form runs."""

    evaluated: int = 0
    written_out: int = 0

    def formula(self, a, b):
        self.written_out += 1
        return (a**3 * b**2).flatten(1).sum(1)

    def evaluate(self, inputs, wanted):
        self.evaluated += 1
        a, b = inputs
        gradients = (3 * a**2 * b**2, 2 * a**3 * b)
        kept = tuple(g.detach() if want else None for g, want in zip(gradients, wanted, strict=True))
        return Evaluation((a**3 * b**2).flatten(1).sum(1).detach(), kept)


def inputs():
    torch.manual_seed(0)
    return torch.rand(2, 2, 1, 3, 4, dtype=torch.float64).requires_grad_().unbind(0)


def test_first_derivative_never_touches_the_formula():
    loss, (a, b) = Cubes(), inputs()
    upstream = torch.tensor([2.0, -1.0], dtype=torch.float64)
    found = torch.autograd.grad(fused(loss, a, b), (a, b), upstream)
    expected = torch.autograd.grad(loss.formula(a, b), (a, b), upstream)
    torch.testing.assert_close(found, expected)
    assert (loss.evaluated, loss.written_out) == (1, 1)


@pytest.mark.parametrize("grad_of", [(True, True), (True, False), (False, True)])
def test_derivatives_of_three_orders(grad_of):
    loss = Cubes()
    a, b = (x.detach().requires_grad_(need) for x, need in zip(inputs(), grad_of, strict=True))
    leaves = [x for x in (a, b) if x.requires_grad]

    def slope(*_):
        return torch.autograd.grad(fused(loss, a, b).square().sum(), leaves, create_graph=True)

    assert torch.autograd.gradcheck(lambda *_: fused(loss, a, b), leaves)
    assert torch.autograd.gradgradcheck(lambda *_: fused(loss, a, b), leaves)
    assert torch.autograd.gradgradcheck(slope, leaves)


def test_one_input_made_from_the_other():
    loss, (a, _) = Cubes(), inputs()
    value = fused(loss, a, a.sin())
    (first,) = torch.autograd.grad(value.sum(), a, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), a)
    x = a.detach().requires_grad_()
    (plain,) = torch.autograd.grad(loss.formula(x, x.sin()).sum(), x, create_graph=True)
    torch.testing.assert_close(first, plain)
    torch.testing.assert_close(second, torch.autograd.grad(plain.sum(), x)[0])


def test_retained_graph_gives_the_same_gradient_again():
    loss, (a, b) = Cubes(), inputs()
    value = fused(loss, a, b).sum()
    (first,) = torch.autograd.grad(value, a, retain_graph=True)
    (again,) = torch.autograd.grad(value, a)
    torch.testing.assert_close(first, again)
    assert loss.evaluated == 2


def test_no_gradient_is_made_where_none_is_wanted():
    a, b = inputs()
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            assert not fused(Cubes(), a, b).requires_grad


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own use
def test_tracing_half_precision_and_derivative_modes_of_others_take_the_formula():
    a = torch.rand(1, 1, 3, 3)
    assert usable(a)
    assert not usable(a.half())
    assert not usable(a, a.double())
    assert not usable(a.to("meta"))
    seen = []
    torch.vmap(lambda x: (seen.append(usable(x)), x)[1])(a)
    with torch.autograd.forward_ad.dual_level():
        seen.append(usable(torch.autograd.forward_ad.make_dual(a, a)))
    assert seen == [False, False]


def test_switched_off(monkeypatch):
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    assert not usable(torch.rand(1, 1, 3, 3))
