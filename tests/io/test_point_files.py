"""Landmark files: columns, headers, blanks, and conversion between voxels and the world."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from medreg.errors import DataError
from medreg.io.image import read_image
from medreg.io.points import read_point_pairs, read_points, voxel_to_world, world_to_voxel, write_points


def test_learn2reg_points_have_three_columns_and_no_header(tmp_path):
    points = np.random.default_rng(0).uniform(0, 100, size=(7, 3))
    path = write_points(tmp_path / "points.csv", points)
    assert len(path.read_text().splitlines()) == 7
    np.testing.assert_allclose(read_points(path), points, atol=1e-5)


def test_header_blanks_and_empty_lines_are_accepted(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("\ufeffx, y, z\n 1, 2, 3 \n\n4 ,5,6\n", encoding="utf-8")
    np.testing.assert_array_equal(read_points(path), [[1, 2, 3], [4, 5, 6]])


def test_pairs_have_six_columns(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("bx,by,bz,fx,fy,fz\n94,92,114,96,96,117\n")
    pairs = read_point_pairs(path)
    np.testing.assert_array_equal(pairs.first, [[94, 92, 114]])
    np.testing.assert_array_equal(pairs.second, [[96, 96, 117]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [("1,2,3\n4,5\n", "point 2"), ("1,2,3\n4,x,6\n", "4,x,6"), ("", "no points"), ("1,2,nan\n", "NaN")],
)
def test_bad_tables_are_refused_with_the_row(tmp_path, text, reason):
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=reason):
        read_points(path)


def test_voxels_and_world_agree_with_nibabel():
    affine = np.array([[0.0, -2, 0.1, 5], [1.5, 0.2, 0, -7], [0, 0.1, 3, 11], [0, 0, 0, 1]])
    points = np.random.default_rng(0).normal(size=(5, 3))
    world = voxel_to_world(points, affine)
    np.testing.assert_allclose(world, nib.affines.apply_affine(affine, points))
    np.testing.assert_allclose(world_to_voxel(world, affine), points)


def test_real_lung_landmarks_are_far_apart_in_the_world(shared_data):
    pairs = read_point_pairs(shared_data / "lung_ct" / "landmarks_voxel.csv")
    baseline = read_image(shared_data / "lung_ct" / "baseline.nii.gz")
    followup = read_image(shared_data / "lung_ct" / "followup.nii.gz")
    gap = voxel_to_world(pairs.first, baseline.affine) - voxel_to_world(pairs.second, followup.affine)
    assert np.linalg.norm(gap, axis=1).mean() > 20  # mm: the two scanner tables differ
