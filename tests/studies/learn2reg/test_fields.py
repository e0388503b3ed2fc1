"""Displacement files of every edition, in folders and zips, and what is said about bad ones."""

from __future__ import annotations

import zipfile

import nibabel as nib
import numpy as np
import pytest
from learn2reg_tasks import SHAPE, save_field, waves
from scipy import ndimage

from medreg.data.datasets.learn2reg_config import PairPaths
from medreg.errors import DataError, FieldFormatError
from medreg.io.field import write_itk_field, write_learn2reg_field, write_learn2reg_half_field
from medreg.studies.learn2reg.fields import FieldSource

PAIR = PairPaths("./imagesTr/Task_0001_0000.nii.gz", "./imagesTr/Task_0002_0000.nii.gz")
LONG, SHORT = "disp_0001_0000_0002_0000", "disp_0001_0002"


def read(folder):
    source = FieldSource(folder)
    entry = source.find(PAIR)
    assert entry is not None
    return source.read(entry, SHAPE)


def test_our_writer_is_read_with_components_and_sign(tmp_path):  # C1
    field = np.zeros((3, *SHAPE), np.float32)
    field[1] = 2.5
    write_learn2reg_field(tmp_path / f"{LONG}.nii.gz", field)
    found = read(tmp_path)
    assert found.values.shape == (*SHAPE, 3)
    assert (found.values[..., 1] == 2.5).all()
    assert not found.values[..., [0, 2]].any()


def test_official_half_resolution_file_of_our_writer(tmp_path):  # C2
    field = np.moveaxis(waves(3.0, period=30.0), -1, 0)
    path = write_learn2reg_half_field(tmp_path / f"{SHORT}.npz", field)
    stored = np.load(path)["arr_0"]
    assert stored.dtype == np.float16
    assert stored.shape == (3, 11, 13, 10)
    assert np.abs(stored).max() == pytest.approx(np.abs(field).max(), rel=0.05)  # values are not halved
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(read(tmp_path).values[inner], np.moveaxis(field, 0, -1)[inner], atol=0.15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("first", [False, True])
def test_nifti_values_are_exact(tmp_path, dtype, first):
    field = waves(2.0).astype(dtype)
    save_field(tmp_path, LONG, np.moveaxis(field, -1, 0) if first else field)
    found = read(tmp_path)
    assert found.values.dtype == dtype
    assert not found.single
    np.testing.assert_array_equal(found.values, field)
    assert all(part.flags.f_contiguous for part in found.components)


def test_npz_is_single_precision_under_any_key(tmp_path):
    field = waves(2.0)
    save_field(tmp_path, LONG, field, suffix=".npz", key="flow")
    found = read(tmp_path)
    assert found.single
    np.testing.assert_array_equal(found.values, field.astype(np.float32))


def test_full_resolution_component_first_npz_of_2020(tmp_path):
    field = np.moveaxis(waves(2.0), -1, 0).astype(np.float16)
    save_field(tmp_path, SHORT, field, suffix=".npz")
    np.testing.assert_array_equal(read(tmp_path).values, np.moveaxis(field, 0, -1).astype(np.float32))


def test_half_resolution_is_enlarged_as_officially(tmp_path):
    half = np.stack([ndimage.zoom(part, 0.5, order=2) for part in np.moveaxis(waves(2.0), -1, 0)]).astype(
        np.float16
    )
    save_field(tmp_path, SHORT, half, suffix=".npz")
    wanted = np.array([ndimage.zoom(half.astype("float32")[i], 2, order=2) for i in range(3)])
    np.testing.assert_array_equal(np.moveaxis(read(tmp_path).values, -1, 0), wanted)


def test_npz_wins_and_the_newer_name_comes_first(tmp_path):
    save_field(tmp_path, SHORT, waves(1.0), suffix=".npz")
    source = FieldSource(tmp_path)
    assert source.find(PAIR).name == f"{SHORT}.npz"
    save_field(tmp_path, LONG, waves(1.0))
    save_field(tmp_path, LONG, waves(1.0), suffix=".npz")
    source = FieldSource(tmp_path)
    assert source.find(PAIR).name == f"{LONG}.npz"
    assert source.find(PAIR, rule="2022").name == f"{SHORT}.npz"
    assert len(source.entries()) == 3


def zipped(tmp_path, *names):
    save_field(tmp_path / "loose", SHORT, waves(1.0).astype(np.float32))
    archive = tmp_path / "submission.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in names:
            opened.write(tmp_path / "loose" / f"{SHORT}.nii.gz", name)
    return archive


def test_zip_flat_nested_and_with_files_of_macos(tmp_path):
    for names in ([f"{SHORT}.nii.gz"], [f"a/b/{SHORT}.nii.gz", f"__MACOSX/a/b/._{SHORT}.nii.gz"]):
        archive = zipped(tmp_path, *names)
        np.testing.assert_array_equal(read(archive).values, waves(1.0).astype(np.float32))
        source = FieldSource(archive)
        assert source.digest(source.find(PAIR)) == FieldSource(archive).digest(source.find(PAIR))
    other = tmp_path / "other"
    save_field(other, SHORT, waves(2.0).astype(np.float32))
    loose, changed = FieldSource(tmp_path / "loose"), FieldSource(other)
    assert loose.digest(loose.find(PAIR)) != changed.digest(changed.find(PAIR))


def test_several_tasks_in_one_zip_must_be_told_apart(tmp_path):
    archive = zipped(tmp_path, f"task_03/{SHORT}.nii.gz", f"task_04/{SHORT}.nii.gz")
    with pytest.raises(FieldFormatError, match=r"more than once.*submission\.zip/task_03"):
        FieldSource(archive).find(PAIR)
    assert FieldSource(archive / "task_04").find(PAIR).name == f"{SHORT}.nii.gz"


def test_nested_folder(tmp_path):
    save_field(tmp_path / "outer" / "inner", SHORT, waves(1.0))
    assert FieldSource(tmp_path).find(PAIR).name == f"outer/inner/{SHORT}.nii.gz"


def test_sources_that_are_none(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        FieldSource(tmp_path / "absent")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        FieldSource(tmp_path / "text.zip")


def bad(folder, kind):
    field = waves(1.0).astype(np.float32)
    if kind == "truncated":
        save_field(folder, LONG, field)
        path = folder / f"{LONG}.nii.gz"
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "truncated npz":
        save_field(folder, LONG, field, suffix=".npz")
        path = folder / f"{LONG}.npz"
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "no image":
        folder.joinpath(f"{LONG}.nii.gz").write_text("not gzip")
    elif kind == "wrong shape":
        save_field(folder, LONG, field[:-1])
    elif kind == "nan":
        field[3, 4, 5, 1] = np.nan
        save_field(folder, LONG, field)
    elif kind == "infinity":
        field[3, 4, 5, 2] = -np.inf
        save_field(folder, LONG, field, suffix=".npz")
    elif kind == "two arrays":
        np.savez(folder / f"{LONG}.npz", a=field, b=field)
    elif kind == "ITK field":
        write_itk_field(folder / f"{LONG}.nii.gz", np.moveaxis(field, -1, 0), np.eye(4))
    elif kind == "colour":
        colour = np.zeros((*SHAPE, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        nib.save(nib.Nifti1Image(colour, np.eye(4)), folder / f"{LONG}.nii.gz")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "damaged or truncated"),
        ("truncated npz", "damaged or truncated"),
        ("no image", "damaged or truncated"),
        ("wrong shape", "21×26×20×3 does not fit the task, which wants 22×26×20×3"),
        ("nan", "NaN or infinite"),
        ("infinity", "NaN or infinite"),
        ("two arrays", "exactly one"),
        ("ITK field", "ITK field in millimetres"),
        ("colour", "are no displacements"),
    ],
)
def test_bad_files_are_named_with_the_reason(tmp_path, kind, message):
    bad(tmp_path, kind)
    with pytest.raises((DataError, FieldFormatError), match=message) as caught:
        read(tmp_path)
    assert LONG in str(caught.value)


def test_damaged_member_of_a_zip(tmp_path):
    archive = zipped(tmp_path, f"{SHORT}.nii.gz")
    content = bytearray(archive.read_bytes())
    content[3000:3100] = bytes(100)
    archive.write_bytes(bytes(content))
    with pytest.raises(DataError, match="damaged"):
        read(archive)
