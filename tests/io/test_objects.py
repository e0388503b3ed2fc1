"""Images of nibabel, SimpleITK and MONAI in memory are the same image as their file."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor

from medreg.api import register, warp_image, warp_labels, warp_points
from medreg.errors import DataError
from medreg.io.field import write_itk_field
from medreg.io.image import read_image, write_image
from medreg.io.objects import placed
from medreg.registering import run as registering
from tests.io.test_field_files import grid_affine, smooth

SHAPE = (11, 12, 9)
AFFINE = grid_affine(spacing=(1.5, 2.0, 2.5), flip=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    array = smooth(SHAPE, seed=0, amplitude=100.0)
    return write_image(tmp_path_factory.mktemp("objects") / "image.nii.gz", array, AFFINE)


def of(kind, file):
    if kind == "nibabel":
        return nib.load(file)
    if kind == "SimpleITK":
        return pytest.importorskip("SimpleITK").ReadImage(str(file))
    volume = read_image(file)
    if kind == "MONAI":
        return MetaTensor(torch.from_numpy(volume.array)[None], affine=torch.from_numpy(volume.affine))
    turned = np.diag([-1.0, -1, 1, 1]) @ volume.affine
    return MetaTensor(torch.from_numpy(volume.array), affine=torch.from_numpy(turned), meta={"space": "LPS"})


@pytest.mark.parametrize("kind", ["nibabel", "SimpleITK", "MONAI", "MONAI in LPS"])
def test_an_object_is_the_image_of_its_file(file, kind):
    ours, theirs = placed(of(kind, file), "image"), read_image(file)
    np.testing.assert_array_equal(ours.array, theirs.array)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)
    np.testing.assert_allclose(ours.spacing_mm, theirs.spacing_mm, rtol=1e-6)


def test_a_header_changed_in_memory_counts(file):
    image = nib.load(file)
    moved = AFFINE.copy()
    moved[:3, 3] += 20
    image.set_sform(moved, 1)
    image.set_qform(moved, 1)
    np.testing.assert_allclose(placed(image, "image").affine, moved, atol=1e-5)
    made = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), moved)
    np.testing.assert_allclose(placed(made, "image").affine, moved, atol=1e-5)


@pytest.mark.parametrize("kind", ["nibabel", "SimpleITK", "MONAI"])
def test_registering_objects_is_registering_files(tmp_path, file, kind, monkeypatch):
    array, pairs = read_image(file).array, []
    other = write_image(
        tmp_path / "moving.nii.gz", np.roll(array, 1, axis=0), grid_affine(spacing=(1.5, 2.0, 2.5))
    )
    mask = write_image(tmp_path / "mask.nii.gz", array > -50, AFFINE, dtype=np.uint8)
    monkeypatch.setattr(registering, "run", lambda pair, *args, **options: pairs.append(pair))
    register(file, other, fixed_mask=mask, fixed_labels=mask, moving_labels=other_labels(tmp_path, other))
    labels = of(kind, other_labels(tmp_path, other))
    register(
        of(kind, file),
        of(kind, other),
        fixed_mask=of(kind, mask),
        fixed_labels=of(kind, mask),
        moving_labels=labels,
    )
    for part in ("fixed", "moving", "fixed_mask", "fixed_labels", "moving_labels"):
        theirs, ours = (getattr(pair, part) for pair in pairs)
        np.testing.assert_array_equal(ours.array, theirs.array)
        assert ours.array.dtype == theirs.array.dtype
        np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)


def other_labels(folder, other):
    volume = read_image(other)
    return write_image(folder / "labels.nii.gz", volume.array > 10, volume.affine, dtype=np.uint8)


def test_warping_takes_objects(tmp_path, file):
    displacement = np.stack([smooth(SHAPE, seed=k, amplitude=1.3) for k in range(3)])
    field = write_itk_field(tmp_path / "field.nii.gz", displacement, AFFINE)
    image = nib.load(file)
    expected = warp_image(field, file, reference=file).array
    np.testing.assert_allclose(warp_image(field, image, reference=image).array, expected, atol=1e-4)
    labels = nib.Nifti1Image((read_image(file).array > 0).astype(np.uint8), AFFINE)
    assert set(np.unique(warp_labels(field, labels, reference=image).array)) == {0, 1}
    point = np.array([[4.0, 5.0, 3.0]])
    there = warp_points(field, point, reference=file, moving=file)
    np.testing.assert_allclose(warp_points(field, point, reference=image, moving=image), there)


REFUSED = {
    "frames": (nib.Nifti1Image(np.zeros((3, 4, 5, 2)), np.eye(4)), "2 frames"),
    "complex": (nib.Nifti1Image(np.zeros((3, 4, 5), np.complex64), np.eye(4)), "complex"),
    "channels": (MetaTensor(torch.zeros(2, 3, 4, 5)), "channel"),
    "batch": (MetaTensor(torch.zeros(1, 1, 3, 4, 5), affine=torch.eye(4)), "channel"),
    "far away": (nib.Nifti1Image(np.zeros((3, 4, 5)), np.diag([1e30, 1, 1, 1])), "voxel size"),
    "another object": (object(), "object of type builtins.object"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_image_is_refused(file, kind):
    source, words = REFUSED[kind]
    with pytest.raises(DataError, match=f"the fixed image.*{words}"):
        register(source, file)
