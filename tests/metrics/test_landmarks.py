"""Target registration error: closed forms, scipy for the cubic choice, oblique and flipped affines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from medreg.errors import ConfigError
from medreg.metrics.landmarks import tre_mm


def constant_field(vector, shape):
    return torch.tensor(vector).reshape(1, -1, *[1] * len(shape)).expand(1, len(vector), *shape)


def test_residual_is_scaled_by_the_spacing_of_its_axis():
    points = torch.tensor([[[2.0, 3.0, 4.0]]])
    found = tre_mm(points, points + 1, torch.zeros(1, 3, 8, 8, 8), spacing_mm=torch.tensor([1.0, 2.0, 3.0]))
    assert found.item() == pytest.approx(14**0.5)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_displacement_carries_fixed_points_to_moving_points(interpolation):
    points = torch.tensor([[[2.5, 3.0], [4.0, 1.25]]])
    shift = torch.tensor([1.5, -0.5])
    field = constant_field([1.5, -0.5], (9, 8))
    spacing = torch.ones(1, 2)
    right = tre_mm(points, points + shift, field, spacing_mm=spacing, interpolation=interpolation)
    wrong_way = tre_mm(points, points - shift, field, spacing_mm=spacing, interpolation=interpolation)
    assert right.abs().max() < 1e-6
    torch.testing.assert_close(wrong_way, torch.full((1, 2), 2 * 2.5**0.5, dtype=torch.float64))


def test_linear_interpolates_a_linear_field_exactly_between_voxels():
    x = torch.arange(7.0).reshape(1, 1, 7, 1).expand(1, 1, 7, 6)
    field = torch.cat([0.1 * x, torch.zeros_like(x)], dim=1)
    point = torch.tensor([[[2.75, 3.5]]])
    found = tre_mm(point, point, field, spacing_mm=torch.tensor([2.0, 1.0]))
    assert found.item() == pytest.approx(0.55, abs=1e-6)


def test_cubic_is_the_interpolating_spline_of_scipy_and_zero_outside():
    rng = np.random.default_rng(0)
    field = rng.normal(size=(3, 7, 6, 8))
    points = np.array([[1.3, 2.7, 4.4], [0.0, 0.0, 0.0], [6.5, 1.0, 1.0], [6.0, 5.0, 7.0]])
    moved = points + np.stack([ndimage.map_coordinates(part, points.T, order=3) for part in field], axis=-1)
    expected = np.linalg.norm((moved - points) * [1.0, 2.0, 3.0], axis=-1)
    given = torch.from_numpy(points)[None]
    found = tre_mm(
        given,
        given,
        torch.from_numpy(field)[None],
        spacing_mm=torch.tensor([1.0, 2.0, 3.0]),
        interpolation="cubic",
    )
    np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-12)
    assert found[0, 2] == 0


def oblique_affine(spacing):
    """Rotated by 30° about z, the first axis flipped, with an origin."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[-c, -s, 0], [-s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    affine[:3, 3] = [100, -50, 7]
    return torch.from_numpy(affine)[None]


def test_affine_and_spacing_agree_without_shear():
    rng = torch.Generator().manual_seed(0)
    fixed, moving = 5 * torch.rand(1, 4, 3, generator=rng), 5 * torch.rand(1, 4, 3, generator=rng)
    field = torch.randn(1, 3, 6, 6, 6, generator=rng)
    spacing = (0.7, 1.9, 3.0)
    by_affine = tre_mm(fixed, moving, field, affine=oblique_affine(spacing))
    by_spacing = tre_mm(fixed, moving, field, spacing_mm=torch.tensor(spacing))
    torch.testing.assert_close(by_affine, by_spacing, atol=1e-6, rtol=1e-6)


def test_slice_uses_the_in_plane_axes_of_its_affine():
    points = torch.tensor([[[2.0, 3.0]]])
    found = tre_mm(points, points + 1, torch.zeros(1, 2, 6, 6), affine=oblique_affine((3.0, 4.0, 10.0)))
    assert found.item() == pytest.approx(5.0)


@pytest.mark.parametrize("units", [{}, {"spacing_mm": torch.ones(2), "affine": torch.eye(3)[None]}])
def test_exactly_one_source_of_millimetres_is_demanded(units):
    with pytest.raises(ConfigError, match="exactly one"):
        tre_mm(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 2, 4, 4), **units)


def test_unknown_interpolation_is_refused():
    with pytest.raises(ConfigError, match="linear, cubic"):
        tre_mm(
            torch.zeros(1, 1, 2),
            torch.zeros(1, 1, 2),
            torch.zeros(1, 2, 4, 4),
            spacing_mm=torch.ones(2),
            interpolation="sinc",
        )
