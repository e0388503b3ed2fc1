"""Label maps lie on the voxels of the file, whatever the network saw: resampled, turned, cropped or padded."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from segmentation_run import GREY, LABELS, dice, heart, oblique, perfect_run

from medreg.api import segment
from medreg.errors import CheckpointError, CompositionError, ConfigError, DataError
from medreg.io.image import Volume
from medreg.segmenting.run import SegmentationRun

INPLANE = {"spacing_mm": [1.1, 1.1, None], "size": [96, 96]}
CASES = {
    "slices as stored": (2, {}),
    "slices resampled": (2, INPLANE),
    "slices resized": (2, {**INPLANE, "resize": [128, 128]}),
    "volume as stored": (3, {}),
    "volume turned and resampled": (3, {"orientation": "ras", "spacing_mm": [1.5, 1.5, 3.0]}),
    "volume padded": (3, {"orientation": "ras", "size": [80, 80, 16]}),
}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Image and true labels of a heart in oblique LAS axes, as files."""
    folder = tmp_path_factory.mktemp("scan")
    label, image = heart()
    files = {}
    for name, array in (("image", image), ("labels", label)):
        one = nib.Nifti1Image(array, oblique())
        one.set_sform(oblique(), code=2)
        one.set_qform(oblique(), code=1)
        files[name] = folder / f"{name}.nii.gz"
        one.to_filename(files[name])
    return files


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return perfect_run(tmp_path_factory.mktemp("runs") / "slices", **INPLANE)


@pytest.mark.parametrize("name", CASES)
def test_round_trip_gives_the_structures_back(tmp_path, scan, name):
    ndim, preparation = CASES[name]
    run = perfect_run(tmp_path / "run", ndim=ndim, **preparation)
    target = tmp_path / "seg.nii.gz"
    found = segment(scan["image"], run, labels=scan["labels"], output=target)
    truth, written = nib.load(scan["labels"]), nib.load(target)
    array = np.asarray(written.dataobj)
    assert array.dtype == np.uint8
    assert array.shape == truth.shape
    for name, code in LABELS.items():
        assert dice(array, truth.get_fdata(), code) > 0.97
        assert found.volume_ml(name) == pytest.approx((array == code).sum() * 1.3 * 1.7 * 6 / 1000)
    rows = {(row.structure, row.metric): row.value for row in found.rows}
    assert rows["mean", "dice"] > 0.97
    assert {"hd95_mm", "assd_mm", "volume_ml", "volume_error_ml"} <= {metric for _, metric in rows}


def test_as_stored_nothing_is_interpolated(tmp_path, scan):
    run = perfect_run(tmp_path / "run", size=[96, 96])
    found = segment(scan["image"], run)
    assert np.array_equal(found.array, nib.load(scan["labels"]).get_fdata())
    assert found.outside == 0


def test_header_is_that_of_the_image(tmp_path, scan, slices):
    segment(scan["image"], slices, output=tmp_path / "seg.nii.gz")
    image, found = nib.load(scan["image"]).header, nib.load(tmp_path / "seg.nii.gz").header
    for form in ("sform", "qform"):
        (affine, code), (own, own_code) = (getattr(h, f"get_{form}")(coded=True) for h in (image, found))
        assert own_code == code
        assert np.allclose(own, affine)
    assert found.get_zooms() == pytest.approx(image.get_zooms())
    assert found.get_xyzt_units() == image.get_xyzt_units()


def test_flipping_the_file_flips_the_answer(tmp_path, scan, slices):
    image = nib.load(scan["image"])
    flipped = image.slicer[::-1, :, ::-1]
    first, second = segment(image, slices), segment(flipped, slices)
    assert all(dice(first.array, second.array[::-1, :, ::-1], code) > 0.97 for code in LABELS.values())


def test_slices_along_the_first_axis_are_found(scan, slices):
    image = nib.load(scan["image"])
    turned = Volume(
        np.ascontiguousarray(np.moveaxis(image.get_fdata(), 2, 0)),
        image.affine[:, [2, 0, 1, 3]],
        (6.0, 1.3, 1.7),
    )
    found = segment(turned, slices)
    assert np.array_equal(np.moveaxis(found.array, 0, 2), segment(image, slices).array)
    assert any("axis 1" in note for note in found.notes)


def test_voxels_beyond_the_crop_are_background_and_told(tmp_path, scan):
    run = perfect_run(tmp_path / "run", size=[20, 24])
    found = segment(scan["image"], run, probabilities=True)
    assert found.outside == 60 * 48 * 9 - 20 * 24 * 9
    assert any(f"{found.outside} voxels" in note for note in found.notes)
    inside = np.zeros(found.array.shape, bool)
    inside[20:40, 12:36] = True
    assert (found.array[~inside] == 0).all()
    assert np.array_equal(found.array[inside], nib.load(scan["labels"]).get_fdata()[inside])
    assert np.allclose(found.probabilities.sum(0), 1, atol=1e-5)
    assert np.allclose(found.probabilities[0][~inside], 1)


def test_probabilities_are_interpolated_and_not_codes(tmp_path, scan):
    """Between 0 and a code of 2 no 1 appears, as it would if codes were interpolated."""
    run = perfect_run(tmp_path / "run", spacing_mm=[3.1, 3.3, None])
    image = np.full((40, 40, 1), GREY[0], np.float32)
    image[8:20, 5:35] = GREY[2]
    found = segment(image, run, probabilities=True)
    assert set(np.unique(found.array)) == {0, 2}
    assert ((found.probabilities > 0.05) & (found.probabilities < 0.95)).any()
    assert np.array_equal(np.array([0, 3, 2, 1])[found.probabilities.argmax(0)], found.array)


def test_images_in_memory(scan, slices):
    image = nib.load(scan["image"])
    opened = SegmentationRun.open(slices)
    expected = segment(scan["image"], opened).array
    assert np.array_equal(segment(image, opened).array, expected)
    assert segment(image.get_fdata()[..., 4], opened).array.shape == (60, 48)
    itk = pytest.importorskip("SimpleITK")
    assert np.array_equal(segment(itk.ReadImage(str(scan["image"])), opened).array, expected)


def test_an_image_unlike_those_of_the_training_is_told(tmp_path, scan):
    run = perfect_run(tmp_path / "run")
    assert segment(scan["image"], run).notes == ()
    inventory = "id,spacing_mm,axes\na,1.3x1.7x6,{axes}\nb,1.3x1.7x{thick},{axes}\nc,,\n"
    for axes, thick, told in (("LAS", 7, 0), ("LAI", 7, 0), ("LPS", 7, 1), ("LPS", 2, 1), ("LPS", 40, 1)):
        (run / "inventory.csv").write_text(inventory.format(axes=axes, thick=thick))
        notes = segment(scan["image"], run).notes
        assert len(notes) == told
        assert not told or "LA, those of the training's images to LP" in notes[0]
    (run / "inventory.csv").write_text("id,spacing_mm,axes\na,1.3x1.7x2,LAS\n")
    (note,) = segment(scan["image"], run).notes
    assert "6 mm along axis 3" in note


def test_equal_to_the_prediction_of_the_evaluation(tmp_path, scan):
    """Padding, softmax and codes are those of the task."""
    run = SegmentationRun.open(perfect_run(tmp_path / "run"))
    image = torch.from_numpy(nib.load(scan["image"]).get_fdata().astype(np.float32)).permute(2, 0, 1)[:, None]
    expected = run.task.predict(image)[:, 0].permute(1, 2, 0)
    assert np.array_equal(run.segment(scan["image"]).array, expected.numpy())


def test_the_last_weights_on_demand(tmp_path, scan):
    run = perfect_run(tmp_path / "run")
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    content["state_dict"]["model.bias"] = torch.tensor([1e6, 0, 0, 0])
    torch.save(content, run / "checkpoints" / "last.ckpt")
    assert segment(scan["image"], run).array.any()
    assert not segment(scan["image"], run, ckpt="last").array.any()


def refusals(tmp_path, scan, slices):
    """What is refused, by name: arguments of `segment` and the words of the sentence."""
    image, label = nib.load(scan["image"]), nib.load(scan["labels"])
    holes = image.get_fdata().copy()
    holes[0, 0, 0] = np.nan
    other = np.asarray(label.dataobj).copy()
    other[0, 0, 0] = 7
    moved = label.affine.copy()
    moved[0, 3] += 9
    (tmp_path / "there.nii.gz").touch()
    registering = perfect_run(tmp_path / "registers", task={"_target_": "medreg.tasks.base.Task"})
    volumes = perfect_run(tmp_path / "volumes", ndim=3)
    return {
        "missing": (DataError, "does not exist", {"image": tmp_path / "none.nii.gz"}),
        "nan": (DataError, "1 NaN", {"image": holes}),
        "constant": (DataError, "nothing to segment", {"image": np.ones((9, 9, 3))}),
        "four axes": (DataError, "frame by frame", {"image": np.ones((9, 9, 3, 2))}),
        "no run": (CheckpointError, "No checkpoint at", {"run": tmp_path / "nowhere"}),
        "registers": (CheckpointError, "not the run of a segmentation", {"run": registering}),
        "slice for volumes": (
            CompositionError, "single slice", {"image": image.get_fdata()[:, :, 4], "run": volumes},
        ),
        "there": (ConfigError, "is there already", {"output": tmp_path / "there.nii.gz"}),
        "not nifti": (ConfigError, r"ends in \.nii or", {"output": tmp_path / "seg.png"}),
        "input": (ConfigError, "is an input", {"output": scan["image"], "overwrite": True}),
        "other grid": (DataError, "must lie on the grid", {"labels": other[1:]}),
        "other place": (
            DataError, "another place", {"labels": nib.Nifti1Image(np.asarray(label.dataobj), moved)},
        ),
        "unknown code": (DataError, r"label 7.*LV 3, MYO 2, RV 1", {"labels": other}),
        "device": (ConfigError, "--device", {"device": "abacus"}),
        "frame in memory": (DataError, "for files", {"image": image.get_fdata(), "frame": 1}),
        "no number of a frame": (ConfigError, "frame is 'all'; give a whole number", {"frame": "all"}),
        "frame": (DataError, "--frame 1 does not exist", {"frame": 1}),
    }  # fmt: skip


def test_what_cannot_be_done_is_a_sentence(tmp_path, scan, slices):
    for error, words, options in refusals(tmp_path, scan, slices).values():
        arguments = {"image": scan["image"], "run": slices, **options}
        with pytest.raises(error, match=words):
            segment(**arguments)


def test_codes_beyond_a_byte(tmp_path):
    from medreg.io.like_image import write_labels_like

    image = Volume(np.zeros((4, 5)), np.eye(4), (1.0, 1.0))
    for largest, dtype in ((255, np.uint8), (300, np.uint16), (70_000, np.int32)):
        file = write_labels_like(tmp_path / f"{largest}.nii.gz", np.full((4, 5), largest), image)
        assert nib.load(file).get_data_dtype() == dtype
        assert np.asarray(nib.load(file).dataobj).max() == largest
