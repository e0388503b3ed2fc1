"""Real images through the same loaders as everything else."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from data_build import data_module
from PIL import Image

from medreg.data.audit import audit
from medreg.errors import DataError
from medreg.io.image import read_image, read_labels, write_image, write_labels
from medreg.io.points import read_point_pairs, write_points

pytestmark = pytest.mark.data
NO_CACHE = "cache.kind=none"


@pytest.fixture(scope="module")
def arranged(shared_data, tmp_path_factory):
    file = Path(__file__).resolve().parents[2] / "scripts" / "arrange_samples.py"
    spec = importlib.util.spec_from_file_location("arrange_samples", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = tmp_path_factory.mktemp("arranged")
    return module.arrange_acdc(shared_data, target), module.arrange_hippocampus(shared_data, target)


def dice(first, second, code):
    a, b = first == code, second == code
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def only_case(data):
    cases = list(data.test_dataloader())
    assert len(cases) == 1
    return cases[0]


def csv(tmp_path, **cells):
    """One-row CSV of pairs with absolute paths."""
    (tmp_path / "pairs.csv").write_text(
        ",".join([*cells, "split"]) + "\n" + ",".join([*map(str, cells.values()), "test"]) + "\n"
    )
    return tmp_path / "pairs.csv"


def test_ninety_acdc_patients_as_single_images(shared_data):
    root = shared_data / "acdc_official"
    if not root.is_dir():
        pytest.skip("needs the official layout of ACDC")
    options = ("split.test=0.2", "preprocess.spacing_mm=null", "preprocess.size=[128,128]", NO_CACHE)
    data = data_module("acdc_segmentation", root, *options)
    assert {stage: len(data.items(stage)) for stage in ("train", "val", "test")} == {
        "train": 126, "val": 18, "test": 36,
    }  # fmt: skip
    assert data.categories["group"] == ("DCM", "HCM", "MINF", "NOR", "RV")
    assert data.split == data_module("acdc", root, *options).split
    case = next(iter(data.test_dataloader()))
    assert case["image"].shape == case["label"].shape == (len(case["case"]), 1, 128, 128)
    assert set(case["label"].unique().tolist()) <= {0, *data.labels.values()}
    assert 140 < float(case["covariates"]["height_cm"][0]) < 200


def test_the_published_few_shot_sets_of_ninety_patients(shared_data, caplog):
    root = shared_data / "acdc_official"
    if not root.is_dir():
        pytest.skip("needs the official layout of ACDC")
    options = ("preprocess.spacing_mm=[1.36719,1.36719,null]", "preprocess.size=[192,192]", NO_CACHE)
    intensity = [
        f"preprocess.intensity.{word}"
        for word in ("percentiles=[2,98]", "scope=image", "stretch_slices=true")
    ]
    few = ("labelled=10", "split.published=advchain", "split.fold=1", "unlabelled_batch_size=2")
    data = data_module("acdc_segmentation", root, *options, *intensity, *few)
    split = data.split
    assert [len(split.subjects(name)) for name in ("train", "val", "test", "unlabelled")] == [10, 3, 18, 25]
    assert split.missing == ("patient010", "patient028")
    assert "patient002, patient022 of the training set are left out of them" in caplog.text
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == batch["label"].shape == (10, 1, 192, 192)
    assert batch["image"].flatten(1).amin(1).tolist() == [0.0] * 10
    assert batch["image"].flatten(1).amax(1).tolist() == [1.0] * 10
    torch.testing.assert_close(batch["spacing_mm"], torch.full((10, 2), 1.36719))
    assert batch["unlabelled"]["image"].shape == (2, 1, 192, 192)
    assert {name[:10] for name in batch["unlabelled"]["case"]} <= set(split.unlabelled)


def test_five_acdc_patients(arranged):
    options = ("split.val=0", "split.test=1.0", "preprocess.spacing_mm=null", "preprocess.size=[128,128]")
    data = data_module(
        "acdc", arranged[0], *options, "slices.among=complete", "slices.min_voxels=20", NO_CACHE
    )
    cases = list(data.test_dataloader())
    assert [case["fixed_id"][0] for case in cases] == [f"patient{n:03d}_ED" for n in (1, 22, 52, 70, 82)]
    assert sum(len(case["case"]) for case in cases) == 15
    for case in cases:
        assert case["fixed_image"].shape == (3, 1, 128, 128)
        assert all((case["fixed_label"] == code).any() for code in data.labels.values())
        assert (case["fixed_label"] == 3).sum() > (case["moving_label"] == 3).sum()  # the cavity contracts
    before = np.mean([dice(c["fixed_label"], c["moving_label"], k) for c in cases for k in (1, 2, 3)])
    assert 0.5 < before < 0.75


def test_acdc_samples_have_lost_their_spacing_and_the_audit_says_so(arranged):
    data = data_module("acdc", arranged[0], "split.val=0", "split.test=1.0")
    found = audit(data)
    assert not found.failed
    assert any("1 mm on every axis" in issue.message and issue.count == 10 for issue in found.issues)
    assert found.facts["subjects"] == "5"
    assert found.facts["phases"] == "ED 5, ES 5"


def test_ten_hippocampi_in_a_ring(arranged):
    data = data_module("hippocampus", arranged[1], NO_CACHE)
    pairs = data.pairs("test")
    assert len(pairs) == 10
    assert [(pair.fixed.subject, pair.moving.subject) for pair in (pairs[0], pairs[-1])] == [
        ("0001", "0003"),
        ("0017", "0001"),
    ]
    cases = list(data.test_dataloader())
    assert all(case["fixed_image"].shape == (1, 1, 64, 64, 64) for case in cases)
    before = np.mean([dice(c["fixed_label"], c["moving_label"], k) for c in cases for k in (1, 2)])
    assert before == pytest.approx(0.513, abs=0.002)  # the table of other tools starts from the same number


def test_lung_ct_on_different_grids_with_masks_and_landmarks(shared_data, tmp_path):
    lung = shared_data / "lung_ct"
    pairs = read_point_pairs(lung / "landmarks_voxel.csv")
    fixed = write_points(tmp_path / "fixed.csv", pairs.first)
    moving = write_points(tmp_path / "moving.csv", pairs.second)
    table = csv(
        tmp_path,
        fixed=lung / "baseline.nii.gz",
        moving=lung / "followup.nii.gz",
        fixed_mask=lung / "baseline_mask.nii.gz",
        moving_mask=lung / "followup_mask.nii.gz",
        fixed_landmarks=fixed,
        moving_landmarks=moving,
    )
    options = ("preprocess.intensity.window=[-1000,500]", "preprocess.background=-1000", NO_CACHE)
    data = data_module("folder", table, *options)
    assert data.provides >= {"fixed_mask", "moving_mask", "fixed_keypoints", "moving_keypoints"}
    case = only_case(data)
    assert case["moving_image"].shape == case["fixed_image"].shape == (1, 1, 115, 157, 129)
    apart = (case["fixed_keypoints"] - case["moving_keypoints"]) * case["spacing_mm"]
    assert float(apart.norm(dim=-1).mean()) == pytest.approx(
        37.6, abs=2.5
    )  # in the world; 2 to 5 voxels by index
    centred = only_case(data_module("folder", table, *options, "preprocess.alignment=centre"))
    nearer = (centred["fixed_keypoints"] - centred["moving_keypoints"]) * centred["spacing_mm"]
    assert float(nearer.norm(dim=-1).mean()) < 15
    masks = [
        float((c["fixed_mask"] * c["moving_mask"]).sum() / c["fixed_mask"].sum()) for c in (case, centred)
    ]
    assert masks[1] > masks[0]


def test_spine_t1_and_t2_meet_in_the_world(shared_data, tmp_path):
    spine = shared_data / "spine_t1t2"
    cells = {"fixed": "t1w", "moving": "t2", "fixed_label": "t1w_cord", "moving_label": "t2_cord"}
    table = csv(tmp_path, **{name: spine / f"{file}.nii.gz" for name, file in cells.items()})
    case = only_case(data_module("folder", table, NO_CACHE))
    assert read_image(spine / "t1w.nii.gz").shape != read_image(spine / "t2.nii.gz").shape
    # Axes P, S, R against R, A, S: only the headers bring the cords of one person together.
    assert dice(case["fixed_label"], case["moving_label"], 1) > 0.6


def test_prostate_mr_and_ultrasound_lie_on_different_grids(shared_data, tmp_path):
    folder = shared_data / "prostate_mrus"
    table = csv(
        tmp_path,
        fixed=folder / "case000000_us_image.nii.gz",
        moving=folder / "case000000_mr_image.nii.gz",
        fixed_label=f"{folder / 'case000000_us_label.nii.gz'}#0",
        moving_label=f"{folder / 'case000000_mr_label.nii.gz'}#0",
    )
    case = only_case(data_module("folder", table, NO_CACHE))
    assert case["moving_image"].shape == case["fixed_image"].shape == (1, 1, 44, 59, 41)
    assert (
        0.5 < dice(case["fixed_label"], case["moving_label"], 1) < 0.7
    )  # the gland, channel 0 of a 4-D file


def test_brain_with_itself(shared_data, tmp_path):
    brain = shared_data / "brain_fs"
    image, label = brain / "subjA_t1.nii.gz", brain / "subjA_seg.nii.gz"
    table = csv(tmp_path, fixed=image, moving=image, fixed_label=label, moving_label=label)
    case = only_case(data_module("folder", table, NO_CACHE, "preprocess.size=[128,128,128]"))
    assert torch.equal(case["fixed_image"], case["moving_image"])
    assert float(case["fixed_image"].max()) == 1
    codes = set(np.unique(read_labels(label).array).tolist())
    assert set(case["fixed_label"].unique().tolist()) <= codes


def test_slices_of_a_2d_file(shared_data, tmp_path):
    names = ("r16slice", "r64slice")
    table = csv(
        tmp_path,
        **dict(zip(("fixed", "moving"), (shared_data / f"slices2d/{n}.nii.gz" for n in names), strict=True)),
    )
    case = only_case(data_module("folder_slices", table, NO_CACHE))
    assert case["fixed_image"].shape == (1, 1, 256, 256)
    with pytest.raises(DataError, match=r"single slice.*data=folder_slices"):
        only_case(data_module("folder", table, NO_CACHE))


def test_swapped_left_and_right_ventricle_are_reported(arranged, tmp_path):
    root = shutil.copytree(arranged[0], tmp_path / "acdc")
    for file in root.rglob("*_gt.nii.gz"):
        volume = read_labels(file)
        write_labels(file, np.array([0, 3, 2, 1])[volume.array], volume.affine)
    found = audit(data_module("acdc", root, "split.val=0", "split.test=1.0"))
    # Both cavities shrink, so sizes alone cannot tell; the ring of myocardium around the left one can.
    assert found.failed
    assert any("enclosed by myocardium" in issue.message and issue.count == 10 for issue in found.issues)


def test_slices_of_another_hospital_told_by_their_names(shared_data, tmp_path):
    """Sunnybrook: the cavity of 15 people, one file a slice; here those of three, as NIfTI."""
    root = shared_data / "sunnybrook"
    if not root.is_dir():
        pytest.skip("needs the slices of Sunnybrook")
    subjects = sorted({file.name.split("-IM-")[0] for file in root.glob("images/*.png")})[:3]
    files = [file for file in root.glob("*/*.png") if file.name.startswith(tuple(subjects))]
    for file in files:
        array = np.asarray(Image.open(file).convert("L")).T.copy()
        write_image(tmp_path / file.parent.name / f"{file.stem}.nii.gz", array, np.diag([1.4, 1.4, 8.0, 1.0]))
    data = data_module(
        "named_segmentation_slices", tmp_path, "dataset.image='images/{subject}-IM-{series}-{slice}.nii.gz'",
        "dataset.label=['labels/{subject}-IM-{series}-{slice}.nii.gz']", "labels={LV: 1}", "split.test=1.0",
        "split.val=0", NO_CACHE,
    )  # fmt: skip
    assert data.split.test == tuple(subjects)
    cases = list(data.test_dataloader())
    assert len(cases) == len(files) // 2
    assert {tuple(case["image"].shape) for case in cases} == {(1, 1, 160, 160)}
    inside = [
        float(c["image"][c["label"] == 1].mean() - c["image"].mean()) for c in cases if c["label"].any()
    ]
    assert np.mean(np.array(inside) > 0) > 0.95  # blood is bright


def test_networks_of_acdc_meet_the_same_patients_corrupted(shared_data):
    root = shared_data / "acdc_official"
    if not root.is_dir():
        pytest.skip("needs the official layout of ACDC")
    pytest.importorskip("torchio", reason="corrupted images need TorchIO: pip install 'medreg[corruption]'")
    options = ("split.published=advchain", NO_CACHE)
    clean, corrupted = (data_module(name, root, *options) for name in ("acdc_segmentation", "acdc_corrupted"))
    assert clean.split == corrupted.split
    assert len(corrupted.items("test")) == 12 * len(clean.items("test"))
