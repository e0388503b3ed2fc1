"""`medreg warp` as a person types it: images, labels and points, with the direction said."""

from __future__ import annotations

import numpy as np
import pytest

from medreg.cli.main import main
from medreg.io.field_itk import write_itk_field
from medreg.io.image import read_image, read_labels, write_image, write_labels
from medreg.io.points import read_points, write_points

AFFINE = np.array([[0, -1.5, 0, 5], [1.2, 0, 0, -3], [0, 0, 2.0, 7], [0, 0, 0, 1.0]])


@pytest.fixture
def files(tmp_path):
    """A moving image, its labels, points, and a field that shifts by two voxels along the first axis."""
    array = np.random.default_rng(0).normal(size=(12, 10, 8)).astype(np.float32)
    displacement = np.zeros((3, 12, 10, 8))
    displacement[0] = 2.0
    return {
        "array": array,
        "image": str(write_image(tmp_path / "moving.nii.gz", array, AFFINE)),
        "labels": str(write_labels(tmp_path / "labels.nii.gz", (array > 0).astype(int), AFFINE)),
        "points": str(write_points(tmp_path / "points.csv", np.array([[3.0, 4.0, 5.0], [1.5, 2.5, 3.5]]))),
        "field": str(write_itk_field(tmp_path / "field.nii.gz", displacement, AFFINE)),
    }


def test_image_and_labels_are_pulled(tmp_path, files, capsys):
    out = tmp_path / "out.nii.gz"
    assert main(["warp", "--field", files["field"], "--image", files["image"], "-o", str(out)]) == 0
    assert "from moving into fixed space" in capsys.readouterr().out
    np.testing.assert_allclose(read_image(out).array[:-2], files["array"][2:], atol=1e-5)
    np.testing.assert_allclose(read_image(out).affine, AFFINE, atol=1e-6)
    assert main(["warp", "--field", files["field"], "--labels", files["labels"], "-o", str(out)]) == 0
    np.testing.assert_array_equal(read_labels(out).array[:-2], (files["array"] > 0)[2:])


def test_points_go_from_fixed_to_moving(tmp_path, files, capsys):
    out = tmp_path / "moved.csv"
    assert main(["warp", "--field", files["field"], "--points", files["points"], "-o", str(out)]) == 0
    assert "from fixed to moving space" in capsys.readouterr().out
    np.testing.assert_allclose(read_points(out), [[5.0, 4.0, 5.0], [3.5, 2.5, 3.5]], atol=1e-4)
    arguments = ["warp", "--field", files["field"], "--points", files["points"], "-o", str(out)]
    assert main([*arguments, "--space", "mm"]) == 1
    assert "choose from voxel, ras, lps" in capsys.readouterr().err


def test_image_of_another_place_is_refused(tmp_path, files, capsys):
    far = AFFINE.copy()
    far[:3, 3] += 500
    other = str(write_image(tmp_path / "far.nii.gz", files["array"], far))
    assert (
        main(["warp", "--field", files["field"], "--image", other, "-o", str(tmp_path / "out.nii.gz")]) == 1
    )
    assert "sends every voxel outside" in capsys.readouterr().err


def test_image_given_as_field_is_refused(tmp_path, files, capsys):
    assert (
        main(["warp", "--field", files["image"], "--image", files["image"], "-o", str(tmp_path / "o.nii.gz")])
        == 1
    )
    assert "looks like an image" in capsys.readouterr().err


def test_the_name_of_the_result_is_looked_at_before_the_work(tmp_path, files, capsys):
    out = tmp_path / "result.txt"
    assert main(["warp", "--field", "absent.nii.gz", "--image", files["image"], "-o", str(out)]) == 1
    assert "result.txt: the name of this result ends in .nii or .nii.gz" in capsys.readouterr().err
