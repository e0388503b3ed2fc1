"""Noise: its size, its two forms, what it leaves alone."""

from __future__ import annotations

import pytest
import torch

from medreg.augmentation.noise import Noise
from medreg.errors import ConfigError


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def norms(values):
    return values.flatten(1).norm(dim=1)


@pytest.mark.parametrize("preset", [Noise.paper, Noise.release])
@pytest.mark.parametrize(
    ("shape", "expected"), [((192, 192), 0.00521), ((224, 224), 0.0045), ((288, 288), 0.0035)]
)
def test_the_root_mean_square_change_is_epsilon_over_the_root_of_the_voxels(preset, shape, expected):
    image = torch.rand(3, 1, *shape, generator=chance())
    member = preset(2)
    change = member.apply(image, member.draw(image, generator=chance(1))) - image
    found = change.square().flatten(1).mean(1).sqrt()
    assert found.tolist() == pytest.approx([shape[0] ** -1.0] * 3, rel=1e-3)
    assert found.tolist() == pytest.approx([expected] * 3, rel=0.02)


def test_both_forms_are_the_same_family():
    image = torch.rand(2, 3, 9, 7, generator=chance())
    ball, sphere = Noise.paper(epsilon=0.3), Noise.release(epsilon=0.3)
    one, two = (member.draw(image, generator=chance(2)) for member in (ball, sphere))
    torch.testing.assert_close(norms(one), torch.full((2,), 0.3))
    torch.testing.assert_close(norms(two), torch.ones(2))
    torch.testing.assert_close(ball.apply(image, one), sphere.apply(image, two))
    near = [member.apply(image, member.nearby(phi)) - image for member, phi in ((ball, one), (sphere, two))]
    torch.testing.assert_close(*near)
    gradient = torch.randn(2, 3, 9, 7, generator=chance(3))
    far = [member.apply(image, member.probe(phi, gradient)) for member, phi in ((ball, one), (sphere, two))]
    torch.testing.assert_close(*far)


def test_the_ball_shortens_what_is_long_and_the_sphere_lengthens_what_is_short_too():
    phi = torch.randn(2, 1, 8, 8, generator=chance()) * torch.tensor([10.0, 1e-3]).reshape(2, 1, 1, 1)
    short = Noise.paper(epsilon=0.5).project(phi)
    assert norms(short)[0].item() == pytest.approx(0.5, rel=1e-5)
    assert torch.equal(short[1], phi[1])
    torch.testing.assert_close(norms(Noise.release(epsilon=0.5).project(phi)), torch.ones(2))


def test_a_power_iteration_looks_at_noise_of_length_xi_and_keeps_the_direction_of_tiny_gradients():
    member = Noise.paper(epsilon=0.5, xi=1e-3)
    phi = torch.randn(2, 1, 8, 8, generator=chance())
    torch.testing.assert_close(norms(member.nearby(phi)), torch.full((2,), 1e-3))
    gradient = 1e-30 * torch.randn(2, 1, 8, 8, generator=chance(1))
    found = member.probe(phi, gradient)
    torch.testing.assert_close(norms(found), torch.full((2,), 0.5))
    assert float((found * gradient * 1e30).sum()) > 0
    assert torch.equal(member.probe(phi, torch.zeros_like(phi)), torch.zeros_like(phi))


def test_ignored_intensities_and_the_background_stay():
    image = torch.rand(2, 1, 16, 16, generator=chance()) + 0.1
    image[:, :, :4] = 0.0
    image[:, :, 12:] = 2.0
    image[1] -= 1.0  # a background of −1 in the second sample
    untouched = torch.zeros_like(image, dtype=torch.bool)
    untouched[:, :, :4] = True

    def kept(**changes):
        member = Noise.paper(**changes)
        return member.apply(image, member.draw(image, generator=chance(1))) == image

    assert torch.equal(kept(ignore_background=True), untouched)
    value = kept(ignore=[2])
    assert value[0, :, 12:].all()
    assert not value[0, :, :12].any()
    assert not value[1].any()
    assert not kept().any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -1.0}, "noise.epsilon"),
        ({"form": "cube"}, "ball or sphere"),
        ({"ignore": 0.0}, "list of intensities"),
        ({"ignore": ["low"]}, "list of intensities"),
        ({"xi": 0.0}, "noise.xi"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Noise.paper(**changes)
