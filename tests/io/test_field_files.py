"""Displacement fields on disk: SimpleITK applies ours, we read SimpleITK's, and wrong files are refused."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter, map_coordinates

from medreg.errors import DataError, FieldFormatError
from medreg.io.field import read_displacement
from medreg.io.field_itk import read_itk_field, write_itk_field
from medreg.io.field_learn2reg import read_learn2reg_field, write_learn2reg_field, write_learn2reg_half_field
from medreg.io.image import read_image, write_image
from medreg.io.vectors import index_field_to_world, lps_mm_to_voxel, voxel_to_lps_mm


def rotation(*, degrees, axes):
    """Rotation of two world axes."""
    angle = np.deg2rad(degrees)
    out = np.eye(3)
    i, j = axes
    out[i, i] = out[j, j] = np.cos(angle)
    out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
    return out


def grid_affine(*, spacing, oblique=True, flip=False, origin=(12.0, -31.0, 47.0)):
    """Affine with anisotropic voxels, oblique axes and, with flip, a mirrored (left-handed) first axis."""
    directions = np.eye(3)
    if oblique:
        directions = rotation(degrees=25, axes=(0, 1)) @ rotation(degrees=-17, axes=(1, 2))
    out = np.eye(4)
    out[:3, :3] = directions * np.array(spacing) * np.array([-1 if flip else 1, 1, 1])
    out[:3, 3] = origin
    return out


def smooth(shape, *, seed, amplitude, sigma=2.0):
    rng = np.random.default_rng(seed)
    out = gaussian_filter(rng.normal(size=shape), sigma)
    return amplitude * out / np.abs(out).max()


def warp_through_world(moving, moving_affine, displacement, fixed_affine):
    """Reference: moving at A_m⁻¹ A_f (i + u), linear; with the mask of samples inside the moving grid."""
    grid = np.indices(displacement.shape[1:], dtype=float)
    world = (
        np.tensordot(fixed_affine[:3, :3], grid + displacement, axes=1)
        + fixed_affine[:3, 3, None, None, None]
    )
    inverse = np.linalg.inv(moving_affine)
    position = np.tensordot(inverse[:3, :3], world, axes=1) + inverse[:3, 3, None, None, None]
    inside = np.ones(displacement.shape[1:], dtype=bool)
    for axis, size in enumerate(moving.shape):
        inside &= (position[axis] >= 0) & (position[axis] <= size - 1)
    return map_coordinates(moving, position, order=1, mode="nearest"), inside


def resample_with_simpleitk(fixed_path, moving_path, field_path):
    field = sitk.ReadImage(str(field_path), sitk.sitkVectorFloat64)
    fixed, moving = sitk.ReadImage(str(fixed_path)), sitk.ReadImage(str(moving_path))
    out = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, 0.0)
    return sitk.GetArrayFromImage(out).transpose()


GRIDS = {
    "isotropic": {"spacing": (1, 1, 1), "oblique": False},
    "anisotropic": {"spacing": (0.7, 1.3, 4.0), "oblique": False},
    "oblique": {"spacing": (0.7, 1.3, 4.0)},
    "flipped": {"spacing": (0.7, 1.3, 4.0), "oblique": False, "flip": True},
    "oblique flipped": {"spacing": (1.1, 0.9, 2.5), "flip": True},
}


@pytest.mark.parametrize("name", GRIDS)
def test_simpleitk_applies_our_field_to_the_original_moving_file(tmp_path, name):
    fixed_affine = grid_affine(**GRIDS[name])
    moving_affine = grid_affine(spacing=(0.9, 1.2, 3.1), flip=not GRIDS[name].get("flip", False))
    centre = np.array([8, 9, 5.0])
    moving_shape = (21, 22, 14)
    # Put the moving grid over the fixed one, whatever its orientation.
    moving_affine[:3, 3] = (
        fixed_affine[:3, :3] @ centre
        + fixed_affine[:3, 3]
        - moving_affine[:3, :3] @ (np.array(moving_shape) / 2)
    )
    moving = smooth(moving_shape, seed=0, amplitude=1.0).astype(np.float32)
    displacement = np.stack([smooth((17, 19, 11), seed=k + 1, amplitude=1.5) for k in range(3)])
    write_image(tmp_path / "fixed.nii.gz", np.zeros((17, 19, 11)), fixed_affine)
    write_image(tmp_path / "moving.nii.gz", moving, moving_affine)
    write_itk_field(tmp_path / "field.nii.gz", displacement, fixed_affine)
    theirs = resample_with_simpleitk(
        tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", tmp_path / "field.nii.gz"
    )
    ours, inside = warp_through_world(moving, moving_affine, displacement, fixed_affine)
    assert inside.mean() > 0.3
    assert np.abs(theirs - ours)[inside].max() < 1e-4
    assert np.abs(ours - moving[:17, :19, :11])[inside].max() > 0.1  # the field does something


def test_thick_slices_keep_a_zero_through_plane_component(tmp_path):
    affine = grid_affine(spacing=(1.4, 1.4, 10.0))
    displacement = np.stack(
        [smooth((20, 18, 6), seed=k, amplitude=2.0) for k in range(2)] + [np.zeros((20, 18, 6))]
    )
    write_itk_field(tmp_path / "field.nii.gz", displacement, affine)
    back = read_itk_field(tmp_path / "field.nii.gz")
    assert np.abs(back.displacement[2]).max() < 1e-5
    mm = voxel_to_lps_mm(displacement, affine)
    normal = np.diag([-1, -1, 1]) @ affine[:3, 2]
    assert np.abs(np.tensordot(normal, mm, axes=1)).max() < 1e-9


def test_two_dimensional_file_is_a_two_dimensional_transform(tmp_path):
    affine = grid_affine(spacing=(1.5, 0.8, 1.0), oblique=False, flip=True)
    affine[:3, :3] = rotation(degrees=20, axes=(0, 1)) @ affine[:3, :3]
    moving = smooth((24, 20), seed=0, amplitude=1.0).astype(np.float32)
    displacement = np.stack([smooth((24, 20), seed=k + 1, amplitude=1.5) for k in range(2)])
    for name in ("fixed", "moving"):
        write_image(tmp_path / f"{name}.nii.gz", moving, affine)
    write_itk_field(tmp_path / "field.nii.gz", displacement, affine)
    theirs = resample_with_simpleitk(
        tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", tmp_path / "field.nii.gz"
    )
    position = np.indices((24, 20)) + displacement
    inside = np.all((position >= 0) & (position <= np.array([23, 19])[:, None, None]), axis=0)
    ours = map_coordinates(moving, position, order=1, mode="nearest")
    assert np.abs(theirs - ours)[inside].max() < 1e-4
    back = read_itk_field(tmp_path / "field.nii.gz")
    assert back.displacement.shape == (2, 24, 20)
    np.testing.assert_allclose(back.displacement, displacement, atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 90, 35])
def test_one_slice_of_three_axes_is_a_three_dimensional_transform(tmp_path, degrees):
    affine = grid_affine(spacing=(1.5, 0.8, 6.0), oblique=False)
    affine[:3, :3] = rotation(degrees=degrees, axes=(1, 2)) @ affine[:3, :3]
    moving = smooth((24, 20, 1), seed=0, amplitude=1.0, sigma=(2, 2, 0)).astype(np.float32)
    displacement = np.stack(
        [smooth((24, 20), seed=k + 1, amplitude=1.5) for k in range(2)] + [np.zeros((24, 20))]
    )
    displacement = displacement[..., None]
    for name in ("fixed", "moving"):
        write_image(tmp_path / f"{name}.nii.gz", moving, affine)
    write_itk_field(tmp_path / "field.nii.gz", displacement, affine)
    theirs = resample_with_simpleitk(
        tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", tmp_path / "field.nii.gz"
    )
    ours, inside = warp_through_world(moving, affine, displacement, affine)
    assert theirs.shape == (24, 20, 1)
    assert np.abs(theirs - ours)[inside].max() < 1e-4
    back = read_itk_field(tmp_path / "field.nii.gz")
    assert back.shape == (24, 20, 1)
    np.testing.assert_allclose(back.displacement, displacement, atol=1e-5)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_field_written_by_simpleitk_is_read(tmp_path, suffix):
    affine = grid_affine(spacing=(1.1, 0.9, 2.5), flip=True)
    displacement = np.stack([smooth((9, 8, 7), seed=k, amplitude=2.0) for k in range(3)])
    write_itk_field(tmp_path / "ours.nii.gz", displacement, affine)
    image = sitk.ReadImage(str(tmp_path / "ours.nii.gz"))
    sitk.WriteImage(image, str(tmp_path / f"theirs{suffix}"))
    back = read_itk_field(tmp_path / f"theirs{suffix}")
    np.testing.assert_allclose(back.displacement, displacement, atol=1e-5)
    np.testing.assert_allclose(back.affine, affine, atol=1e-5)


def test_intent_1006_holds_ras_components(tmp_path):
    affine = grid_affine(spacing=(1.1, 0.9, 2.5))
    displacement = np.stack([smooth((9, 8, 7), seed=k, amplitude=2.0) for k in range(3)])
    ras = np.tensordot(np.diag([-1.0, -1.0, 1.0]), voxel_to_lps_mm(displacement, affine), axes=1)
    image = nib.Nifti1Image(np.moveaxis(ras, 0, -1)[:, :, :, None].astype(np.float32), affine)
    image.header["intent_code"] = 1006
    nib.save(image, tmp_path / "field.nii.gz")
    back = read_itk_field(tmp_path / "field.nii.gz")
    np.testing.assert_allclose(back.displacement, displacement, atol=1e-5)
    assert "1006" in back.notes[0]
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "field.nii.gz"))).transpose(3, 2, 1, 0)
    np.testing.assert_allclose(itk, voxel_to_lps_mm(displacement, affine), atol=1e-5)


def test_millimetres_and_voxels_are_inverse_of_each_other():
    affine = grid_affine(spacing=(0.7, 1.3, 4.0), flip=True)
    displacement = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    np.testing.assert_allclose(lps_mm_to_voxel(voxel_to_lps_mm(displacement, affine), affine), displacement)
    one_voxel = np.zeros((3, 1, 1, 1))
    one_voxel[2] = 1
    expected = affine[:3, 2] * [-1, -1, 1]
    np.testing.assert_allclose(voxel_to_lps_mm(one_voxel, affine).ravel(), expected)


def test_wrong_formats_are_refused_with_a_reason(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), np.eye(4)), tmp_path / "image.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.float32), np.eye(4)), tmp_path / "l2r.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 1, 3), np.float32), np.eye(4)), tmp_path / "no_intent.nii.gz")
    with pytest.raises(FieldFormatError, match="looks like an image"):
        read_itk_field(tmp_path / "image.nii.gz")
    with pytest.raises(FieldFormatError, match="learn2reg"):
        read_itk_field(tmp_path / "l2r.nii.gz")
    with pytest.raises(FieldFormatError, match="intent is 0"):
        read_itk_field(tmp_path / "no_intent.nii.gz")
    with pytest.raises(FieldFormatError, match="format itk"):
        read_learn2reg_field(tmp_path / "no_intent.nii.gz")
    with pytest.raises(FieldFormatError, match="not a Learn2Reg field"):
        read_learn2reg_field(tmp_path / "image.nii.gz")
    with pytest.raises(FieldFormatError, match="components first"):
        write_itk_field(tmp_path / "bad.nii.gz", np.zeros((4, 5, 6, 3)), np.eye(4))
    with pytest.raises(FieldFormatError, match="NaN"):
        write_itk_field(tmp_path / "bad.nii.gz", np.full((3, 4, 5, 6), np.nan), np.eye(4))
    skewed = np.eye(4)
    skewed[0, 1] = 0.3
    with pytest.raises(FieldFormatError, match="skewed"):
        write_itk_field(tmp_path / "bad.nii.gz", np.zeros((3, 4, 5, 6)), skewed)
    assert not (tmp_path / "bad.nii.gz").exists()


@pytest.mark.parametrize("name", ["disp_0001_0002.nii.gz", "disp_0001_0002.npz"])
def test_learn2reg_round_trip_component_last_identity_affine(tmp_path, name):
    displacement = np.stack([smooth((8, 9, 10), seed=k, amplitude=2.0) for k in range(3)])
    path = write_learn2reg_field(tmp_path / name, displacement)
    back = read_learn2reg_field(path, shape=(8, 9, 10))
    np.testing.assert_allclose(back.displacement, displacement, atol=1e-6)
    if name.endswith(".nii.gz"):
        stored = nib.load(path)
        assert stored.shape == (8, 9, 10, 3)
        np.testing.assert_array_equal(stored.affine, np.eye(4))


def test_learn2reg_half_resolution_keeps_full_resolution_voxels(tmp_path):
    displacement = np.stack([smooth((32, 36, 40), seed=k, amplitude=3.0, sigma=8.0) for k in range(3)])
    path = write_learn2reg_half_field(tmp_path / "disp_0001_0002.npz", displacement)
    stored = np.load(path)["arr_0"]
    assert stored.dtype == np.float16
    assert stored.shape == (3, 16, 18, 20)
    assert np.abs(stored).max() == pytest.approx(3.0, rel=0.05)
    back = read_learn2reg_field(path, shape=(32, 36, 40))
    assert np.abs(back.displacement - displacement).max() < 0.05
    with pytest.raises(FieldFormatError, match="half of it"):
        read_learn2reg_field(path, shape=(30, 36, 40))


def test_index_to_index_field_keeps_its_correspondence_in_world_coordinates():
    fixed_affine = grid_affine(spacing=(0.7, 1.3, 4.0))
    moving_affine = grid_affine(spacing=(1.0, 1.1, 2.0), flip=True)
    displacement = np.random.default_rng(0).normal(size=(3, 3, 4, 5))
    house = index_field_to_world(displacement, fixed_affine, moving_affine)
    grid = np.indices((3, 4, 5))
    at_fixed = (
        np.tensordot(fixed_affine[:3, :3], grid + house, axes=1) + fixed_affine[:3, 3, None, None, None]
    )
    at_moving = np.tensordot(moving_affine[:3, :3], grid + displacement, axes=1)
    np.testing.assert_allclose(at_fixed, at_moving + moving_affine[:3, 3, None, None, None], atol=1e-9)
    np.testing.assert_allclose(
        index_field_to_world(displacement, fixed_affine, fixed_affine), displacement, atol=1e-9
    )


def test_damaged_archive_names_the_file(tmp_path):
    path = tmp_path / "disp.npz"
    path.write_bytes(b"PK not really")
    with pytest.raises(DataError, match=r"disp\.npz"):
        read_learn2reg_field(path)


def test_field_files_of_real_images_round_trip(tmp_path, shared_data):
    fixed = read_image(shared_data / "oasis2d" / "pair_A_t1.nii.gz")  # one left-handed slice in the x–z plane
    displacement = np.zeros((3, *fixed.shape))
    displacement[0] = 2.0
    write_itk_field(tmp_path / "field.nii.gz", displacement, fixed.affine)
    path = shared_data / "oasis2d" / "pair_A_t1.nii.gz"
    theirs = resample_with_simpleitk(path, path, tmp_path / "field.nii.gz")
    np.testing.assert_allclose(theirs[:-2], fixed.array[2:], atol=1e-4)


def test_format_is_told_by_the_file(tmp_path):
    affine = grid_affine(spacing=(1.1, 0.9, 2.5), flip=True)
    displacement = np.stack([smooth((9, 8, 7), seed=k, amplitude=2.0) for k in range(3)])
    written = [
        write_itk_field(tmp_path / "itk.nii.gz", displacement, affine),
        write_learn2reg_field(tmp_path / "voxels.nii.gz", displacement, affine=affine),
        write_learn2reg_field(tmp_path / "voxels.npz", displacement),
    ]
    for path, expected in zip(written, (affine, affine, np.eye(4)), strict=True):
        field = read_displacement(path)
        np.testing.assert_allclose(field.displacement, displacement, atol=1e-5)
        np.testing.assert_allclose(field.affine, expected, atol=1e-5)
