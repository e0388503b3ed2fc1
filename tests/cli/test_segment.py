"""`medreg segment` as a person types it."""

from __future__ import annotations

import csv

import nibabel as nib
import numpy as np
import pytest
from segmentation_run import LABELS, heart, oblique, perfect_run

from medreg.cli.main import main
from medreg.io.image import write_image, write_labels


@pytest.fixture
def files(tmp_path):
    label, image = heart((40, 36, 4))
    found = {"run": perfect_run(tmp_path / "run")}
    for name in ("a", "b"):
        found[name] = write_image(tmp_path / f"{name}.nii.gz", image, oblique())
        found[f"{name}_gt"] = write_labels(tmp_path / f"{name}_gt.nii.gz", label, oblique())
    cine = np.stack([image, np.zeros_like(image) + image * 0.5, image], axis=-1)
    found["cine"] = write_image(tmp_path / "cine.nii.gz", cine, oblique())
    return {name: str(path) for name, path in found.items()}


def segmented(files, *words):
    return main(["segment", files["run"], *words])


def test_one_image_with_truth_and_probabilities(tmp_path, files, capsys):
    out = tmp_path / "out" / "seg.nii.gz"
    words = [files["a"], "-o", str(out), "--labels", files["a_gt"], "--probabilities"]
    assert segmented(files, *words) == 0
    assert {file.name for file in out.parent.iterdir()} == {
        "seg.nii.gz", "seg.csv", *(f"seg_probability_{name}.nii.gz" for name in ("background", *LABELS)),
    }  # fmt: skip
    with (out.parent / "seg.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    scores = {row["structure"]: float(row["value"]) for row in rows if row["metric"] == "dice"}
    assert scores == {"LV": 1.0, "MYO": 1.0, "RV": 1.0, "mean": 1.0}
    maps = [nib.load(out.parent / f"seg_probability_{name}.nii.gz") for name in ("background", *LABELS)]
    assert np.allclose(sum(one.get_fdata() for one in maps), 1, atol=1e-5)
    printed = capsys.readouterr().out
    assert "MYO" in printed
    assert "1.000" in printed
    assert segmented(files, *words) == 1
    assert "is there already" in capsys.readouterr().err
    assert segmented(files, *words, "--overwrite", "--quiet") == 0
    assert capsys.readouterr().out == ""


def test_several_go_on_after_one_that_is_damaged(tmp_path, files, capsys):
    out, damaged = tmp_path / "out", tmp_path / "c.nii.gz"
    whole = (tmp_path / "a.nii.gz").read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    truth = [files["a_gt"], files["a_gt"], files["b_gt"]]
    assert segmented(files, files["a"], str(damaged), files["b"], "-o", str(out), "--labels", *truth) == 1
    assert {file.name for file in out.iterdir()} == {"a_seg.nii.gz", "b_seg.nii.gz", "metrics.csv"}
    assert "c.nii.gz" in capsys.readouterr().err
    with (out / "metrics.csv").open() as stream:
        assert {row["image"] for row in csv.DictReader(stream)} == {files["a"], files["b"]}


def test_frames_of_a_cine(tmp_path, files, capsys):
    target = tmp_path / "seg.nii.gz"
    assert segmented(files, files["cine"], "-o", str(target)) == 1
    assert "--frame" in capsys.readouterr().err
    assert segmented(files, files["cine"], "-o", str(target), "--frame", "all") == 0
    every = np.asarray(nib.load(target).dataobj)
    assert every.shape == (40, 36, 4, 3)
    assert np.array_equal(every[..., 0], heart((40, 36, 4))[0])
    assert not np.array_equal(every[..., 1], every[..., 0])
    assert segmented(files, files["cine"], "-o", str(tmp_path / "one.nii.gz"), "--frame", "1") == 0
    assert np.array_equal(np.asarray(nib.load(tmp_path / "one.nii.gz").dataobj), every[..., 1])
    assert segmented(files, f"{files['cine']}#1", "-o", str(tmp_path / "named")) == 0
    assert (tmp_path / "named" / "cine_1_seg.nii.gz").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{a}", "{b}", "-o", "{tmp}/seg.nii.gz"], "name a folder"),
        (["{a}", "-o", "{tmp}/seg.mha"], "written as NIfTI"),
        (["{a}", "{a}", "-o", "{tmp}/out"], "would both be written"),
        (["{a}", "-o", "{tmp}/out", "--labels", "{a_gt}", "{b_gt}"], "2 files for 1 images"),
        (["{a}", "-o", "{tmp}/out", "--labels", "{tmp}/none.nii.gz"], "does not exist"),
        (["{a}", "-o", "{a}"], "is an input"),
        (["{a}", "-o", "{tmp}/out", "--frame", "first"], "--frame first"),
        (["{tmp}/none.nii.gz", "-o", "{tmp}/out"], "does not exist"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(tmp_path, files, capsys, words, told):
    assert segmented(files, *(word.format(tmp=tmp_path, **files) for word in words)) == 1
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
