"""Compiled warps, squarings and Jacobians against their torch formulas, which run when kernels are switched off."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from medreg.geometry.derivatives import jacobian_determinant
from medreg.geometry.grid import within_grid
from medreg.geometry.svf import exponential
from medreg.geometry.warp import sample, square, warp, warp_gather
from medreg.geometry.warp_fast import _Warp
from medreg.kernels.compile import available

pytestmark = pytest.mark.skipif(not available(), reason="numba is not installed")
SHAPES = [
    ((7, 9), (6, 11)),
    ((5, 6, 7), (4, 7, 5)),
    ((1, 6), (5, 4)),
    ((4, 1), (1, 1)),
    ((3, 1, 5), (1, 4, 3)),
]


@pytest.fixture
def both(monkeypatch):
    """Calls a function with kernels and without."""

    def run(function):
        fast = function()
        monkeypatch.setenv("MEDREG_KERNELS", "off")
        slow = function()
        monkeypatch.delenv("MEDREG_KERNELS")
        return fast, slow

    return run


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def pair(image_shape, shape, *, batches=(2, 2), channels=2, amplitude=2.0, dtype=torch.float64):
    image = torch.rand(batches[0], channels, *image_shape, dtype=dtype)
    return image, amplitude * torch.randn(batches[1], len(shape), *shape, dtype=dtype) + 0.01


def derivatives(function, *inputs):
    leaves = [tensor.clone().requires_grad_(True) for tensor in inputs]
    value = function(*leaves)
    weights = torch.linspace(0.5, 1.5, value.numel(), dtype=value.dtype).reshape(value.shape)
    return (value.detach(), *torch.autograd.grad((value * weights).sum(), leaves))


def third(function, leaf):
    """Three nested derivatives of a cubic in the function."""
    value = (function(leaf) ** 3).sum()
    for _ in range(3):
        (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
        value = (gradient**2).mean()
    return (gradient.detach(),)


def close(ours, expected, tolerance=1e-11):
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("convention", ["exact", "authors", "midir"])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize(("shape", "image_shape"), SHAPES)
def test_value_and_gradients_equal_the_torch_formula(both, shape, image_shape, padding, convention):
    inputs = pair(image_shape, shape)
    assert "Warp" in warp(inputs[0], inputs[1].requires_grad_(True)).grad_fn.name()
    inputs = (inputs[0], inputs[1].detach())
    close(
        *both(lambda: derivatives(lambda i, u: warp(i, u, padding=padding, convention=convention), *inputs))
    )


@pytest.mark.parametrize("batches", [(1, 3), (3, 1), (1, 1)])
def test_a_broadcast_argument_gets_the_sum_of_the_gradients(both, batches):
    inputs = pair((6, 5), (7, 4), batches=batches)
    fast, slow = both(lambda: derivatives(warp, *inputs))
    assert [tuple(gradient.shape) for gradient in fast[1:]] == [tuple(tensor.shape) for tensor in inputs]
    close(fast, slow)


def test_single_precision_tensors_in_any_memory_order(both):
    image, field = pair((12, 13), (12, 13), dtype=torch.float32)
    image = image.to(memory_format=torch.channels_last)
    field = field.transpose(2, 3).contiguous().transpose(2, 3)
    fast, slow = both(lambda: derivatives(warp, image, field))
    close(fast, slow, 1e-4)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("moves", list(itertools.product([-7.0, -1.0, 0.0, 2.0, 9.0], repeat=2))[::3])
def test_derivatives_at_lattice_points_and_beyond_the_border_are_forward_differences(moves, padding):
    image = torch.rand(1, 1, 5, 6, dtype=torch.float64)
    field = torch.zeros(1, 2, 5, 6, dtype=torch.float64)
    field[:, 0], field[:, 1] = moves
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(6.0), indexing="ij")).double()
    expected = derivatives(lambda i, u: warp_gather(i, grid + u, padding=padding), image, field)
    close(derivatives(lambda i, u: warp(i, u, padding=padding), image, field), expected)


def test_border_derivative_is_zero_at_the_outermost_voxels_and_forward_inside():
    image = torch.rand(1, 1, 6, 1, dtype=torch.float64)
    field = torch.zeros(1, 2, 6, 1, dtype=torch.float64)
    _, _, slope = derivatives(lambda i, u: warp(i, u).sum().reshape(1), image, field)
    expected = torch.zeros(6, dtype=torch.float64)
    expected[1:5] = (image[0, 0, 2:, 0] - image[0, 0, 1:5, 0]) * 0.5
    torch.testing.assert_close(slope[0, 0, :, 0], expected)


def test_results_do_not_depend_on_the_number_of_threads(threads):
    image, field = pair((40, 41, 42), (40, 41, 42), batches=(1, 1), dtype=torch.float32)
    found = []
    for number in (1, 2, 3):
        threads(number)
        determinant = derivatives(lambda u: jacobian_determinant(u), field)
        found.append((*derivatives(warp, image, field), *derivatives(square, field), *determinant))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e30])
def test_no_displacement_leads_outside_the_image(padding, bad):
    image, field = pair((6, 7), (6, 7), amplitude=0.0)
    field[0, 0, 2, 3] = bad
    value, in_image, _ = derivatives(lambda i, u: warp(i, u, padding=padding), image, field)
    others = torch.ones(6, 7, dtype=torch.bool)
    others[2, 3] = False
    assert torch.isfinite(value[:, :, others]).all()
    assert torch.isfinite(value[0, :, 2, 3]).all() == (bad == bad)
    assert torch.isfinite(in_image[1]).all()
    assert warp(image, field, mode="nearest", padding=padding).shape == value.shape


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
def test_second_derivatives_of_a_constant_image_come_from_the_kernel(both, shape, padding):
    image, field = pair(tuple(n + 1 for n in shape), shape, batches=(2, 1), amplitude=0.8)
    field.requires_grad_(True)
    assert gradgradcheck(lambda u: warp(image, u, padding=padding), (field,))

    close(*both(lambda: third(lambda u: warp(image, u, padding=padding), field)), 1e-9)


def test_only_what_is_asked_for_is_differentiated():
    image, field = pair((6, 7), (6, 7))
    image.requires_grad_(True)
    (in_image,) = torch.autograd.grad(warp(image, field).sum(), image)
    torch.testing.assert_close(in_image.sum(), torch.tensor(2.0 * 2 * 42, dtype=torch.float64))


@pytest.mark.parametrize("convention", ["exact", "midir"])
@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_exponential_equals_the_torch_formula_and_keeps_one_field_a_step(both, shape, convention):
    _, velocity = pair(shape, shape, amplitude=0.7)
    sizes = []

    def saved(tensor):
        sizes.append(tensor.numel())
        return tensor

    def integrate(v):
        with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
            return exponential(v, steps=4, padding="zeros", convention=convention)

    fast, slow = both(lambda: derivatives(integrate, velocity))
    close(fast, slow)
    assert sum(sizes[:4]) == 4 * velocity.numel()
    small = velocity[:1].clone().requires_grad_(True)
    assert gradcheck(lambda v: exponential(v, steps=2), (small,))


def test_exponential_is_differentiable_twice_and_more(both):
    velocity = (0.4 * torch.randn(1, 2, 3, 4, dtype=torch.float64)).requires_grad_(True)
    assert gradgradcheck(lambda v: exponential(v, steps=2), (velocity,))
    close(*both(lambda: third(lambda v: exponential(v, steps=2), velocity)), 1e-9)


@pytest.mark.parametrize("mode", ["central", "forward"])
@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (5, 6), (3, 700), (1, 4, 2), (2, 1, 3), (4, 5, 6)])
def test_jacobian_determinant_equals_the_torch_formula(both, shape, mode):
    _, field = pair(shape, shape)
    close(*both(lambda: derivatives(lambda u: jacobian_determinant(u, mode=mode), field)))


def test_jacobian_determinant_is_differentiable_twice():
    field = torch.randn(1, 3, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(jacobian_determinant, (field,))
    assert gradgradcheck(jacobian_determinant, (field,))


@pytest.mark.parametrize("convention", ["exact", "authors"])
@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bfloat16, torch.float32, torch.bool])
def test_labels_are_the_same_to_the_bit(both, dtype, padding, convention):
    labels, field = pair((9, 8, 7), (7, 8, 9), dtype=torch.float32)
    field[:, :, :3] = field[:, :, :3].round() + 0.5
    labels = (10 * labels).to(dtype)
    fast, slow = both(lambda: warp(labels, field, mode="nearest", padding=padding, convention=convention))
    assert fast.dtype == dtype
    assert torch.equal(fast, slow)


def test_a_nearest_image_that_wants_a_gradient_gets_one():
    image, field = pair((6, 7), (6, 7), amplitude=0.0)
    (gradient,) = torch.autograd.grad(warp(image.requires_grad_(True), field, mode="nearest").sum(), image)
    assert (gradient == 1).all()


def test_points_far_along_a_list_are_sampled_as_exactly_as_the_first(both):
    field = torch.linspace(0, 1, 32).reshape(1, 1, 32, 1).expand(1, 1, 32, 32)
    points = torch.tensor([3.3, 7.7]).expand(1, 300_000, 2)
    for values in both(lambda: sample(field, points)):
        torch.testing.assert_close(values, torch.full_like(values, 3.3 / 31), rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_transformations_of_functions_fall_back_to_torch():
    image, field = pair((5, 6), (5, 6), batches=(3, 3))
    expected = warp(image, field)
    mapped = torch.func.vmap(lambda i, u: warp(i[None], u[None])[0])(image, field)
    torch.testing.assert_close(mapped, expected)
    gradient = torch.func.grad(lambda u: warp(image, u).square().sum())(field)
    leaf = field.clone().requires_grad_(True)
    (reference,) = torch.autograd.grad(warp(image, leaf).square().sum(), leaf)
    torch.testing.assert_close(gradient, reference)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(field, torch.ones_like(field))
        tangent = forward_ad.unpack_dual(jacobian_determinant(dual)).tangent
    torch.testing.assert_close(tangent, torch.zeros_like(tangent))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*lru_cache.*:UserWarning")  # dynamo would rather trace than call them
def test_compilation_traces_the_torch_formula():
    image, field = pair((5, 6), (5, 6), batches=(3, 3))
    compiled = torch.compile(lambda i, u: warp(i, u) * 2, backend="eager")
    torch.testing.assert_close(compiled(image, field), 2 * warp(image, field))


def test_kernels_are_not_used_for_other_devices_dtypes_or_when_switched_off(monkeypatch):
    calls = []
    monkeypatch.setattr(_Warp, "apply", lambda *arguments: calls.append(arguments) or arguments[0])
    image, field = pair((5, 6), (5, 6))
    assert warp(image.to("meta"), field.to("meta")).shape == image.shape
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    warp(image, field)
    assert calls == []
    monkeypatch.delenv("MEDREG_KERNELS")
    warp(image, field)
    assert len(calls) == 1


@pytest.mark.slow
def test_loader_processes_forked_after_the_threads_started_can_warp():
    code = """
import torch
from torch.utils.data import DataLoader
from medreg.geometry.warp import warp
torch.set_num_threads(2)
image, field = torch.rand(1, 1, 40, 41, 42), torch.rand(1, 3, 40, 41, 42)
here = warp(image, field)
class Pairs(torch.utils.data.Dataset):
    def __len__(self): return 2
    def __getitem__(self, index):
        torch.set_num_threads(2)
        return warp(image, field)
for there in DataLoader(Pairs(), batch_size=None, num_workers=1, multiprocessing_context="fork"):
    assert torch.equal(here, there)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    assert subprocess.run([sys.executable, "-c", code], timeout=120, env=environment).returncode == 0


@pytest.mark.parametrize("amplitude", [0.3, 3.0, 40.0])
@pytest.mark.parametrize("shape", [(9, 12), (6, 7, 5)])
def test_confined_squaring(both, shape, amplitude):
    generator = torch.Generator().manual_seed(0)
    field = amplitude * torch.randn(2, len(shape), *shape, dtype=torch.float64, generator=generator)
    upstream = torch.randn(field.shape, dtype=torch.float64, generator=generator)

    def found():
        leaf = field.clone().requires_grad_()
        value = square(leaf, confined=True)
        (gradient,) = torch.autograd.grad(value, leaf, upstream, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), leaf)
        return value, gradient, second

    fast, slow = both(found)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other)
    expected = square(field) + within_grid(field) - field
    torch.testing.assert_close(fast[0].detach(), expected)
    assert torch.isnan(square(torch.full_like(field, torch.nan), confined=True)).all()
