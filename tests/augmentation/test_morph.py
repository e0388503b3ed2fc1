"""Deformations: sizes, inverse, no folds, and a displacement equal to a pipeline written with numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from medreg.augmentation.morph import Morph
from medreg.errors import ConfigError
from medreg.geometry.compose import compose
from medreg.geometry.derivatives import jacobian_determinant


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def released(velocity, shape, *, radius, in_place):
    """Displacement in voxels of a coarse velocity (D, *nodes), integrated as a map in [−1, 1], like the authors do."""
    ndim = len(shape)
    fine = []
    for component in velocity:
        component = gaussian_filter(component, 1.0, mode="constant", truncate=radius)
        places = [
            np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
            for size, n in zip(shape, component.shape, strict=True)
        ]
        fine.append(map_coordinates(component, np.meshgrid(*places, indexing="ij"), order=1))
    unit = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    half = np.array([(size - 1) / 2 for size in shape]).reshape(-1, *[1] * ndim)
    first = unit + np.stack(fine) / 256

    def at(field, places):
        voxels = (np.clip(places, -1, 1) + 1) * half
        return np.stack([map_coordinates(one, voxels, order=1, mode="nearest") for one in field])

    flow = first
    for _ in range(8):
        flow = at(flow, flow)
    offset = flow - (first if in_place else unit)
    smoothed = [
        gaussian_filter(one, 1.0, mode="constant", truncate=radius) for one in at(unit, unit + offset) - unit
    ]
    return (np.clip(unit + np.stack(smoothed), -1, 1) - unit) * half


@pytest.mark.parametrize(
    ("shape", "stride"), [((96, 96), 8), ((64, 96), 16), ((50, 43), 8), ((32, 24, 10), (16, 16, 2))]
)
@pytest.mark.parametrize(("radius", "in_place"), [(3, False), (4, True)])
def test_the_displacement_is_that_of_the_released_pipeline(shape, stride, radius, in_place):
    member = Morph.paper(len(shape), stride=stride, radius=radius, in_place=in_place)
    phi = member.draw(torch.zeros(2, 1, *shape, dtype=torch.float64), generator=chance())
    found = member.displacement(phi, shape)[1].numpy()
    expected = released(phi[1].numpy(), shape, radius=radius, in_place=in_place)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert np.abs(released(phi[1].numpy(), shape, radius=radius, in_place=not in_place) - found).max() > 1e-3


def drawn(member, count=4, shape=(192, 192), seed=0):
    phi = member.draw(torch.zeros(count, 1, *shape), generator=chance(seed))
    return member.displacement(phi, shape), member.inverse_displacement(phi, shape)


@pytest.mark.parametrize(
    ("preset", "mean", "longest"),
    [(Morph.paper, (1.2, 1.5), (3.1, 4.6)), (Morph.release, (2.0, 3.3), (4.7, 8.2))],
)
def test_sizes_are_the_published_ones(preset, mean, longest):
    length = torch.cat([drawn(preset(2), seed=seed)[0] for seed in range(2)]).norm(dim=1).flatten(1)
    assert mean[0] < float(length.mean()) < mean[1]
    assert longest[0] < float(length.amax(1).min())
    assert float(length.amax(1).max()) < longest[1]


def test_lengths_in_voxels_do_not_depend_on_the_size_of_the_image():
    small, large = (drawn(Morph.paper(2), shape=(size, size))[0].norm(dim=1).mean() for size in (96, 192))
    assert float(small / large) == pytest.approx(1, abs=0.15)


def test_no_folds_and_an_inverse_good_to_hundredths_of_a_voxel():
    forward, backward = drawn(Morph.paper(2), 8)
    volume = jacobian_determinant(forward)
    assert float(volume[:, 1:-1, 1:-1].min()) > 0
    assert float(volume.min()) >= 0  # two points on the border may fall together
    residual = compose(forward, backward).norm(dim=1)
    inside = residual[:, 10:-10, 10:-10]
    assert float(inside.mean()) < 0.01
    assert float(inside.max()) < 0.05  # of 32 draws two reach 0.06, through the clamp at the border
    assert 1 < float(residual.max()) < 3.5  # the clamp at the border has no inverse


def test_points_stay_in_the_grid_and_unconfined_flows_fold_at_its_border():
    for confined in (True, False):
        forward, _ = drawn(Morph.paper(2, confined=confined))
        place = torch.arange(192.0)
        ends = (forward[:, 0] + place[:, None], forward[:, 1] + place)
        assert min(float(end.min()) for end in ends) >= -1e-4
        assert max(float(end.max()) for end in ends) <= 191 + 1e-4
        folded = float((jacobian_determinant(forward) <= 0).float().mean())
        assert folded < 2e-4 if confined else folded > 1e-3
    one, two = (drawn(Morph.paper(2, confined=kind))[0] for kind in (True, False))
    torch.testing.assert_close(one[..., 12:-12, 12:-12], two[..., 12:-12, 12:-12], atol=0.02, rtol=0)


def test_the_defect_loses_one_step_of_256():
    right, _ = drawn(Morph.paper(2))
    wrong, _ = drawn(Morph.paper(2, in_place=True))
    inside = (slice(None), slice(None), slice(12, -12), slice(12, -12))
    ratio = wrong[inside].norm() / right[inside].norm()
    assert float(ratio) == pytest.approx(1 - 1 / 256, abs=1e-3)
    assert float((wrong - right).abs().max()) < 0.03


def test_both_forms_are_the_same_family():
    image = torch.rand(2, 1, 48, 64, generator=chance())
    ball, sphere = (Morph.paper(2, form=form, epsilon=1.5) for form in ("ball", "sphere"))
    one, two = (member.draw(image, generator=chance(1)) for member in (ball, sphere))
    assert one.flatten(1).norm(dim=1).tolist() == pytest.approx([1.5, 1.5])
    assert two.flatten(1).norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
    torch.testing.assert_close(ball.apply(image, one), sphere.apply(image, two))
    near = [member.displacement(member.nearby(phi), (48, 64)) for member, phi in ((ball, one), (sphere, two))]
    torch.testing.assert_close(*near)
    gradient = torch.randn(one.shape, generator=chance(2))
    torch.testing.assert_close(ball.probe(one, gradient), 1.5 * sphere.probe(two, gradient))
    assert ball.nearby(one).flatten(1).norm(dim=1).tolist() == pytest.approx([0.5, 0.5])
    halved = ball.project(0.5 * one)
    assert torch.equal(halved, 0.5 * one)
    torch.testing.assert_close(sphere.project(0.5 * two), two)


def test_a_velocity_along_an_axis_pulls_along_that_axis():
    member = Morph.paper(2, epsilon=0.5)
    phi = member.identity(torch.zeros(1, 1, 64, 96))
    phi[:, 0, 4, 6] = 0.5
    forward = member.displacement(phi, (64, 96))
    assert float(forward[:, 1].abs().max()) == 0
    assert float(forward[0, 0, 36, 52]) > 1
    image = torch.arange(64.0).reshape(1, 1, 64, 1).expand(1, 1, 64, 96)
    pulled = (image + forward[:, :1])[0, 0, 30:45]
    torch.testing.assert_close(member.apply(image, phi)[0, 0, 30:45], pulled, atol=1e-4, rtol=0)


def test_more_squarings_where_the_deformation_is_large():
    shape = (64, 64)
    assert Morph.paper(2)._steps(shape) == 8
    assert Morph.paper(2, steps=1)._steps(shape) == 5  # 1.5·8/2⁵ ≤ ½
    strong = Morph.paper(2, steps=1, stride=32, epsilon=4.0)
    phi = strong.draw(torch.zeros(1, 1, *shape), generator=chance())
    rough, fine = (
        Morph.paper(2, steps=steps, stride=32, epsilon=4.0).displacement(phi, shape) for steps in (1, 10)
    )
    assert float((rough - fine).norm(dim=1).mean()) < 0.05 * float(fine.norm(dim=1).mean())


def test_volumes_may_be_thin():
    member = Morph.paper(3)
    assert member.nodes((64, 48, 9)) == (4, 3, 4)
    assert member.nodes((8, 8, 1)) == (1, 1, 1)
    image = torch.rand(1, 1, 40, 40, 6, generator=chance())
    assert member.apply(image, member.draw(image, generator=chance())).isfinite().all()


def test_velocities_of_another_size_are_refused():
    with pytest.raises(ValueError, match="have velocities"):
        Morph.paper(2).displacement(torch.zeros(1, 2, 8, 8), (192, 192))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": -1.0}, r"morph\.epsilon"),
        ({"form": "box"}, "ball or sphere"),
        ({"stride": 0}, r"morph\.stride"),
        ({"steps": 2.5}, r"morph\.steps"),
        ({"sigma": 0.0}, r"morph\.sigma"),
        ({"padding": "mirror"}, "zeros, border or lowest"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        Morph.paper(2, **changes)
