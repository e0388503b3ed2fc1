"""The files of a posterior mean what they say: to SimpleITK, on oblique, anisotropic, flat and skewed grids."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest

from medreg.errors import FieldFormatError
from medreg.io.field import read_displacement, voxel_to_lps_mm
from medreg.io.field_itk import write_spread
from medreg.io.posterior import PosteriorArrays, variance_lps_mm, write_posterior

sitk = pytest.importorskip("SimpleITK")


def oblique(spacing=(1.2, 0.8, 3.0), degrees=20.0):
    """RAS affine of an anisotropic grid, turned about z and flipped along y."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([spacing[0], -spacing[1], spacing[2]])
    affine[:3, 3] = [5.0, -7.0, 11.0]
    return affine


def drawn(shape, count=40, seed=0):
    """Displacements (count, D, *shape) with unlike and correlated components, their mean and covariance."""
    rng = np.random.default_rng(seed)
    ndim = len(shape)
    mixing = rng.normal(size=(ndim, ndim))
    samples = np.einsum("ij,njx->nix", mixing, rng.normal(size=(count, ndim, int(np.prod(shape)))))
    samples = samples.reshape(count, ndim, *shape) + rng.normal(size=(ndim, *shape))
    mean = samples.mean(0)
    centred = samples - mean
    return samples, mean, np.einsum("ni...,nj...->ij...", centred, centred) / (count - 1)


def arrays(affine, shape, **more):
    samples, mean, covariance = drawn(shape)
    return samples, PosteriorArrays(affine, mean, covariance, **more)


def test_the_sd_file_is_the_spread_of_the_sample_files(tmp_path):
    affine, shape = oblique(), (5, 6, 4)
    samples, mean, covariance = drawn(shape, count=12)
    write_posterior(tmp_path, PosteriorArrays(affine, mean, covariance, samples=list(samples)))
    files = sorted(tmp_path.glob("sample_*.nii.gz"))
    assert [file.name for file in files[:2]] == ["sample_000.nii.gz", "sample_001.nii.gz"]
    fields = np.stack([sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in files])
    spread = sitk.ReadImage(str(tmp_path / "displacement_sd.nii.gz"))
    assert spread.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_allclose(sitk.GetArrayFromImage(spread), fields.std(0, ddof=1), rtol=1e-4)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mean_displacement.nii.gz")))
    np.testing.assert_allclose(found, fields.mean(0), atol=1e-4)
    norm = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "displacement_sd_norm.nii.gz")))
    np.testing.assert_allclose(norm, np.sqrt(fields.var(0, ddof=1).sum(-1)), rtol=1e-4)


def test_the_files_lie_where_the_fixed_image_does(tmp_path):
    affine = oblique()
    _, given = arrays(affine, (5, 6, 4), probabilities={"LV cavity": np.full((5, 6, 4), 0.25)})
    for file in write_posterior(tmp_path, given):
        image = nib.load(file)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        assert image.header.get_xyzt_units()[0] == "mm"
    assert (tmp_path / "probability_LV_cavity.nii.gz").is_file()


def test_axis_aligned_spread_is_spacing_times_voxels():
    affine = np.diag([-1.5, -2.0, 4.0, 1.0])
    covariance = np.zeros((3, 3, 2, 2, 2))
    for axis, sd in enumerate((0.5, 1.0, 2.0)):
        covariance[axis, axis] = sd**2
    expected = np.array([0.5 * 1.5, 1.0 * 2.0, 2.0 * 4.0]) ** 2
    np.testing.assert_allclose(variance_lps_mm(covariance, affine)[:, 0, 0, 0], expected)


def test_correlation_counts_on_an_oblique_grid():
    """Fully correlated steps of 1 mm along both axes, turned by 45°, spread along one world axis only."""
    covariance = np.ones((2, 2, 1, 1))
    variance = variance_lps_mm(covariance, np.diag([1.0, 1.0, 1.0, 1.0]) @ _turned(45))
    np.testing.assert_allclose(variance[:, 0, 0], [0.0, 2.0, 0.0], atol=1e-12)


def _turned(degrees):
    angle = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return affine


def test_a_flat_file_is_a_flat_image_of_two_components(tmp_path):
    affine = np.diag([-1.4, -1.1, 1.0, 1.0])
    samples, given = arrays(affine, (7, 5))
    write_posterior(tmp_path, given)
    spread = sitk.ReadImage(str(tmp_path / "displacement_sd.nii.gz"))
    assert (spread.GetDimension(), spread.GetNumberOfComponentsPerPixel()) == (2, 2)
    expected = samples.std(0, ddof=1) * np.array([1.4, 1.1]).reshape(2, 1, 1)
    np.testing.assert_allclose(sitk.GetArrayFromImage(spread).transpose(2, 1, 0), expected, rtol=1e-4)
    assert nib.load(tmp_path / "displacement_sd_norm.nii.gz").shape == (7, 5)


def test_one_slice_and_a_skewed_grid(tmp_path):
    one, skewed = oblique(), oblique()
    skewed[0, 2] = 0.9
    for folder, affine, shape in (("one", one, (6, 5, 1)), ("skewed", skewed, (6, 5, 3))):
        samples, given = arrays(affine, shape)
        write_posterior(tmp_path / folder, given)
        expected = np.stack([voxel_to_lps_mm(sample, affine) for sample in samples]).std(0, ddof=1)
        stored = np.asarray(nib.load(tmp_path / folder / "displacement_sd.nii.gz").dataobj)
        stored = stored[:, :, :1, 0] if folder == "one" else stored
        np.testing.assert_allclose(np.moveaxis(stored, -1, 0), expected, rtol=1e-4)


def test_a_spread_is_not_taken_for_a_field(tmp_path):
    write_posterior(tmp_path, arrays(oblique(), (5, 6, 4))[1])
    with pytest.raises(FieldFormatError, match="no displacement"):
        read_displacement(tmp_path / "displacement_sd.nii.gz")
    with pytest.raises(FieldFormatError, match="none below 0"):
        write_spread(tmp_path / "x.nii.gz", -np.ones((3, 2, 2, 2)), np.eye(4))


def test_volumes_and_what_an_earlier_call_left(tmp_path):
    rows = [{"sample": 0, "chain": 1, "structure": "LV", "volume_ml": 1.25, "more": "unused"}]
    samples, given = arrays(oblique(), (5, 6, 4), volumes=rows)
    write_posterior(
        tmp_path, PosteriorArrays(given.affine, given.mean, given.covariance, samples=list(samples))
    )
    write_posterior(tmp_path, given)
    assert not list(tmp_path.glob("sample_*"))
    with (tmp_path / "volumes.csv").open() as stream:
        assert list(csv.DictReader(stream)) == [
            {"sample": "0", "chain": "1", "structure": "LV", "volume_ml": "1.25"}
        ]
