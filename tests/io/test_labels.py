"""Codes of any number type are kept exactly, or refused by a sentence; a mask says where it ends."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medreg.errors import DataError
from medreg.io.image import read_labels, read_mask
from medreg.io.labels import exact_labels, exact_mask

LARGE = 2**24


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8"]
)
def test_codes_of_any_type_are_kept(dtype):
    codes = np.array([0, 1, 1, 0] if dtype == "?" else [0, 1, 2, 100]).astype(dtype)
    found = exact_labels(codes, "codes")
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, codes.astype(int))


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8", "f8"])
def test_neighbouring_large_codes_stay_two(dtype):
    codes = np.array([LARGE, LARGE + 1, 2**31 - 1]).astype(dtype)
    np.testing.assert_array_equal(exact_labels(codes, "codes"), [LARGE, LARGE + 1, 2**31 - 1])


def test_rounding_is_allowed_a_hundredth():
    np.testing.assert_array_equal(exact_labels(np.array([0.99992, 2.0001], "f4"), "codes"), [1, 2])


REFUSED = {
    "3e9 as uint32": (np.array([0, 3_000_000_000], "u4"), "32-bit"),
    "2^31 as int64": (np.array([0, -(2**31) - 1]), "32-bit"),
    "2^64 - 1": (np.array([2**64 - 1], "u8"), "18446744073709551615"),
    "1e30": (np.array([0, 1e30]), "32-bit"),
    "merged in float32": (np.array([LARGE + 2], "f4"), "cannot tell"),
    "merged in float16": (np.array([2050], "f2"), "cannot tell"),
    "NaN": (np.array([0, np.nan]), "NaN"),
    "infinite": (np.array([0, np.inf], "f4"), "infinite"),
    "1.9999 off": (np.array([0, 1.98]), "0.02 away"),
    "complex": (np.array([1 + 0j]), "complex128"),
    "text": (np.array(["1"]), "whole numbers"),
    "objects": (np.array([1, None], dtype=object), "whole numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exact_is_refused_by_name(name):
    array, words = REFUSED[name]
    with pytest.raises(DataError, match=words) as found:
        exact_labels(array, "the fixed labels")
    assert "the fixed labels" in str(found.value)


def test_a_mask_is_one_above_zero():
    assert exact_mask(np.array([-1, 0, 1, 255, 3_000_000_000]), "mask").tolist() == [0, 0, 1, 1, 1]
    assert exact_mask(np.array([0.0, 0.999, 1e20], "f4"), "mask").tolist() == [0, 1, 1]
    for wrong in (np.array([0.02, 0.95]), np.array([np.nan]), np.array([1j])):
        with pytest.raises(DataError, match="mask"):
            exact_mask(wrong, "mask.nii")


@pytest.mark.parametrize("dtype", ["u4", "i8", "f8"])
def test_files_keep_their_codes(tmp_path, dtype):
    codes = (np.arange(24).reshape(2, 3, 4) + LARGE).astype(dtype)
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(codes, np.eye(4), header), tmp_path / "labels.nii.gz")
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz").array, codes)
    assert read_mask(tmp_path / "labels.nii.gz").array.all()
    nib.save(
        nib.Nifti1Image((codes.astype("f8") + 2**31).astype(dtype), np.eye(4), header),
        tmp_path / "beyond.nii",
    )
    with pytest.raises(DataError, match=r"beyond.nii.*32-bit"):
        read_labels(tmp_path / "beyond.nii")
