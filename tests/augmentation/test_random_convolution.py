"""Random convolutions: geometry kept, independent weights, the releases' statistics."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.augmentation.misalignment import moved
from medreg.augmentation.random_convolution import CAR, GIN, Draw, Layer, RandConv, Stack, Unchanged, convolve
from medreg.errors import ConfigError
from medreg.geometry.affine_pose import pose_matrix

STACK = Stack(layers=4, channels=8, wide=0.0, bias=0.3, slope=0.01)
ALL = {
    "stack": STACK,
    "stack_wide": Stack(layers=4, channels=8, wide=1.0, bias=0.3, slope=0.01),
    "randconv": RandConv(kernels=(1, 3, 5, 7), mixing=True, unchanged=0.0),
    "gin": GIN(layers=4, channels=2, kernels=(1, 3), slope=0.01),
    "car": CAR(layers=4, channels=8, slope=0.01),
}


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth(count=2, size=48):
    """Images without edges: interpolation of them is nearly exact."""
    x = torch.linspace(-math.pi, math.pi, size)
    waves = torch.stack([torch.sin(x + k).outer(torch.cos(x - 2 * k)) for k in range(count)])
    return 0.5 + 0.5 * waves.unsqueeze(1)


@pytest.mark.parametrize("turn", [lambda a: a.flip(2), lambda a: a.flip(3), lambda a: a.rot90(1, (2, 3))])
@pytest.mark.parametrize("g", [STACK, ALL["car"]], ids=["stack", "car"])
def test_single_voxel_kernels_commute_with_flips_and_quarter_turns(g, turn):
    image = torch.rand(3, 1, 12, 12, generator=chance())
    draw = g.draw(3, ndim=2, generator=chance(1))
    torch.testing.assert_close(g.apply(turn(image), draw), turn(g.apply(image, draw)))


def test_single_voxel_kernels_commute_with_affine_maps_up_to_interpolation():
    image = smooth()
    pose = torch.tensor([[0.3, 0.1, -0.05, 0.1, -0.1, 0.1]]).repeat(2, 1)
    matrix = pose_matrix(pose, torch.ones(2))
    inside = moved(torch.ones_like(image), matrix) > 0.999
    for seed in range(4):
        draw = STACK.draw(2, ndim=2, generator=chance(seed))
        before, after = STACK.apply(moved(image, matrix), draw), moved(STACK.apply(image, draw), matrix)
        for k in range(2):
            spread = float(after[k][inside[k]].std())
            assert float((before - after)[k][inside[k]].abs().mean()) < 0.02 * spread + 1e-7


@pytest.mark.parametrize("wide", [0, 1, 2, 3])
def test_an_edge_moves_by_no_more_than_one_pixel_for_each_wide_layer(wide):
    image = (torch.arange(24) >= 12).float().expand(1, 1, 24, 24)
    for seed in range(5):
        generator = chance(seed)
        layers = [
            Layer(torch.randn(1, 1, 1, *[3 if n < wide else 1] * 2, generator=generator), torch.zeros(1, 1))
            for n in range(3)
        ]
        out = image
        for layer in layers:
            out = torch.nn.functional.leaky_relu(convolve(out, layer), 0.01)
        steps = out[0, 0, 12, 4:20].diff().abs()  # the middle of the image, away from its zero padding
        assert float(steps.max()) > 0
        changed = (steps > 1e-3 * steps.max()).nonzero()[:, 0] + 4  # between p and p + 1; the edge is at 11
        assert int((changed - 11).abs().max()) <= wide


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_samples_and_calls_have_weights_of_their_own(name, ndim):
    g, generator = ALL[name], chance()
    image = torch.rand(1, 1, *[9] * ndim, generator=chance(5)).repeat(2, *[1] * (ndim + 1))
    first, second = g(image, generator=generator), g(image, generator=generator)
    assert first.shape == image.shape
    assert torch.isfinite(first).all()
    assert not torch.allclose(first[0], first[1])
    assert not torch.allclose(first, second)
    torch.testing.assert_close(g(image, generator=chance()), first)


def test_no_gradient_leaves_a_call_but_apply_can_be_differentiated():
    image = torch.rand(1, 1, 6, 6, requires_grad=True)
    assert not STACK(image, generator=chance()).requires_grad
    STACK.apply(image, STACK.draw(1, ndim=2, generator=chance())).sum().backward()
    assert float(image.grad.abs().sum()) > 0


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("kernel", [1, 3])
def test_each_sample_is_convolved_by_its_own_weights(ndim, kernel):
    """Against torch's convolution, one sample at a time."""
    generator = chance()
    image = torch.randn(3, 2, *[7] * ndim, generator=generator)
    layer = Layer(
        torch.randn(3, 4, 2, *[kernel] * ndim, generator=generator), torch.randn(3, 4, generator=generator)
    )
    plain = {2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}[ndim]
    expected = torch.cat(
        [plain(image[i : i + 1], layer.weight[i], layer.bias[i], padding=kernel // 2) for i in range(3)]
    )
    torch.testing.assert_close(convolve(image, layer), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_randconv_weights_have_variance_one_over_fan_in(kernel):
    g = RandConv(kernels=(kernel,), mixing=True, unchanged=0.0)
    weight = g.draw(200_000 // kernel**2, ndim=2, generator=chance()).layers[0].weight
    assert float(weight.var() * kernel**2) == pytest.approx(1, rel=0.02)
    assert abs(float(weight.mean()) * kernel) < 0.01


def test_randconv_takes_each_kernel_equally_often_and_mixes_uniformly():
    g = RandConv(kernels=(1, 3, 5, 7), mixing=True, unchanged=0.0)
    generator = chance()
    draws = [g.draw(2, ndim=2, generator=generator) for _ in range(2000)]
    sizes = torch.tensor([draw.layers[0].weight.shape[-1] for draw in draws])
    for size in (1, 3, 5, 7):
        assert float((sizes == size).float().mean()) == pytest.approx(0.25, abs=0.035)  # 3.6 standard errors
    alpha = torch.cat([draw.alpha for draw in draws]).sort().values
    uniform = (torch.arange(len(alpha)) + 0.5) / len(alpha)
    assert float((alpha - uniform).abs().max()) < 1.63 / len(alpha) ** 0.5  # Kolmogorov and Smirnov, 1 %


def test_randconv_leaves_a_share_unchanged():
    g = RandConv(kernels=(3,), mixing=False, unchanged=0.5)
    image = torch.rand(400, 1, 4, 4, generator=chance(2))
    same = (g(image, generator=chance()) == image).flatten(1).all(1)
    assert float(same.float().mean()) == pytest.approx(0.5, abs=0.08)


def test_gin_keeps_the_norm_and_car_spans_the_unit_interval():
    image = torch.rand(4, 1, 8, 8, generator=chance(3))
    gin, car = ALL["gin"](image, generator=chance()), ALL["car"](image, generator=chance())
    torch.testing.assert_close(gin.flatten(1).norm(dim=1), image.flatten(1).norm(dim=1), rtol=1e-3, atol=0)
    torch.testing.assert_close(car.flatten(1).amin(1), torch.zeros(4))
    torch.testing.assert_close(car.flatten(1).amax(1), torch.ones(4))


def test_unchanged_is_the_image():
    image = torch.rand(2, 1, 5, 5)
    assert Unchanged()(image, generator=chance()) is image


def test_a_draw_repeats_for_several_images_in_order():
    draw = STACK.draw(2, ndim=2, generator=chance())
    image = torch.rand(3, 1, 5, 5, generator=chance(1))
    out = STACK.apply(image.repeat_interleave(2, 0), draw.repeat(3))
    one = STACK.apply(image[1:2].repeat(2, 1, 1, 1), draw)
    torch.testing.assert_close(out[2:4], one)
    assert isinstance(draw.to(image.double()), Draw)
    assert draw.to(image.double()).layers[0].weight.dtype == torch.float64


@pytest.mark.parametrize("kernels", [(), (2,), (0, 3)])
def test_kernels_without_a_centre_are_refused(kernels):
    with pytest.raises(ConfigError, match="odd sizes"):
        RandConv(kernels=kernels, mixing=True, unchanged=0.0)
