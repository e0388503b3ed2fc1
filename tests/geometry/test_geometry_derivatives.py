"""Finite differences and Jacobians against closed forms, numpy and ITK."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch.autograd import gradcheck, gradgradcheck

from medreg.geometry.derivatives import central_difference, forward_difference, jacobian_matrix
from medreg.geometry.derivatives import jacobian_determinant as determinant
from medreg.geometry.grid import identity_grid


def linear_field(matrix, shape):
    matrix = torch.as_tensor(matrix, dtype=torch.float64)
    return torch.einsum("ka,ba...->bk...", matrix, identity_grid(shape, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["central", "forward"])
@pytest.mark.parametrize(
    ("slopes", "expected"), [((0.3, 0.0), 1.3), ((-1.5, 0.0), -0.5), ((0.3, -0.2, 0.1), 1.144)]
)
def test_jacobian_of_diagonal_fields_is_the_product(slopes, expected, mode):
    field = linear_field(torch.diag(torch.tensor(slopes)), (7, 8, 9)[: len(slopes)])
    volume = determinant(field, mode=mode)
    torch.testing.assert_close(volume, torch.full_like(volume, expected))


def test_derivatives_and_determinants_of_known_fields():
    """A uniform field has none; v_x = x, v_y = 1.5 y + 3 z + 1 has 1, 1.5 and 3; the identity 1, its double 8."""
    x, y, z = identity_grid((6, 5, 4), dtype=torch.float64)[0]
    field = torch.stack([x, 1.5 * y + 3 * z + 1, torch.zeros_like(x)])[None]
    known = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.5, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    for mode in ("forward", "central"):
        slopes = jacobian_matrix(field, mode=mode)[0].flatten(2) - identity[..., None]
        assert torch.equal(slopes, known[..., None].expand_as(slopes))
        for uniform in (torch.zeros_like(field), torch.full_like(field, 7.0)):
            assert torch.equal(determinant(uniform, mode=mode).unique(), torch.ones(1, dtype=torch.float64))
        doubling = identity_grid((6, 5, 4), dtype=torch.float64)
        assert torch.equal(determinant(doubling, mode=mode).unique(), torch.full((1,), 8.0).double())


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_jacobian_of_any_linear_field_is_that_of_its_matrix(shape):
    ndim = len(shape)
    matrix = torch.randn(ndim, ndim, dtype=torch.float64)
    whole = torch.eye(ndim, dtype=torch.float64) + matrix
    field = linear_field(matrix, shape)
    jacobian = jacobian_matrix(field)
    assert jacobian.shape == (1, ndim, ndim, *shape)
    torch.testing.assert_close(jacobian.flatten(3)[0, :, :, 5], whole)
    volume = determinant(field)
    torch.testing.assert_close(volume, torch.full_like(volume, torch.linalg.det(whole).item()))


@pytest.mark.parametrize("shape", [(9, 12), (8, 9, 10)])
def test_jacobian_equals_numpy_gradient_everywhere_and_itk_in_the_interior(shape):
    ndim = len(shape)
    field = torch.randn(1, ndim, *shape, dtype=torch.float64)
    volume = determinant(field)[0].numpy()
    slopes = np.stack([np.stack(np.gradient(part.numpy()), -1) for part in field[0]], -2)
    np.testing.assert_allclose(volume, np.linalg.det(slopes + np.eye(ndim)), atol=1e-12)
    # ITK: component 0 belongs to its first axis, which is numpy's last
    array = np.moveaxis(field[0].numpy().transpose(0, *range(ndim, 0, -1)), 0, -1)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=True)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose()
    inner = (slice(1, -1),) * ndim
    np.testing.assert_allclose(volume[inner], expected[inner], atol=1e-5)


def test_itk_border_is_the_replicate_boundary():
    field = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    image = sitk.GetImageFromArray(field[0].permute(2, 1, 0).contiguous().numpy(), isVector=True)
    expected = sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image)).transpose()
    d0, d1 = (central_difference(field, axis, boundary="replicate")[0] for axis in (0, 1))
    ours = (1 + d0[0]) * (1 + d1[1]) - d0[1] * d1[0]
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-5)


def test_boundaries_of_differences():
    line = torch.tensor([0.0, 1.0, 4.0, 9.0]).reshape(1, 1, 4, 1).expand(1, 1, 4, 3)

    def values(function, boundary):
        return function(line, 0, boundary=boundary)[0, 0, :, 0].tolist()

    assert values(forward_difference, "one_sided") == [1, 3, 5, 5]
    assert values(forward_difference, "replicate") == [1, 3, 5, 0]
    assert values(forward_difference, "drop") == [1, 3, 5]
    assert values(central_difference, "one_sided") == [1, 2, 4, 5]
    assert values(central_difference, "replicate") == [0.5, 2, 4, 2.5]
    assert values(central_difference, "drop") == [2, 4]
    assert forward_difference(line, 1).abs().max() == 0
    with pytest.raises(ValueError, match="unknown boundary"):
        forward_difference(line, 0, boundary="wrap")
    with pytest.raises(ValueError, match="unknown difference"):
        determinant(torch.zeros(1, 2, 3, 3), mode="backward")


@pytest.mark.parametrize("boundary", ["one_sided", "replicate"])
@pytest.mark.parametrize("shape", [(1, 4), (2, 2), (1, 1, 3)])
def test_axes_of_one_or_two_voxels_have_derivatives(shape, boundary):
    field = torch.rand(1, len(shape), *shape)
    for axis, size in enumerate(shape):
        for function in (forward_difference, central_difference):
            result = function(field, axis, boundary=boundary)
            assert result.shape == field.shape
            assert size > 1 or result.abs().max() == 0
    assert determinant(field).shape == (1, *shape)


@pytest.mark.parametrize("mode", ["central", "forward"])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 3)])
def test_determinant_is_differentiable_twice(shape, mode):
    field = torch.randn(1, len(shape), *shape, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda u: determinant(u, mode=mode), field)
    assert gradgradcheck(lambda u: determinant(u, mode=mode), field)
