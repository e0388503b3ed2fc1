"""Skewed fixed grids: a finished field is written in a form that holds it, and warps as the registration did."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medreg.api import warp_image
from medreg.io.field import read_displacement, write_field
from medreg.io.image import read_image, write_image
from tests.io.test_field_files import grid_affine, smooth, warp_through_world

SHAPE = (11, 12, 9)


def skewed_affine(cosine):
    affine = grid_affine(spacing=(1.5, 2.0, 2.5))
    affine[:3, 1] += cosine * affine[:3, 0]
    return affine


@pytest.mark.parametrize("cosine", [0.0005, 0.004, 0.3])
def test_a_field_on_a_skewed_grid_comes_back_and_warps(tmp_path, cosine):
    affine = skewed_affine(cosine)
    displacement = np.stack([smooth(SHAPE, seed=k, amplitude=1.3) for k in range(3)])
    array = smooth(SHAPE, seed=5, amplitude=100.0).astype(np.float32)
    moving = write_image(tmp_path / "moving.nii.gz", array, grid_affine(spacing=(1.4, 2.1, 2.4)))
    path = write_field(tmp_path / "displacement.nii.gz", displacement, affine)
    field = read_displacement(path)
    assert field.placed
    np.testing.assert_allclose(field.displacement, displacement, atol=1e-5)
    np.testing.assert_allclose(field.affine, affine, atol=1e-5)
    ours = warp_image(path, moving)
    expected, inside = warp_through_world(array, read_image(moving).affine, displacement, affine)
    assert inside.mean() > 0.3
    np.testing.assert_allclose(ours.array[inside], expected[inside], atol=1e-3)
    np.testing.assert_allclose(ours.affine, affine, atol=1e-5)


def test_a_field_on_a_skewed_slice_comes_back(tmp_path):
    affine = np.diag([2.0, 2, 1, 1])
    affine[0, 1] = 0.02
    flat = np.stack([smooth((11, 12), seed=k, amplitude=1.3) for k in range(2)])
    field = read_displacement(write_field(tmp_path / "displacement.nii.gz", flat, affine))
    np.testing.assert_allclose(field.displacement[:2, :, :, 0], flat, atol=1e-5)
    assert not field.displacement[2].any()
    np.testing.assert_allclose(field.affine, affine, atol=1e-6)


@pytest.mark.parametrize("cosine", [0.0005, 0.004, 0.3])
def test_itk_takes_such_a_field_and_image_for_none_rather_than_a_wrong_one(tmp_path, cosine):
    sitk = pytest.importorskip("SimpleITK")
    affine = skewed_affine(cosine)
    image = write_image(tmp_path / "image.nii.gz", np.zeros(SHAPE), affine)
    assert nib.load(image).header["qform_code"] == 0
    np.testing.assert_allclose(read_image(image).affine, affine, atol=1e-5)
    field = write_field(tmp_path / "displacement.nii.gz", np.zeros((3, *SHAPE)), affine)
    for file in (image, field):
        with pytest.raises(RuntimeError):
            sitk.ReadImage(str(file))
    straight = write_field(
        tmp_path / "straight.nii.gz", np.zeros((3, *SHAPE)), grid_affine(spacing=(1, 2, 3))
    )
    assert sitk.ReadImage(str(straight)).GetNumberOfComponentsPerPixel() == 3
