"""Deformation files of other programs: the same warp as an ITK field, or a sentence with the program's name."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from medreg.api import warp_image, warp_points
from medreg.errors import FieldFormatError, MissingExtra
from medreg.io.field import read_displacement, write_itk_field, write_learn2reg_field
from medreg.io.image import write_image
from tests.io.test_field_files import grid_affine, smooth

SHAPE = (11, 12, 9)
AFFINE = grid_affine(spacing=(1.5, 2.0, 2.5), flip=True)


@pytest.fixture
def displacement():
    return np.stack([smooth(SHAPE, seed=k, amplitude=1.3) for k in range(3)])


def positions_of(displacement):
    """RAS mm to which each voxel is sent, (X, Y, Z, 3)."""
    grid = np.indices(displacement.shape[1:]) + displacement
    return np.moveaxis(np.tensordot(AFFINE[:3, :3], grid, axes=1), 0, -1) + AFFINE[:3, 3]


def save(path, array, *, code=1007, name=b"", p1=0.0, affine=AFFINE, descrip=b"", extension=None):
    image = nib.Nifti1Image(np.asarray(array, np.float32), affine)
    image.header["intent_code"], image.header["intent_name"], image.header["intent_p1"] = code, name, p1
    image.header["descrip"] = descrip
    if extension is not None:
        image.header.extensions.append(Nifti1Extension(extension, b"<AFNI_attributes />"))
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("name", "p1"), [(b"NREG_TRANS", 0), (b"NREG_TRANS", 1), (b"Mapping", 0)])
def test_niftyreg_and_spm_fields_are_converted(tmp_path, displacement, name, p1):
    array = positions_of(displacement)
    if p1 == 1:
        array = array - positions_of(np.zeros_like(displacement))
    field = read_displacement(save(tmp_path / "field.nii.gz", array[:, :, :, None], name=name, p1=p1))
    np.testing.assert_allclose(field.displacement, displacement, atol=1e-4)
    np.testing.assert_allclose(field.affine, AFFINE, atol=1e-5)
    assert any("converted" in note for note in field.notes)


def test_a_flat_niftyreg_field_is_converted(tmp_path):
    affine, flat = (
        np.diag([-1.5, 2.0, 1, 1]),
        np.stack([smooth((11, 12), seed=k, amplitude=1.3) for k in range(2)]),
    )
    affine[:2, 3] = 4, -7
    grid = np.indices((11, 12)) + flat
    array = np.moveaxis(np.tensordot(affine[:2, :2], grid, axes=1), 0, -1) + affine[:2, 3]
    path = save(tmp_path / "field.nii", array[:, :, None, None], name=b"NREG_TRANS", affine=affine)
    np.testing.assert_allclose(read_displacement(path).displacement, flat, atol=1e-5)


REFUSED = {
    "NiftyReg control points": (
        {"name": b"NREG_TRANS", "p1": 2},
        True,
        "NiftyReg.*intent_p1 2.*reg_transform",
    ),
    "NiftyReg velocities": ({"name": b"NREG_TRANS", "p1": 3}, True, "NiftyReg.*velocity"),
    "NiftyReg velocity grid": ({"name": b"NREG_TRANS", "p1": 5}, True, "NiftyReg.*spline of velocities"),
    "NiftyReg of later versions": ({"name": b"NREG_TRANS", "p1": 9}, True, "NiftyReg.*unknown"),
    "another name": ({"name": b"Velocity"}, True, "'Velocity'"),
    "FNIRT displacements": ({"code": 2006}, False, "FSL.*2006.*convert-warpfield"),
    "FNIRT coefficients": ({"code": 2007}, False, "FSL.*2007.*cubic"),
    "FNIRT cosines": ({"code": 2008}, False, "FSL.*2008"),
    "FNIRT quadratic": ({"code": 2009}, False, "FSL.*2009.*quadratic"),
    "topup": ({"code": 2016}, False, "FSL.*2016"),
    "topup field": ({"code": 2018}, False, "FSL.*2018"),
    "FNIRT of five axes": ({"code": 2006}, True, "FSL.*2006"),
    "MRtrix": ({"code": 0, "descrip": b"MRtrix version: 3.0.4"}, False, "MRtrix"),
    "AFNI": ({"code": 0, "extension": 4}, False, "AFNI"),
    "a vector without fifth axis": ({"code": 1007}, False, "1007"),
    "a point set": ({"code": 1008}, True, "1008"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, displacement, kind):
    header, five, words = REFUSED[kind]
    array = np.moveaxis(displacement, 0, -1)
    path = save(tmp_path / "field.nii.gz", array[:, :, :, None] if five else array, **header)
    with pytest.raises(FieldFormatError, match=rf"(?s)field\.nii\.gz.*{words}"):
        read_displacement(path)


@pytest.mark.parametrize("frame", ["ras", "lps", "voxel"])
def test_positions_that_nothing_names_are_noticed(tmp_path, displacement, frame):
    if frame == "voxel":
        path = tmp_path / "field.npz"
        np.savez(path, np.moveaxis(np.indices(SHAPE) + displacement, 0, -1).astype(np.float32))
    else:
        array = positions_of(displacement) * ((1, 1, 1) if frame == "ras" else (-1, -1, 1))
        path = save(tmp_path / "field.nii.gz", array[:, :, :, None])
    with pytest.raises(FieldFormatError, match="places"):
        read_displacement(path)


def test_strong_displacements_are_no_positions(tmp_path, displacement):
    strong = displacement + 0.3 * np.indices(SHAPE)  # a third larger, as affine registrations are at most
    field = read_displacement(write_itk_field(tmp_path / "field.nii.gz", strong, AFFINE))
    np.testing.assert_allclose(field.displacement, strong, atol=1e-4)
    path = write_learn2reg_field(tmp_path / "field.npz", strong)
    np.testing.assert_allclose(read_displacement(path).displacement, strong, atol=1e-4)


def test_a_niftyreg_field_of_two_places_is_refused(tmp_path, displacement):
    path = save(tmp_path / "field.nii", positions_of(displacement)[:, :, :, None], name=b"NREG_TRANS")
    image = nib.load(path)
    moved = AFFINE.copy()
    moved[:3, 3] += 5
    image.set_sform(AFFINE, 2)
    image.set_qform(moved, 1)
    nib.save(image, tmp_path / "two.nii")
    with pytest.raises(FieldFormatError, match=r"two\.nii.*NiftyReg.*sform"):
        read_displacement(tmp_path / "two.nii")


@pytest.mark.parametrize("suffix", ["tfm", "txt", "mat", "h5", "xfm"])
def test_transforms_of_itk_warp_as_simpleitk_does(tmp_path, suffix):
    sitk = pytest.importorskip("SimpleITK")
    array = smooth(SHAPE, seed=3, amplitude=1.0).astype(np.float32)
    image = write_image(tmp_path / "image.nii.gz", array, AFFINE)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix((1.02, 0.03, 0, 0, 0.98, 0.02, 0.01, 0, 1))
    transform.SetTranslation((1, 0.5, -0.7))
    transform.SetCenter((-12, 31, 50))
    file = tmp_path / f"transform.{suffix}"
    sitk.WriteTransform(transform, str(file))
    picture = sitk.ReadImage(str(image))
    theirs = sitk.GetArrayFromImage(sitk.Resample(picture, picture, transform, sitk.sitkLinear, 0.0)).T
    ours = warp_image(file, image, reference=image).array
    np.testing.assert_allclose(ours[2:-2, 2:-2, 2:-2], theirs[2:-2, 2:-2, 2:-2], atol=1e-5)
    point = np.array([[5.0, 6.0, 4.0]])
    lps = warp_points(file, point, reference=image)[0] @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    start = (point[0] @ AFFINE[:3, :3].T + AFFINE[:3, 3]) * (-1, -1, 1)
    np.testing.assert_allclose(lps * (-1, -1, 1), transform.TransformPoint(start.tolist()), atol=1e-4)
    with pytest.raises(FieldFormatError, match="--reference"):
        warp_image(file, image)


def test_files_that_are_no_transform_of_itk_say_what_converts_them(tmp_path):
    pytest.importorskip("SimpleITK")
    image = write_image(tmp_path / "image.nii.gz", smooth(SHAPE, seed=3, amplitude=1.0), AFFINE)
    (tmp_path / "flirt.mat").write_text("1 0 0 2\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(FieldFormatError, match=r"flirt\.mat.*c3d_affine_tool"):
        warp_image(tmp_path / "flirt.mat", image, reference=image)
    (tmp_path / "field.mgz").write_text("x")
    with pytest.raises(FieldFormatError, match=r"field\.mgz"):
        warp_image(tmp_path / "field.mgz", image, reference=image)


def test_without_simpleitk_a_transform_is_refused_with_the_way_out(tmp_path, monkeypatch):
    image = write_image(tmp_path / "image.nii.gz", smooth(SHAPE, seed=3, amplitude=1.0), AFFINE)
    (tmp_path / "transform.h5").write_text("x")
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(MissingExtra, match=r"medreg\[itk\].*antsApplyTransforms"):
        warp_image(tmp_path / "transform.h5", image, reference=image)
