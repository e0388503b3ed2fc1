"""Affine maps: conventions, limits, the exact inverse, and a resampling written with numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from medreg.augmentation.affine import AffineMap, inverse
from medreg.errors import ConfigError


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def only(ndim=2, **entries):
    """Parameters in which few entries are not 0: rotation, scale0, shift1, …"""
    names = {
        2: ["rotation", "scale0", "scale1", "shift0", "shift1"],
        3: [f"{kind}{axis}" for kind in ("rotation", "scale", "shift") for axis in range(3)],
    }[ndim]
    return torch.tensor([[float(entries.get(name, 0.0)) for name in names]])


def letter(size=48):
    """An L: a long stroke along axis 0, a short one at its end along axis 1."""
    image = torch.zeros(1, 1, size, size)
    image[..., size // 4 : -size // 4, size // 4 : size // 4 + 4] = 1
    image[..., -size // 4 - 4 : -size // 4, size // 4 : size // 2 + 4] = 1
    return image


def smooth(shape, count=2):
    grid = torch.meshgrid(*[torch.linspace(-1, 1, size) for size in shape], indexing="ij")
    waves = [sum(torch.sin((2 + k + a) * axis + a) for a, axis in enumerate(grid)) for k in range(count)]
    waves = torch.stack(waves).unsqueeze(1)
    return 0.5 + 0.5 * waves / waves.abs().max()


def released(image, p, *, rotation, scale, shift):
    """The authors' warp of one array: coordinates last axis first, in [−1, 1]; p is theirs."""
    shape, ndim = image.shape, image.ndim
    h = np.clip(p, -1, 1)
    if ndim == 2:
        (angle,) = h[:1] * rotation
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        stretch, move = h[1:3] * scale, h[3:] * shift
    else:
        (cx, cy, cz), (sx, sy, sz) = np.cos(h[:3] * rotation), np.sin(h[:3] * rotation)
        about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        turn = about_z @ about_y @ about_x
        stretch, move = h[3:6] * scale, h[6:] * shift
    axes = [np.linspace(-1, 1, size) for size in shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij")[::-1]).reshape(ndim, -1)  # x belongs to the last axis
    points = (turn * (1 + stretch)) @ points + move[:, None]
    voxels = [(value + 1) / 2 * (size - 1) for value, size in zip(points[::-1], shape, strict=True)]
    return map_coordinates(image, voxels, order=1, mode="grid-constant").reshape(shape)


@pytest.mark.parametrize("shape", [(40, 40), (33, 52), (14, 18, 11)])
def test_normalised_coordinates_are_the_released_map_with_axes_reversed(shape):
    ndim = len(shape)
    limits = [0.2, 0.15, 0.1][:ndim], [0.1, 0.05, 0.02][:ndim]
    angles = 25.0 if ndim == 2 else [10.0, 20.0, 30.0]
    member = AffineMap.release(
        ndim, rotation_deg=angles, scale=limits[0], shift=limits[1], coordinates="normalised"
    )
    image = torch.rand(1, 1, *shape, generator=chance(), dtype=torch.float64)
    phi = 1.2 * member.draw(image, generator=chance(1))  # some beyond the clip
    turns = 1 if ndim == 2 else 3
    groups = phi[0].split([turns, ndim, ndim])
    theirs = torch.cat([-groups[0].flip(0), groups[1].flip(0), groups[2].flip(0)]).numpy()
    expected = released(
        image[0, 0].numpy(),
        theirs,
        rotation=np.radians(np.atleast_1d(angles)[::-1]),
        scale=np.array(limits[0][::-1]),
        shift=np.array(limits[1][::-1]),
    )
    np.testing.assert_allclose(member.apply(image, phi)[0, 0].numpy(), expected, atol=1e-9)


def test_an_l_turns_from_axis_0_to_axis_1_and_is_smaller_at_scales_above_one():
    image = letter(49)
    member = AffineMap.paper(2, rotation_deg=90.0)
    turned = member.apply(image, only(rotation=1.0))
    # the result at x is the image at R x: R takes axis 0 to axis 1, so what lay along axis 1 now lies along axis 0
    torch.testing.assert_close(turned, image.rot90(-1, (2, 3)), atol=1e-4, rtol=0)
    assert (turned - image.rot90(1, (2, 3))).abs().max() > 0.9
    smaller = member.apply(image, only(scale0=1.0, scale1=1.0))  # scales above 1
    assert float(smaller.sum() / image.sum()) == pytest.approx(1.2**-2, rel=0.02)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scale_above_one_shows_objects_smaller_and_a_shift_moves_by_half_extents(axis):
    image = torch.zeros(1, 1, 192, 192)
    image[..., 60:130, 60:130] = 1
    member = AffineMap.paper(2)

    def profile(phi):
        return member.apply(image, phi)[0, 0, :, 95] if axis == 0 else member.apply(image, phi)[0, 0, 95]

    assert float(profile(only(**{f"scale{axis}": 1.0})).sum()) == pytest.approx(70 / 1.2, abs=0.5)
    assert float(profile(only(**{f"scale{axis}": -1.0})).sum()) == pytest.approx(70 / 0.8, abs=0.5)
    assert float(profile(only(**{f"scale{1 - axis}": 1.0})).sum()) == pytest.approx(70, abs=0.5)
    place = torch.arange(192.0)
    moved = profile(only(**{f"shift{axis}": 1.0}))
    assert float((moved * place).sum() / moved.sum()) == pytest.approx(94.5 - 9.55, abs=1e-3)


@pytest.mark.parametrize("spacing", [None, (1.0, 2.5)])
def test_a_rotation_is_one_in_physical_space_whatever_the_shape(spacing):
    shape = (60, 100)
    step = torch.tensor([1.0, 1.0] if spacing is None else spacing)

    def stretch(member):
        """Smallest and largest stretch in mm of the voxel map."""
        field = member.displacement(only(rotation=1.0), shape)[0]
        columns = [field.diff(dim=1 + a)[:, 0, 0] for a in range(2)]
        jacobian = torch.eye(2) + torch.stack(columns, 1)
        return torch.linalg.svdvals(step.unsqueeze(1) * jacobian / step)

    right = AffineMap.paper(2, rotation_deg=30.0, spacing_mm=spacing)
    assert stretch(right).tolist() == pytest.approx([1.0, 1.0], abs=1e-4)
    sheared = stretch(AffineMap.paper(2, rotation_deg=30.0, coordinates="normalised"))
    assert float(sheared[0] - sheared[1]) > 0.2


def test_in_a_square_both_coordinates_agree():
    image = torch.rand(3, 1, 30, 30, generator=chance())
    phi = AffineMap.paper(2).draw(image, generator=chance(1))
    physical, normalised = (AffineMap.paper(2, coordinates=kind) for kind in ("physical", "normalised"))
    torch.testing.assert_close(physical.apply(image, phi), normalised.apply(image, phi))


@pytest.mark.parametrize("shape", [(192, 192), (60, 100), (30, 40, 16)])
@pytest.mark.parametrize("preset", [AffineMap.paper, AffineMap.release])
def test_ten_thousand_draws_lie_within_the_limits(preset, shape):
    ndim = len(shape)
    member = preset(ndim)
    wild = 4 * torch.randn(10_000, member.identity(torch.zeros(1, 1, *shape)).shape[1], generator=chance())
    matrix = member.matrix(member.project(wild).double(), shape)
    half = torch.tensor([(size - 1) / 2 for size in shape], dtype=torch.float64)
    linear = matrix[..., :ndim] * half.unsqueeze(1) / half  # in voxels, a rotation times a diagonal
    stretch = linear.norm(dim=1)
    assert float((stretch - 1).abs().max()) <= member.scale * (1 + 1e-9)
    assert float(matrix[..., ndim].abs().max()) <= member.shift * (1 + 1e-9)
    rotation = linear / stretch.unsqueeze(1)
    eye = torch.eye(ndim, dtype=torch.float64)
    assert float((rotation.mT @ rotation - eye).abs().max()) < 1e-9
    cosine = (rotation.diagonal(dim1=1, dim2=2).sum(1) - (ndim - 2)) / 2
    limit = math.radians(member.rotation_deg)
    if (
        ndim == 3
    ):  # three rotations by the limit each turn by less than √3 times, and a little, about some axis
        limit *= 1.8
    largest = float(cosine.clamp(-1, 1).acos().max())
    assert 0.8 * limit < largest <= limit * (1 + 1e-9)


@pytest.mark.parametrize("shape", [(192, 192), (60, 100), (30, 40, 16)])
def test_the_inverse_is_exact(shape):
    member = AffineMap.release(len(shape))
    phi = member.draw(torch.zeros(50, 1, *shape), generator=chance())
    matrix = member.matrix(phi, shape)
    bottom = torch.tensor([0.0] * len(shape) + [1.0]).expand(50, 1, -1)
    square, back = (torch.cat([m, bottom], 1) for m in (matrix, inverse(matrix)))
    assert float((square @ back - torch.eye(len(shape) + 1)).abs().max()) < 1e-6


@pytest.mark.parametrize("shape", [(96, 96), (64, 100), (40, 48, 36)])
def test_forward_and_backward_keep_a_smooth_image_inside_the_mask(shape):
    member = AffineMap.paper(len(shape))
    image = smooth(shape, 4)
    phi = member.draw(image, generator=chance())
    back = member.invert(member.apply(image, phi), phi)
    seen = member.invert(member.carry(torch.ones_like(image), phi), phi) > 0.999
    assert 0.4 < float(seen.float().mean()) < 0.99
    assert float((back - image)[seen].abs().max()) < 0.02
    assert float((back - image).abs().max()) > 0.1


def test_what_comes_from_outside():
    image = torch.rand(2, 2, 40, 40, generator=chance()) + torch.tensor([1.0, -3.0]).reshape(2, 1, 1, 1)
    image[:, 1] += 10
    phi = only(shift0=1.0).expand(2, -1)

    def beyond(**changes):
        return AffineMap.paper(2, shift=0.5, **changes).apply(image, phi)[:, :, -5:]

    floor = image.flatten(2).amin(2)[..., None, None]
    assert (beyond() == 0).all()
    torch.testing.assert_close(beyond(padding="lowest"), floor.expand(-1, -1, 5, 40))
    torch.testing.assert_close(beyond(padding=-1.0), torch.full((2, 2, 5, 40), -1.0))
    torch.testing.assert_close(
        beyond(padding="border"), image[:, :, -1:].expand(-1, -1, 5, -1), atol=1e-4, rtol=0
    )
    inside = [
        AffineMap.paper(2, shift=0.5, padding=kind).apply(image, phi)[:, :, :25]
        for kind in ("lowest", "zeros")
    ]
    torch.testing.assert_close(*inside)


def test_masks_are_never_padded_but_by_the_defect():
    ones = torch.ones(1, 1, 40, 40)
    phi = only(shift0=1.0)
    for padding in ("zeros", "border", "lowest", 1.0):
        good = AffineMap.paper(2, shift=0.5, padding=padding)
        assert float(good.invert(good.carry(ones, phi), phi).mean()) < 0.8
        bad = AffineMap.paper(2, shift=0.5, padding=padding, pad_scores=True)
        assert (float(bad.invert(bad.carry(ones, phi), phi).mean()) > 0.999) == (padding != "zeros")


def test_steps_are_signs_and_the_border_is_not_frozen():
    member = AffineMap.paper(2)
    phi = torch.tensor([[0.5, -0.5, 0.9, 0.0, 1.0]])
    gradient = torch.tensor([[1e-9, -3.0, 2.0, 0.0, -1.0]])
    assert member.ascend(phi, gradient, step=0.25).tolist() == [[0.75, -0.75, pytest.approx(1.15), 0.0, 0.75]]
    assert member.probe(phi, gradient).tolist() == [[1.0, -1.0, 1.0, 0.0, -1.0]]
    assert torch.equal(member.nearby(phi), 1e-6 * phi.sign())
    image = smooth((32, 32), 1)
    corner = member.project(3 * gradient.sign()).requires_grad_()
    (slope,) = torch.autograd.grad((member.apply(image, corner) * smooth((32, 32), 2)[1:]).sum(), corner)
    assert (slope.abs() > 0).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scale": 1.0}, "numbers below 1"),
        ({"rotation_deg": -5.0}, r"affine\.rotation_deg"),
        ({"shift": "far"}, r"affine\.shift"),
        ({"coordinates": "voxels"}, "physical or normalised"),
        ({"padding": "reflection"}, "zeros, border or lowest"),
        ({"padding": None}, "padding of a geometric member"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        AffineMap.paper(2, **changes)


def test_one_limit_for_each_axis():
    member = AffineMap.paper(3, rotation_deg=[0, 0, 10], shift=[0.1, 0.1, 0])
    matrix = member.matrix(torch.ones(1, 9), (20, 20, 8))
    assert matrix[0, 2].tolist() == pytest.approx([0, 0, 1.1, 0], abs=1e-6)
    with pytest.raises(ConfigError, match=r"affine\.shift.*need 2"):
        AffineMap.paper(2, shift=[0.1, 0.1, 0]).matrix(torch.ones(1, 5), (20, 20))
