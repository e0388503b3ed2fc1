"""Grids and world coordinates against SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medreg.errors import DataError
from medreg.geometry.grid import (
    Grid,
    identity_grid,
    matrix_to_displacement,
    mm_to_voxel,
    voxel_to_mm,
    world_displacement,
)
from medreg.geometry.warp import warp

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique_affine(ndim: int, seed: int) -> torch.Tensor:
    """Rotated, anisotropic and flipped voxel-to-world matrix."""
    generator = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(np.eye(ndim) + 0.2 * generator.standard_normal((ndim, ndim)))
    rotation[:, 0] *= -1
    affine = np.eye(ndim + 1)
    affine[:-1, :-1] = rotation * np.array([1.0, 1.5, 2.2])[:ndim]
    affine[:-1, -1] = generator.uniform(-4, 4, ndim)
    return torch.from_numpy(affine)


def to_itk(array: np.ndarray, affine: torch.Tensor) -> sitk.Image:
    """SimpleITK image of an array in our axis order, with its RAS affine turned into LPS."""
    ndim = array.ndim
    image = sitk.GetImageFromArray(array.transpose())
    flip = np.diag([-1.0, -1.0, 1.0][:ndim])
    linear = flip @ affine[:-1, :-1].numpy()
    spacing = np.linalg.norm(linear, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((linear / spacing).flatten().tolist())
    image.SetOrigin((flip @ affine[:-1, -1].numpy()).tolist())
    return image


def test_identity_grid_counts_voxels_along_tensor_axes():
    grid = identity_grid((3, 4, 5), dtype=torch.float64)
    assert grid.shape == (1, 3, 3, 4, 5)
    assert grid.dtype == torch.float64
    assert grid[0, :, 2, 1, 4].tolist() == [2, 1, 4]


@pytest.mark.parametrize("ndim", [2, 3])
def test_world_displacement_resamples_like_simpleitk_on_oblique_anisotropic_flipped_grids(ndim):
    generator = np.random.default_rng(0)
    fixed_shape, moving_shape = (13, 10, 8)[:ndim], (9, 12, 11)[:ndim]
    centre_f = torch.tensor([(n - 1) / 2 for n in fixed_shape], dtype=torch.float64)
    centre_m = torch.tensor([(n - 1) / 2 for n in moving_shape], dtype=torch.float64)
    fixed = Grid(fixed_shape, oblique_affine(ndim, 1))
    affine = oblique_affine(ndim, 2)
    affine[:-1, -1] = fixed.voxel_to_world(centre_f) - affine[:-1, :-1] @ centre_m  # overlapping centres
    moving = Grid(moving_shape, affine)
    array = generator.random(moving_shape)

    ours = warp(
        torch.from_numpy(array)[None, None],
        world_displacement(fixed, moving, dtype=torch.float64),
        padding="zeros",
    )

    reference = sitk.Resample(
        to_itk(array, moving.affine),
        to_itk(np.zeros(fixed_shape), fixed.affine),
        sitk.Transform(),
        sitk.sitkLinear,
    )
    expected = sitk.GetArrayFromImage(reference).transpose()
    # ITK extends the image by half a voxel and then stops, the zeros padding fades: compare inside
    position = world_displacement(fixed, moving, dtype=torch.float64) + identity_grid(
        fixed_shape, dtype=torch.float64
    )
    limit = torch.tensor(moving_shape).reshape(1, -1, *[1] * ndim) - 1
    inside = ((position >= 0) & (position <= limit)).all(1)[0].numpy()
    assert inside.mean() > 0.2
    np.testing.assert_allclose(ours[0, 0].numpy()[inside], expected[inside], atol=1e-10)


def test_world_displacement_of_equal_grids_is_zero():
    grid = Grid((4, 5, 6), oblique_affine(3, 3))
    assert world_displacement(grid, grid).abs().max() < 1e-6


def test_grid_geometry_and_round_trip_of_points():
    grid = Grid((4, 5, 6), oblique_affine(3, 4))
    torch.testing.assert_close(grid.spacing_mm, torch.tensor([1.0, 1.5, 2.2], dtype=torch.float64))
    torch.testing.assert_close(grid.direction.mT @ grid.direction, torch.eye(3, dtype=torch.float64))
    points = torch.rand(2, 7, 3, dtype=torch.float64) * 5
    world = grid.voxel_to_world(points)
    torch.testing.assert_close(grid.world_to_voxel(world), points)
    itk = to_itk(np.zeros(grid.shape), grid.affine)
    expected = np.array(itk.TransformContinuousIndexToPhysicalPoint(points[0, 0].tolist()))
    np.testing.assert_allclose(world[0, 0].numpy(), LPS[:3, :3] @ expected)


def test_displacement_in_millimetres_scales_each_component():
    field = torch.ones(2, 3, 2, 2, 2)
    spacing = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    in_mm = voxel_to_mm(field, spacing)
    assert in_mm[:, :, 0, 0, 0].tolist() == spacing.tolist()
    torch.testing.assert_close(mm_to_voxel(in_mm, spacing), field)
    with pytest.raises(ValueError, match="one number per axis"):
        voxel_to_mm(field, torch.ones(2))


def test_matrix_to_displacement_moves_points_by_the_matrix():
    matrix = torch.tensor([[[2.0, 0.0, 1.0], [0.5, 1.0, -1.0]]])
    field = matrix_to_displacement(matrix, (3, 4))
    assert field[0, :, 2, 3].tolist() == [2 * 2 + 1 - 2, 0.5 * 2 + 3 - 1 - 3]


def test_singular_or_mismatched_affine_is_refused_with_a_remedy():
    with pytest.raises(DataError, match="correct the image's header"):
        Grid((3, 3), torch.zeros(3, 3))
    with pytest.raises(DataError, match="must be 4x4"):
        Grid((3, 3, 3), torch.eye(3))
    with pytest.raises(DataError, match="2-D fixed grid"):
        world_displacement(Grid((3, 3), torch.eye(3)), Grid((3, 3, 3), torch.eye(4)))
