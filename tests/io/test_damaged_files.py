"""Damage, bombs and what holds no grey values: a sentence that names the file, from every reader of files."""

from __future__ import annotations

import gzip
import zipfile
import zlib

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from medreg.errors import DataError, FieldFormatError, MedregError
from medreg.io import memory
from medreg.io.field import read_displacement
from medreg.io.image import read_image, read_labels, write_image
from medreg.io.report import header_report

SHAPE = (12, 13, 11)


@pytest.fixture(scope="module")
def smooth():
    return gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2).astype(np.float32)


def flipped(content, rng, *, first):
    bad = bytearray(content)
    bad[int(rng.integers(first, len(content) - 8))] ^= 1 << int(rng.integers(8))
    return bytes(bad)


def noticed_by_gzip(content):
    try:
        gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return True
    return False


def test_flipped_bits_of_a_packed_image_are_noticed_by_every_reader(tmp_path, smooth):
    rng = np.random.default_rng(1)
    good = write_image(tmp_path / "image.nii.gz", smooth, np.eye(4)).read_bytes()
    bad, tried = tmp_path / "bad.nii.gz", 0
    for _ in range(20):
        bad.write_bytes(flipped(good, rng, first=500))
        if not noticed_by_gzip(bad.read_bytes()):
            continue
        tried += 1
        for read in (read_image, read_labels, header_report):
            with pytest.raises(DataError, match=r"bad\.nii\.gz"):
                read(bad)
    assert tried > 15


def test_flipped_bits_behind_the_chosen_frame_are_noticed(tmp_path, smooth):
    cine = np.stack([smooth, smooth + 1, smooth + 2], axis=-1)
    path = write_image(tmp_path / "cine.nii.gz", cine, np.eye(4))
    for frame in range(3):
        np.testing.assert_array_equal(read_image(path, frame=frame).array, cine[..., frame])
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum itself
    path.write_bytes(bytes(content))
    for frame in range(3):
        with pytest.raises(DataError, match="damaged"):
            read_image(path, frame=frame)


@pytest.mark.parametrize("kind", ["itk", "learn2reg"])
def test_flipped_bits_of_a_packed_field_are_noticed(tmp_path, smooth, kind):
    stacked = np.stack([smooth] * 3, axis=-1)
    image = nib.Nifti1Image(stacked[:, :, :, None] if kind == "itk" else stacked, np.diag([2.0, 2, 2, 1]))
    image.header.set_intent("vector" if kind == "itk" else "none")
    nib.save(image, tmp_path / "field.nii.gz")
    good = (tmp_path / "field.nii.gz").read_bytes()
    assert read_displacement(tmp_path / "field.nii.gz").shape == SHAPE
    rng = np.random.default_rng(2)
    for _ in range(8):
        (tmp_path / "bad.nii.gz").write_bytes(flipped(good, rng, first=500))
        with pytest.raises(MedregError, match=r"bad\.nii\.gz"):
            read_displacement(tmp_path / "bad.nii.gz")


@pytest.mark.parametrize("name", ["image.mha", "image.mhd", "image.nrrd", "image.nhdr"])
def test_flipped_bits_of_metaimage_and_nrrd_are_noticed(tmp_path, smooth, name):
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(smooth.T.copy()), str(tmp_path / name), True)
    np.testing.assert_array_equal(read_image(tmp_path / name).array, smooth)
    data = {"image.mhd": "image.zraw", "image.nhdr": "image.raw.gz"}.get(name, name)
    good, rng = (tmp_path / data).read_bytes(), np.random.default_rng(3)
    for _ in range(8):
        (tmp_path / data).write_bytes(flipped(good, rng, first=500))
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)


def test_several_gzip_members_and_padding_are_read(tmp_path, smooth):
    whole = write_image(tmp_path / "plain.nii", smooth, np.eye(4)).read_bytes()
    packed = gzip.compress(whole[:1000]) + gzip.compress(whole[1000:]) + bytes(512)
    (tmp_path / "members.nii.gz").write_bytes(packed)
    np.testing.assert_array_equal(read_image(tmp_path / "members.nii.gz").array, smooth)
    for cut in (len(packed) - 600, len(packed) // 2, 900):
        (tmp_path / "members.nii.gz").write_bytes(packed[:cut])
        with pytest.raises(DataError, match="members"):
            read_image(tmp_path / "members.nii.gz")


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_voxels_are_those_that_nibabel_reads(tmp_path, suffix, order, scaled):
    array = np.random.default_rng(0).integers(-500, 500, size=(5, 6, 7, 2)).astype("i2")
    image = nib.Nifti1Image(array.astype(order + "i2"), np.eye(4), nib.Nifti1Header(endianness=order))
    image.header.set_slope_inter(0.5 if scaled else 1, -3 if scaled else 0)
    nib.save(image, tmp_path / f"image{suffix}")
    found = read_image(tmp_path / f"image{suffix}", frame=1, dtype=np.float64).array
    np.testing.assert_allclose(found, nib.load(tmp_path / f"image{suffix}").get_fdata()[..., 1])


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_promises_terabytes_is_refused_at_once(tmp_path, suffix):
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 30_000))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4000)
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(content if suffix == ".nii" else gzip.compress(content))
    with pytest.raises(DataError, match=r"bomb.*108 TB"):
        read_image(path)
    with pytest.raises(DataError, match=r"bomb.*108 TB"):
        header_report(path)


def test_a_metaimage_that_promises_terabytes_is_refused_at_once(tmp_path):
    pytest.importorskip("SimpleITK")
    text = "ObjectType = Image\nNDims = 3\nDimSize = 30000 30000 30000\nElementType = MET_FLOAT\n"
    text += "ElementDataFile = LOCAL\n"
    (tmp_path / "bomb.mha").write_text(text + "x" * 100)
    with pytest.raises(DataError, match=r"bomb\.mha.*TB"):
        read_image(tmp_path / "bomb.mha")


def test_what_memory_cannot_hold_is_refused(tmp_path, smooth, monkeypatch):
    path = write_image(tmp_path / "image.nii.gz", smooth, np.eye(4))
    np.savez_compressed(tmp_path / "field.npz", np.zeros((*SHAPE, 3), np.float32))
    monkeypatch.setattr(memory, "available_bytes", lambda: 5000)
    with pytest.raises(DataError, match=r"image\.nii\.gz.*memory"):
        read_image(path)
    with pytest.raises(DataError, match=r"field\.npz.*memory"):
        read_displacement(tmp_path / "field.npz")


def test_a_file_much_longer_than_its_header_is_not_unpacked_to_its_end(tmp_path, smooth):
    whole = write_image(tmp_path / "plain.nii", smooth, np.eye(4)).read_bytes()
    (tmp_path / "long.nii.gz").write_bytes(gzip.compress(whole + bytes(70_000_000), compresslevel=1))
    with pytest.raises(DataError, match="far more than its header"):
        read_image(tmp_path / "long.nii.gz")


ARRAYS = {
    "text": np.array(["a", "b"]),
    "objects": np.array([None, 1], dtype=object),
    "complex": np.zeros((2, 2, 2, 3), complex),
    "other axes": np.zeros((2, 3, 3), np.float32),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_no_field_are_refused(tmp_path, name):
    np.savez(tmp_path / "field.npz", ARRAYS[name])
    with pytest.raises(FieldFormatError, match=r"field\.npz"):
        read_displacement(tmp_path / "field.npz")


def test_damaged_encrypted_and_lying_archives_are_refused(tmp_path):
    good = tmp_path / "field.npz"
    np.savez_compressed(good, np.random.default_rng(0).normal(size=(5, 6, 7, 3)).astype(np.float32))
    assert read_displacement(good).shape == (5, 6, 7)
    content, rng = good.read_bytes(), np.random.default_rng(4)
    with zipfile.ZipFile(good) as archive:
        first, length = archive.infolist()[0].header_offset + 60, archive.infolist()[0].compress_size
    for _ in range(8):
        bad = bytearray(content)
        bad[first + int(rng.integers(length - 60))] ^= 1 << int(rng.integers(8))
        (tmp_path / "bad.npz").write_bytes(bytes(bad))
        with pytest.raises(DataError, match=r"bad\.npz"):
            read_displacement(tmp_path / "bad.npz")
    marked = bytearray(content)
    marked[6] |= 1
    marked[content.index(b"PK\x01\x02") + 8] |= 1  # both headers say that the member is encrypted
    (tmp_path / "secret.npz").write_bytes(bytes(marked))
    with pytest.raises(DataError, match=r"secret\.npz is encrypted"):
        read_displacement(tmp_path / "secret.npz")
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (30000, 30000, 30000, 3), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("arr_0.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(DataError, match=r"bomb\.npz.*TB"):
        read_displacement(tmp_path / "bomb.npz")


@pytest.mark.parametrize("kind", ["RGB", "complex"])
def test_images_of_colours_and_complex_numbers_are_refused(tmp_path, kind):
    colour = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    array = colour if kind == "RGB" else np.ones((4, 5, 6), np.complex64)
    nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "image.nii")
    for read in (read_image, read_labels):
        with pytest.raises(DataError, match=r"image\.nii.*colour or complex"):
            read(tmp_path / "image.nii")


@pytest.mark.parametrize("kind", ["RGB", "complex"])
def test_metaimages_of_colours_and_complex_numbers_are_refused(tmp_path, kind):
    sitk = pytest.importorskip("SimpleITK")
    made = (
        sitk.Image((4, 5, 6), sitk.sitkVectorUInt8, 3)
        if kind == "RGB"
        else sitk.Image((4, 5, 6), sitk.sitkComplexFloat32)
    )
    sitk.WriteImage(made, str(tmp_path / "image.mha"))
    with pytest.raises(DataError, match=r"image\.mha"):
        read_image(tmp_path / "image.mha")
