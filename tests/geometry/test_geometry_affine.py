"""Affine and rigid maps: matrices, scaling of the parameters, rotations, anisotropic voxels."""

import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from medreg.geometry.affine import Affine, Rigid, affine_matrix, affine_parameters, rigid_matrix
from medreg.geometry.warp import warp

SHAPES = [(11, 16), (7, 9, 12)]


@pytest.mark.parametrize("shape", SHAPES)
def test_parameters_and_matrices_are_two_names_of_one_map(shape):
    count = len(shape) * (len(shape) + 1)
    theta = torch.randn(3, count, dtype=torch.float64)
    matrix = affine_matrix(theta, shape)
    assert matrix.shape == (3, len(shape) + 1, len(shape) + 1)
    torch.testing.assert_close(affine_parameters(matrix, shape), theta)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_unit_of_any_affine_parameter_moves_voxels_by_one_voxel_rms(shape):
    count = len(shape) * (len(shape) + 1)
    fields = Affine()(torch.eye(count, dtype=torch.float64), shape).displacement
    rms = fields.square().sum(1).flatten(1).mean(1).sqrt()
    torch.testing.assert_close(rms, torch.ones_like(rms))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_small_amount_of_any_rigid_parameter_moves_voxels_alike(shape):
    count = len(shape) * (len(shape) + 1) // 2
    fields = Rigid()(1e-4 * torch.eye(count, dtype=torch.float64), shape).displacement
    rms = fields.square().sum(1).flatten(1).mean(1).sqrt()
    torch.testing.assert_close(rms, torch.full_like(rms, 1e-4), rtol=1e-6, atol=0)


def test_quarter_turn_moves_a_line_onto_the_other_axis():
    shape = (15, 15)
    image = torch.zeros(1, 1, *shape, dtype=torch.float64)
    image[0, 0, 7, 2:13] = 1
    arm = math.sqrt(2 * (15**2 - 1) / 12)
    theta = torch.tensor([[arm * math.pi / 2, 0.0, 0.0]], dtype=torch.float64)
    turned = warp(image, Rigid()(theta, shape).displacement)
    torch.testing.assert_close(turned, image.transpose(2, 3), rtol=0, atol=1e-9)
    # positive angles carry axis 0 to axis 1
    matrix = rigid_matrix(theta, shape)[0, :2, :2]
    torch.testing.assert_close(matrix @ matrix.new_tensor([1.0, 0.0]), matrix.new_tensor([0.0, 1.0]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quarter_turn_about_each_axis_permutes_a_cube(axis):
    shape = (9, 9, 9)
    image = torch.rand(1, 1, *shape, dtype=torch.float64)
    theta = torch.zeros(1, 6, dtype=torch.float64)
    theta[0, axis] = math.sqrt(2 * (81 - 1) / 12) * math.pi / 2
    turned = warp(image, Rigid()(theta, shape).displacement)
    plane = [2 + other for other in range(3) if other != axis]
    candidates = [image.rot90(times, plane) for times in (1, -1)]
    assert min((turned - other).abs().max() for other in candidates) < 1e-9


@pytest.mark.parametrize(("shape", "spacing"), [((11, 16), (1.0, 2.5)), ((7, 9, 12), (0.8, 1.2, 3.0))])
def test_rigid_maps_keep_distances_in_millimetres(shape, spacing):
    count = len(shape) * (len(shape) + 1) // 2
    theta = torch.randn(1, count, dtype=torch.float64)
    linear = rigid_matrix(theta, shape, spacing_mm=spacing)[0, :-1, :-1]
    scale = torch.tensor(spacing, dtype=torch.float64)
    rotation = scale[:, None] * linear / scale
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(len(shape), dtype=torch.float64))
    assert torch.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing", [None, (1.0, 1.7, 2.0)])
def test_restriction_recovers_the_parameters(shape, spacing):
    ndim = len(shape)
    affine = 0.7 * torch.randn(2, ndim * (ndim + 1), dtype=torch.float64)
    torch.testing.assert_close(Affine().restrict(Affine()(affine, shape).displacement, shape), affine)
    family = Rigid(spacing_mm=None if spacing is None else spacing[:ndim])
    rigid = 1.5 * torch.randn(2, ndim * (ndim + 1) // 2, dtype=torch.float64)
    torch.testing.assert_close(family.restrict(family(rigid, shape).displacement, shape), rigid)


def test_restriction_of_a_field_that_does_not_turn_gives_no_rotation():
    theta = Rigid().restrict(torch.full((1, 3, 5, 6, 7), 2.0), (5, 6, 7))
    torch.testing.assert_close(theta, torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0, 2.0]]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(4, 5), (3, 3, 4)])
def test_affine_and_rigid_are_differentiable_twice(shape):
    for family in (Affine(), Rigid()):
        theta = torch.randn(1, *family.parameter_shape(shape), dtype=torch.float64, requires_grad=True)
        assert gradcheck(lambda t, family=family: family(t, shape).displacement, theta)
        assert gradgradcheck(lambda t, family=family: family(t, shape).displacement, theta)


def test_spacing_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="needs 2 spacings"):
        Rigid(spacing_mm=(1.0, 1.0, 2.0))(torch.zeros(1, 3), (5, 5))
