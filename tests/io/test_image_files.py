"""Images on disk: the repaired affine is ITK's, frames are picked, damaged files are named."""

from __future__ import annotations

import errno

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medreg.errors import DataError, MissingExtra
from medreg.io import foreign
from medreg.io.image import frame_count, read_image, read_labels, write_image, write_labels
from medreg.io.report import header_report

TRUE = np.diag([-1.5, -2.0, 10.0, 1.0])
TRUE[:3, 3] = 3, 4, 5
UNIT_SCALE = np.diag([-1.0, -1.0, 1.0, 1.0])


def save(path, *, array=None, sform=None, qform=None, sform_code=0, qform_code=0, zooms=(1.5, 2.0, 10.0)):
    """Write a NIfTI file whose three statements about the geometry may contradict each other."""
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5) if array is None else array
    header = nib.Nifti1Header()
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    header.set_qform(qform, qform_code) if qform is not None else None
    header.set_sform(sform, sform_code) if sform is not None else None
    header.set_zooms((*zooms, *[1.0] * (array.ndim - 3)))
    nib.save(nib.Nifti1Image(array, None, header), path)
    return path


HEADERS = {
    "sane": {"sform": TRUE, "qform": TRUE, "sform_code": 1, "qform_code": 1},
    "unit sform, scanner code": {"sform": UNIT_SCALE, "qform": TRUE, "sform_code": 1, "qform_code": 1},
    "unit sform, aligned code": {"sform": UNIT_SCALE, "qform": TRUE, "sform_code": 2, "qform_code": 1},
    "unit sform, no qform": {"sform": UNIT_SCALE, "sform_code": 1},
    "qform only": {"qform": TRUE, "qform_code": 1},
    "neither": {},
}


@pytest.mark.parametrize("name", HEADERS)
def test_affine_is_the_one_that_simpleitk_uses(tmp_path, name):
    path = save(tmp_path / "image.nii", **HEADERS[name])
    volume = read_image(path)
    theirs = foreign.itk_affine(sitk.ReadImage(str(path)))
    np.testing.assert_allclose(volume.affine, theirs, atol=1e-5)
    assert volume.spacing_mm == pytest.approx((1.5, 2.0, 10.0))
    assert bool(volume.notes) == (name not in ("sane", "qform only"))


def test_cine_with_unit_sform_keeps_its_spacing(tmp_path):
    array = np.random.default_rng(0).normal(size=(6, 7, 4, 3)).astype(np.float32)
    path = save(tmp_path / "cine.nii.gz", array=array, **HEADERS["unit sform, aligned code"])
    assert frame_count(path) == 3
    volume = read_image(path, frame=2)
    np.testing.assert_array_equal(volume.array, array[..., 2])
    assert volume.spacing_mm == pytest.approx((1.5, 2.0, 10.0))
    np.testing.assert_allclose(volume.affine, TRUE, atol=1e-5)
    assert volume.array.flags.c_contiguous
    with pytest.raises(DataError, match="3 frames"):
        read_image(path)
    with pytest.raises(DataError, match="frame 3 does not exist"):
        read_image(path, frame=3)


def test_singleton_fourth_axis_is_dropped(tmp_path):
    path = save(tmp_path / "image.nii.gz", array=np.zeros((3, 4, 5, 1), np.float32), **HEADERS["sane"])
    assert read_image(path).shape == (3, 4, 5)


def test_skewed_affine_is_reported_and_gives_way_to_a_qform(tmp_path):
    skewed = TRUE.copy()
    skewed[0, 1] = 0.5
    alone = read_image(save(tmp_path / "alone.nii", sform=skewed, sform_code=1))
    assert any("skewed" in note for note in alone.notes)
    both = read_image(save(tmp_path / "both.nii", sform=skewed, sform_code=1, qform=TRUE, qform_code=1))
    np.testing.assert_allclose(both.affine, TRUE, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1), (6, 7, 5)])
def test_written_image_comes_back_with_array_and_affine(tmp_path, shape):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = write_image(tmp_path / "new" / "image.nii.gz", np.asfortranarray(array), TRUE)
    volume = read_image(path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, TRUE, atol=1e-6)
    assert volume.spacing_mm == pytest.approx((1.5, 2.0, 10.0)[: len(shape)])
    assert not volume.notes
    assert [file.name for file in path.parent.iterdir()] == ["image.nii.gz"]  # no temporary file left


def test_labels_stored_as_float_are_rounded_and_images_refused(tmp_path):
    labels = np.random.default_rng(0).integers(0, 300, size=(5, 6, 7))
    write_image(tmp_path / "float.nii.gz", labels + 1e-4, TRUE)
    read = read_labels(tmp_path / "float.nii.gz")
    assert read.array.dtype == np.int32
    np.testing.assert_array_equal(read.array, labels)
    write_image(tmp_path / "soft.nii.gz", labels * 0.5, TRUE)
    with pytest.raises(DataError, match="interpolated linearly"):
        read_labels(tmp_path / "soft.nii.gz")
    path = write_labels(tmp_path / "labels.nii.gz", labels, TRUE)
    assert nib.load(path).get_data_dtype() == np.int16
    assert nib.load(write_labels(tmp_path / "small.nii.gz", labels % 4, TRUE)).get_data_dtype() == np.uint8


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "half", "cut", "folder"])
def test_unreadable_file_is_named(tmp_path, damage):
    path = tmp_path / ("scan.nii" if damage == "cut" else "scan.nii.gz")
    if damage != "missing":
        write_image(path, np.random.default_rng(0).normal(size=(9, 9, 9)), TRUE)
    content = path.read_bytes() if path.exists() else b""
    if damage == "folder":
        path.unlink()
        path.mkdir()
    elif damage != "missing":
        shorter = {
            "empty": b"",
            "garbage": b"no image" * 99,
            "half": content[: len(content) // 2],
            "cut": content[:-40],
        }
        path.write_bytes(shorter[damage])
    with pytest.raises(DataError, match="scan"):
        read_image(path)


def test_metaimage_and_nrrd_agree_with_nifti(tmp_path):
    array = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
    nifti = write_image(tmp_path / "image.nii.gz", array, TRUE)
    for name in ("image.mha", "image.nrrd"):
        sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / name))
        volume = read_image(tmp_path / name)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose(volume.affine, TRUE, atol=1e-5)


def test_missing_simpleitk_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "image.mha").write_text("x")
    monkeypatch.setitem(__import__("sys").modules, "SimpleITK", None)
    with pytest.raises(MissingExtra, match=r"medreg\[itk\]"):
        read_image(tmp_path / "image.mha")


def test_header_report_finds_what_is_wrong(tmp_path):
    array = np.ones((4, 5, 6), np.float32)
    array[0, 0, 0] = np.nan
    left = np.diag([-1.0, 1.0, 1.0, 1.0])
    path = save(tmp_path / "bad.nii", array=array, sform=left, sform_code=1, zooms=(1, 1, 1))
    report = header_report(path)
    codes = [finding.code for finding in report.findings]
    assert codes[0] == "not_finite"
    assert {"unit_spacing", "left_handed"} <= set(codes)
    assert report.axis_codes == ("L", "A", "S")

    other = header_report(save(tmp_path / "lie.nii", **HEADERS["unit sform, aligned code"]))
    found = {finding.code for finding in other.findings}
    assert {"contradictory_header", "thick_slices"} <= found
    assert "unit_spacing" not in found
    moved = TRUE.copy()
    moved[0, 3] += 20
    differing = save(tmp_path / "two.nii", sform=TRUE, sform_code=1, qform=moved, qform_code=1)
    messages = [finding.message for finding in header_report(differing).findings]
    assert any("sform (code 1" in message and "sform was used" in message for message in messages)
    constant = save(tmp_path / "flat.nii", array=np.zeros((3, 4, 5), np.float32), **HEADERS["sane"])
    assert [finding.code for finding in header_report(constant).findings] == ["constant", "thick_slices"]


def test_real_images_are_read_as_simpleitk_reads_them(shared_data):
    for name in (
        "lung_ct/followup.nii.gz",
        "spine_t1t2/t2.nii.gz",
        "oasis2d/pair_B_t1.nii.gz",
        "acdc/patient001_ed.nii.gz",
    ):
        volume = read_image(shared_data / name)
        theirs = sitk.ReadImage(str(shared_data / name))
        np.testing.assert_allclose(volume.affine, foreign.itk_affine(theirs), atol=1e-3)
        np.testing.assert_allclose(volume.array, sitk.GetArrayFromImage(theirs).transpose(), rtol=1e-6)


def test_values_beyond_single_precision_are_named(tmp_path):
    file = tmp_path / "huge.nii.gz"
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 1e300), np.eye(4)), file)
    with pytest.raises(DataError, match=r"huge.nii.gz: values up to 1e\+300, beyond what float32 holds"):
        read_image(file)


def test_a_full_disk_names_the_image(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(nib, "save", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_image(tmp_path / "a" / "warped.nii.gz", np.zeros((4, 4, 4)), np.eye(4))
    assert caught.value.filename == str(tmp_path / "a" / "warped.nii.gz")
    assert list((tmp_path / "a").iterdir()) == []
