"""Affine maps by rotation, translation, scale and shear."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.geometry.affine_distance import compose_matrices, half_extents
from medreg.geometry.affine_pose import (
    AffinePose,
    PoseRange,
    matrix_pose,
    pose_matrix,
    unit_to_voxel,
    voxel_to_unit,
)
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp

BOX = PoseRange(rotation=math.radians(60), translation=0.4, scale=0.25, shear=0.2)
STEPS = PoseRange(rotation=1.0, translation=1.0, scale=0.5, shear=0.5)


def _poses(count: int, ndim: int) -> torch.Tensor:
    size = ndim * (ndim + 1)
    uniform = torch.rand(count, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (2 * uniform - 1) * BOX.vector(ndim, like=uniform)


@pytest.mark.parametrize("half", [[31.5, 20.0], [40.0, 48.0, 20.0]])
def test_a_pose_survives_the_way_through_its_matrix(half: list[float]) -> None:
    lengths = torch.tensor(half, dtype=torch.float64)
    poses = _poses(20, len(half))
    assert torch.allclose(matrix_pose(pose_matrix(poses, lengths), lengths), poses, atol=1e-12)


@pytest.mark.parametrize("ndim", [2, 3])
def test_gradients_of_all_entries(ndim: int) -> None:
    half = torch.tensor([3.0, 5.0, 2.0][:ndim], dtype=torch.float64)
    poses = _poses(2, ndim).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: pose_matrix(p, half), (poses,))
    matrix = pose_matrix(poses, half).detach().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda m: matrix_pose(m, half), (matrix,))


def test_a_rotation_stays_a_rotation_in_mm_on_thick_slices() -> None:
    shape, spacing = (40, 40, 10), (1.0, 1.0, 5.0)
    pose = torch.zeros(1, 12, dtype=torch.float64)
    pose[0, :3] = torch.tensor([0.5, -0.4, 0.3])
    half = half_extents(shape, spacing_mm=spacing, dtype=torch.float64)
    voxels = unit_to_voxel(pose_matrix(pose, half), shape)[0, :3, :3]
    steps = torch.tensor(spacing, dtype=torch.float64)
    world = voxels * steps.unsqueeze(1) / steps
    assert torch.allclose(world @ world.T, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert not torch.allclose(voxels @ voxels.T, torch.eye(3, dtype=torch.float64), atol=1e-3)


def test_the_order_of_rotations_and_their_sense() -> None:
    quarter = torch.zeros(1, 12)
    quarter[0, 0], quarter[0, 2] = math.pi / 2, math.pi / 2
    rotation = pose_matrix(quarter, torch.ones(3))[0, :, :3]
    # R_x R_y R_z applies the rotation about z first: axis 0 goes to axis 1, and that to axis 2.
    assert torch.allclose(rotation @ torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0]), atol=1e-6)


def test_voxels_and_unit_coordinates_are_inverse_to_each_other() -> None:
    matrix = pose_matrix(_poses(2, 3), torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(voxel_to_unit(unit_to_voxel(matrix, (5, 9, 12)), (5, 9, 12)), matrix)


def test_warping_twice_is_warping_once_by_the_composition() -> None:
    shape = (48, 48)
    axis = torch.linspace(-1, 1, 48, dtype=torch.float64)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.exp(-((x - 0.1) ** 2 + 2 * y**2) / 0.1).reshape(1, 1, *shape)
    half = half_extents(shape, dtype=torch.float64)
    first, second = pose_matrix(0.4 * _poses(2, 2), half).split(1)

    def moved(moving: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        return warp(moving, matrix_to_displacement(unit_to_voxel(matrix, shape), shape))

    twice = moved(moved(image, first), second)
    assert (twice - moved(image, compose_matrices(first, second))).abs().max().item() < 0.02


def test_a_step_of_the_optimiser_is_worth_less_in_scale_than_in_rotation() -> None:
    transformation = AffinePose(steps=STEPS)
    assert transformation.pose(torch.ones(1, 6)).tolist() == [[1.0, 1.0, 1.0, 0.5, 0.5, 0.5]]


@pytest.mark.parametrize("shape", [(12, 17), (8, 12, 9)])
def test_a_field_of_a_pose_is_restricted_to_that_pose(shape: tuple[int, ...]) -> None:
    transformation = AffinePose(steps=STEPS, spacing_mm=[1.0, 2.0, 4.0][: len(shape)])
    theta = _poses(2, len(shape))
    field = transformation(theta, shape).displacement
    assert torch.allclose(transformation.restrict(field, shape), theta, atol=1e-9)


def test_the_inverse_undoes_the_map() -> None:
    transformation, theta, shape = AffinePose(steps=STEPS), _poses(1, 2), (9, 11)
    forward = transformation(theta, shape).displacement
    back = transformation.inverse(theta, shape)
    index = torch.tensor([4.0, 5.0], dtype=torch.float64)
    there = index + forward[0, :, 4, 5]
    # The inverse is affine as well: extend it from its value and slopes.
    slopes = torch.stack([back[0, :, 1, 0] - back[0, :, 0, 0], back[0, :, 0, 1] - back[0, :, 0, 0]], 1)
    assert torch.allclose(there + back[0, :, 0, 0] + slopes @ there, index)
