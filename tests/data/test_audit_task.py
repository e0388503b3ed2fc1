"""`medreg doctor` on the folder of a Learn2Reg task: every kind of defect is planted once and found."""

from __future__ import annotations

import argparse
import json

import data_fixtures as fixtures
import learn2reg_descriptors as made
import nibabel as nib
import numpy as np
import pytest

from medreg.cli import doctor
from medreg.data.audit_task import audit_task
from medreg.errors import ConfigError, DataError, DatasetNotFound

SHAPE = [16, 24, 20]


@pytest.fixture
def unpaired(tmp_path):
    return fixtures.learn2reg_unpaired(tmp_path)


@pytest.fixture
def paired(tmp_path):
    return fixtures.learn2reg_paired(tmp_path)


def messages(found, severity):
    return [issue.message for issue in found.issues if issue.severity == severity]


def described(found):
    return " | ".join(f"{issue.severity}: {issue.message} ({issue.count})" for issue in found.issues)


def edit(root, **changes):
    file = next(root.glob("*_dataset.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_sound_task_has_facts_and_no_errors(unpaired):
    found = audit_task(unpaired, deep=True)
    assert not found.failed
    assert messages(found, "warning") == []
    assert found.facts["task"] == "Toy 1.0"
    assert found.facts["sizes (voxels)"] == "16 x 24 x 20"
    assert found.facts["to train on"] == "4 MR"
    assert found.facts["labels"] == "outer 3, middle 7, inner 21, core 35"
    assert messages(found, "info") == ["2 validation cases stand in the training list too"]


def test_irregularities_of_releases_are_no_errors(paired):
    found = audit_task(paired)
    text = described(found)
    assert not found.failed, text
    assert "info: an image is listed under another name than on disk (Duo_0004_0000.nii.gz) (1)" in text
    assert "info: keypoints are listed under another name or suffix than on disk" in text
    assert "info: fixed and moving image differ in voxel size (1.5 x 1.25 x 2 and 1.5 x 1 x 2 mm) (4)" in text
    assert found.facts["to train on"] == "3 pairs"


@pytest.mark.parametrize(
    ("content", "folders", "left"),
    [
        (made.cut(made.thorax_cbct(), (0, 1, 11)), ("keypoints01Tr", "keypoints02Tr"), "4 pairs"),
        (made.cut(made.curious(), (1, 2, 3)), ("landmarksTr",), "2 pairs"),
        (made.cut(made.abdomen_mrct(), (1, 8, 1001, 1002, 1051)), (), "1 pairs + 2 CT + 1 MR T1w"),
    ],
    ids=["ThoraxCBCT", "CuRIOUS", "AbdomenMRCT"],
)
def test_what_is_left_for_training(tmp_path, content, folders, left):
    shapes = {key: [12, 10, 14] for key in content["tensorImageShape"]}
    root = made.tiny(tmp_path / "task", {**content, "tensorImageShape": shapes}, points=folders)
    found = audit_task(root)
    assert found.facts["to train on"] == left
    assert not [m for m in messages(found, "error") if "missing" not in m], described(found)


def test_missing_files_are_told_apart(unpaired):
    (unpaired / "imagesTr/Toy_0002_0000.nii.gz").unlink()
    (unpaired / "labelsTr/Toy_0003_0000.nii.gz").unlink()
    (unpaired / "labelsTr/Toy_0005_0000.nii.gz").unlink()
    text = described(audit_task(unpaired))
    assert "error: a listed image is missing (1)" in text
    assert "error: listed labels are missing for images that are evaluated (1)" in text
    assert "warning: listed labels are missing (1)" in text


def test_sizes_voxels_and_orientation(unpaired):
    file = unpaired / "imagesTr/Toy_0001_0000.nii.gz"
    fixtures.write(file, np.zeros((16, 24, 22), np.float32), np.eye(4))
    moving = unpaired / "imagesTr/Toy_0006_0000.nii.gz"
    fixtures.write(moving, nib.load(moving).get_fdata(), np.diag([-1.0, 1.5, 1.0, 1.0]))
    text = described(audit_task(unpaired))
    assert "error: size 16 x 24 x 22 where the descriptor states 16 x 24 x 20 (1)" in text
    assert "error: a label has another size than its image (1)" in text
    assert "fixed and moving image differ in voxel size (1 x 1 x 1 and 1 x 1.5 x 1 mm)" in text
    assert "fixed and moving image are turned differently (RAS and LAS), but are compared by index" in text
    assert "warning: voxel size 1 x 1.5 x 1 mm among images of 1 x 1 x 1 mm (1)" in text
    assert "warning: turned LAS among images that are RAS (1)" in text


def test_points_are_counted_and_placed(paired):
    folder = paired / "keypointsTr"
    (folder / "Duo_0001_0000.csv").write_text("8,12,10\n")
    (folder / "Duo_0002_0000.csv").write_text("8,12,10\n4,6,99\n")
    (folder / "Duo_0003_0000.csv").write_text("8,12\nx\n")
    text = described(audit_task(paired))
    assert "error: 2 keypoints in the fixed image, 1 in the moving one (1)" in text
    assert "warning: 1 of 2 points lie outside the image (1)" in text
    assert "Duo_0003_0000.csv" in text


def test_voxels_are_read_on_demand(paired, unpaired):
    mask = paired / "masksTr/Duo_0001_0000.nii.gz"
    fixtures.write(mask, np.full(SHAPE, 3, np.uint8), nib.load(mask).affine)
    fixtures.write(paired / "masksTr/Duo_0002_0000.nii.gz", np.zeros(SHAPE, np.uint8), nib.load(mask).affine)
    label = unpaired / "labelsTr/Toy_0001_0000.nii.gz"
    fixtures.write(label, np.full(SHAPE, 9, np.uint8), np.eye(4))
    assert "mask holds" not in described(audit_task(paired))
    text = described(audit_task(paired, deep=True))
    assert "warning: a mask holds [3] instead of 0 and 1 (1)" in text
    assert "warning: a mask is empty (1)" in text
    text = described(audit_task(unpaired, deep=True))
    assert "error: label codes [9] that neither descriptor nor evaluation config names (1)" in text


def test_evaluation_config_is_compared(unpaired, tmp_path):
    path = "./imagesTr/Toy_{:04d}_0000.nii.gz".format
    method = {"name": "DSC", "metric": "dice", "labels": ["3", "99"]}
    config = {"eval_pairs": [{"fixed": path(1), "moving": path(2)}], "evaluation_methods": [method]}
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    found = audit_task(unpaired, config=file, deep=True)
    text = described(found)
    assert "has 1 pairs that the descriptor does not list for validation, and lacks 1 of it" in text
    assert "labels [99] of the evaluation config are in no label map" in text
    assert found.facts["to train on"] == "4 MR"  # without 1 and 2 now, with 5 and 6


def test_unlisted_files_are_named(unpaired):
    (unpaired / "imagesTr/Toy_0077_0000.nii.gz").write_bytes(b"")
    (unpaired / "imagesTr/.DS_Store").write_bytes(b"")
    found = [issue for issue in audit_task(unpaired).issues if "no entry uses" in issue.message]
    assert [(issue.count, issue.example) for issue in found] == [(1, "imagesTr/Toy_0077_0000.nii.gz")]


def test_odd_names_and_entries(unpaired):
    edit(unpaired, registration_val=[{"fixed": "./imagesTr/Toy_0001_0000.nii.gz"}], numTraining=99)
    (unpaired / "imagesTr/Toy_1_0.nii.gz").write_bytes(b"")
    edit(unpaired, training=["./imagesTr/Toy_1_0.nii.gz", "./imagesTr/Toy_0002_0000.nii.gz"])
    text = described(audit_task(unpaired))
    assert "error: An entry of registration_val names no fixed and moving image" in text
    assert "error: a file name has another form (1)" in text
    assert "info: numTraining is 99, 2 are listed (1)" in text


def test_a_broken_image_does_not_hide_the_rest(unpaired):
    (unpaired / "imagesTr/Toy_0001_0000.nii.gz").write_bytes(b"not an image")
    (unpaired / "imagesTr/Toy_0002_0000.nii.gz").unlink()
    text = described(audit_task(unpaired))
    assert "Toy_0001_0000.nii.gz" in text
    assert "a listed image is missing" in text


def test_no_descriptor_or_a_broken_one(tmp_path):
    with pytest.raises(DatasetNotFound, match=r"one file <Task>_dataset\.json; found none"):
        audit_task(tmp_path)
    (tmp_path / "X_dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"X_dataset\.json is not valid JSON"):
        audit_task(tmp_path)


def run(*words):
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor", *map(str, words)])
    return args.run(args)


def test_command_prints_a_table_or_json_and_an_exit_code(unpaired, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert run(unpaired) == 0
    assert "to train on" in capsys.readouterr().out
    assert run(unpaired, "--json", "--deep") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["usable"]
    assert content["facts"]["voxels"] == "read"
    (unpaired / "imagesTr/Toy_0002_0000.nii.gz").unlink()
    assert run(unpaired, "--json") == 1
    issues = json.loads(capsys.readouterr().out)["issues"]
    assert issues[0]["severity"] == "error"
    assert issues[0]["example"] == "imagesTr/Toy_0002_0000.nii.gz"


def test_command_refuses_what_is_neither(unpaired, tmp_path, capsys):
    with pytest.raises(ConfigError, match="is no folder of a Learn2Reg task"):
        run(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="--config and --deep are for the folder"):
        run("data=acdc", "--deep")
    assert run(tmp_path, "--json") == 1
    assert "found none" in json.loads(capsys.readouterr().out)["error"]
