"""Each layout on disk, its quirks, and one planted error each that must be caught."""

from __future__ import annotations

import json
import logging
import re
import shutil

import data_fixtures as fixtures
import numpy as np
import pytest
import torch
from data_build import data_module

from medreg.data.datasets.camcan import CamCAN
from medreg.data.datasets.folder import Folder
from medreg.data.datasets.oasis import OASIS
from medreg.data.datasets.ukbb import UKBB
from medreg.errors import DataError, DatasetNotFound


def first(loader):
    return next(iter(loader))


# M&Ms


def test_mnms_frames_are_0_based_in_image_and_label(tmp_path):
    data = data_module("mnms", fixtures.mnms(tmp_path), "split.val=0.0", "preprocess.size=[16,16]")
    records = {record.id: record for record in data.dataset.records()}
    assert (records["A0S9V9_ED"].frame, records["A0S9V9_ES"].frame) == (0, 2)
    assert records["A0S9V9_ED"].label_frame == 0
    assert data.labels == {"LV": 1, "MYO": 2, "RV": 3}
    for batch in data.train_dataloader():
        assert (batch["fixed_label"] == 1).sum() > (batch["moving_label"] == 1).sum()
    assert data.split.test == ("T9T9T9",)


def test_mnms_frames_read_off_by_one_are_caught(tmp_path):
    data = data_module("mnms", fixtures.mnms(tmp_path, shift=1), "split.val=0.0")
    with pytest.raises(DataError, match=r"no labelled voxel in frame 1|frame 4 does not exist"):
        list(data.train_dataloader())


def test_mnms_skewed_axes_load_and_are_reported(tmp_path):
    from medreg.data.audit import audit

    data = data_module("mnms", fixtures.mnms(tmp_path), "split.val=0.0")
    assert first(data.test_dataloader())["fixed_image"].isfinite().all()
    assert any("skewed" in issue.message for issue in audit(data).issues)


def test_mnms_subject_missing_from_the_table_is_an_error(tmp_path):
    root = fixtures.mnms(tmp_path)
    folder = root / "OpenDataset/Training/Labeled"
    shutil.copytree(folder / "A0S9V9", folder / "Z0Z0Z0")
    with pytest.raises(DataError, match="Z0Z0Z0 is not listed"):
        data_module("mnms", root).setup()


# UK Biobank


def test_ukbb_numbers_of_people_never_appear(tmp_path, caplog):
    root = fixtures.ukbb(tmp_path / "ukbb")
    data = data_module("ukbb", root, "split.val=0", "split.test=0", "preprocess.size=[16,16]")
    with caplog.at_level(logging.DEBUG):
        batch = first(data.train_dataloader())
        text = data.save_split(tmp_path / "split.csv").read_text() + json.dumps(data.fingerprint())
        (root / "1234567/sa_ED.nii.gz").write_bytes(b"broken")
        broken = data_module("ukbb", root, "split.val=0", "split.test=0", "cache.kind=none")
        with pytest.raises(DataError, match=r"sa_ED\.nii\.gz of [0-9a-f]{12}_ED") as caught:
            list(broken.train_dataloader())
    written = " ".join((*batch["case"], *batch["fixed_id"], text, caplog.text, str(caught.value)))
    assert not re.search("1234567|7654321", written)


def test_ukbb_manual_labels_come_first_and_float_predictions_second(tmp_path):
    root = fixtures.ukbb(tmp_path)
    data = data_module("ukbb", root, "split.val=0", "split.test=0", "preprocess.size=null")
    names = {record.label.name for record in data.dataset.records()}
    assert names == {"label_sa_ED.nii.gz", "label_sa_ES.nii.gz", "seg_sa_ED.nii.gz", "seg_sa_ES.nii.gz"}
    assert set(first(data.train_dataloader())["fixed_label"].unique().tolist()) <= {0, 1, 2, 3}
    manual = data_module("ukbb", root, "dataset.labels=['label_sa_{phase}']").dataset
    assert len({record.subject for record in manual.records()}) == 1
    (note,) = manual.notes()
    assert note.startswith("1 people (")
    assert note.endswith(") have no labels and are left out")


def test_ukbb_split_file_may_list_numbers(tmp_path):
    root = fixtures.ukbb(tmp_path / "ukbb")
    (tmp_path / "s.csv").write_text("subject,split\n1234567,train\n7654321,test\n")
    split = data_module("ukbb", root, f"split.file={tmp_path / 's.csv'}").split
    assert split.train == (UKBB.hashed(data_module("ukbb", root).dataset, "1234567"),)


def test_slices_at_quarter_positions(tmp_path):
    root = fixtures.ukbb(tmp_path)
    case = first(data_module("ukbb", root, "split.val=0", "split.test=1.0").test_dataloader())
    assert case["slice_index"].tolist() == [1, 2, 3]  # int(p * 4)
    assert case["fixed_image"].shape == (3, 1, 160, 160)


def test_affine_of_a_slice_is_its_place_in_the_stack(tmp_path):
    root = fixtures.ukbb(tmp_path)
    case = first(
        data_module("ukbb", root, "split.test=1.0", "split.val=0", "preprocess.size=null").test_dataloader()
    )
    stack = torch.from_numpy(fixtures.oblique((1.8, 1.8, 10.0)))
    for index, affine in zip(case["slice_index"], case["affine"], strict=True):
        here = affine @ torch.tensor([3.0, 5.0, 0.0, 1.0], dtype=torch.float64)
        there = stack @ torch.tensor([3.0, 5.0, float(index), 1.0], dtype=torch.float64)
        torch.testing.assert_close(here, there, atol=1e-4, rtol=0)


# Cam-CAN


def test_camcan_pairs_people_that_have_both_modalities(tmp_path):
    root = fixtures.camcan(tmp_path)
    small = ("preprocess.size=[16,16,16]", "preprocess.resize=[12,12,12]", "split.val=0", "split.test=1.0")
    data = data_module("camcan_t1t2", root, *small, "cache.kind=none")
    case = first(data.test_dataloader())
    assert case["case"] == ["CC110001_T1__CC110003_T2"]
    assert data.dataset.notes() == ["1 people (CC110002) lack one of T1, T2 and are left out"]
    torch.testing.assert_close(case["spacing_mm"], torch.full((1, 3), 15 / 11))
    inside = (case["fixed_label"] == 1) & (case["moving_label"] == 1)
    assert case["fixed_image"][inside].mean() < case["moving_image"][inside].mean()  # inverted contrast
    assert len(CamCAN(root, images={"T1": "T1_brain"}, label=None, mask=None).records()) == 3


def test_camcan_missing_label_is_an_error(tmp_path):
    root = fixtures.camcan(tmp_path)
    (root / "CC110003/T1_brain_MALPEM_tissues.nii.gz").unlink()
    with pytest.raises(DataError, match=r"CC110003.T1_brain_MALPEM_tissues\.nii\.gz is missing"):
        data_module("camcan", root).setup()


# OASIS


def test_oasis_has_gaps_and_float_labels(tmp_path):
    data = data_module(
        "oasis", fixtures.neurite(tmp_path), "split.test=0.4", "split.val=0", "cache.kind=none"
    )
    assert [record.subject for record in data.dataset.records()] == [f"OAS1_000{i}_MR1" for i in (1, 2, 4)]
    batch = first(data.train_dataloader())
    assert batch["fixed_image"].shape == (1, 1, 16, 20, 24)
    assert len(data.labels) == 35
    assert set(batch["fixed_label"].unique().tolist()) <= {0, 3, 7, 21, 35}


def test_oasis_slices_are_2d_with_their_own_codes(tmp_path):
    data = data_module("oasis_slices", fixtures.neurite(tmp_path), "split.test=1.0", "split.val=0")
    case = first(data.test_dataloader())
    assert case["fixed_image"].shape == (1, 1, 16, 20)
    assert data.labels["right_choroid_plexus"] == 24


def test_oasis_3d_labels_read_with_the_2d_codes_are_caught(tmp_path):
    root = fixtures.neurite(tmp_path)
    data = data_module(
        "oasis_slices",
        root,
        "dataset.image=aligned_norm",
        "dataset.label=aligned_seg35",
        "split.val=0",
        "split.test=0",
    )
    with pytest.raises(DataError, match=r"holds label 35, which data\.labels does not name"):
        list(data.train_dataloader())


def test_oasis_compares_with_its_list_of_subjects(tmp_path):
    root = fixtures.neurite(tmp_path)
    shutil.rmtree(root / "OASIS_OAS1_0002_MR1")
    with pytest.raises(DataError, match=r"OAS1_0002_MR1 is missing, but subjects\.txt lists it"):
        OASIS(root, image="aligned_norm", label=None, require_labels=False).records()


def test_both_editions_of_oasis_agree_in_the_world(tmp_path):
    neurite = fixtures.neurite(tmp_path / "neurite")
    turned = fixtures.LIA[:, [0, 2, 1, 3]]  # the 2022 edition exchanges the last two axes
    for number in (1, 2):
        image, label = fixtures.brain((16, 20, 24), seed=number)
        for kind, array in (("imagesTr", image), ("labelsTr", label.astype(np.uint8))):
            file = tmp_path / f"OASIS/{kind}/OASIS_000{number}_0000.nii.gz"
            fixtures.write(file, array.transpose(0, 2, 1), turned)
    entries = [{"image": f"./imagesTr/OASIS_000{n}_0000.nii.gz"} for n in (1, 2)]
    pairs = [{"fixed": entries[0]["image"], "moving": entries[1]["image"]}]
    content = {"name": "OASIS", "labels": {"0": {}}, "training": entries, "registration_val": pairs}
    (tmp_path / "OASIS/OASIS_dataset.json").write_text(json.dumps(content))
    options = ("preprocess.orientation=ras", "cache.kind=none", "split.val=0")
    official = first(data_module("learn2reg", tmp_path / "OASIS", *options).test_dataloader())
    own = data_module("oasis", neurite, *options, "split.test=0", "dataset.exclude=[OAS1_0004_MR1]")
    own.pairing = type(own.pairing)("next", "next")
    ours = own.train_dataloader().dataset[0]
    torch.testing.assert_close(official["fixed_image"], ours["fixed_image"])
    torch.testing.assert_close(official["affine"], ours["affine"])
    torch.testing.assert_close(official["moving_label"], ours["moving_label"])


# IXI


def test_ixi_takes_the_intersection_without_ambiguous_ids(tmp_path):
    root = fixtures.ixi(tmp_path)
    options = (
        "dataset.table=IXI.csv",
        "preprocess.size=null",
        "split.test=1.0",
        "split.val=0",
        "cache.kind=none",
    )
    data = data_module("ixi", root, *options)
    assert {record.subject for record in data.dataset.records()} == {"IXI002", "IXI013", "IXI014"}
    assert any("IXI012" in note for note in data.dataset.notes())
    assert any("IXI020" in note for note in data.dataset.notes())
    case = first(data.test_dataloader())
    torch.testing.assert_close(case["spacing_mm"], torch.ones(1, 3))
    assert case["fixed_id"] == ["IXI002_T1"]
    assert case["moving_id"] == ["IXI013_T2"]


def test_ixi_misnamed_file_is_caught(tmp_path):
    root = fixtures.ixi(tmp_path)
    (root / "T2/IXI002-Guys-0828-T2.nii.gz").rename(root / "T2/IXI002-Guys-0828-T1.nii.gz")
    with pytest.raises(DataError, match="is not named like IXI002-Guys-0828-T2"):
        data_module("ixi", root).setup()


# Learn2Reg


def test_learn2reg_validation_cases_are_taken_out_of_training(tmp_path):
    root = fixtures.learn2reg_unpaired(tmp_path)
    data = data_module("learn2reg", root, "split.val=0", "cache.kind=none")
    assert data.split.train == ("0001", "0002", "0003", "0004")
    assert [pair.id for pair in data.pairs("test")] == ["0005_0000__0006_0000"]
    assert data.labels == {"outer": 3, "middle": 7, "inner": 21, "core": 35}
    assert first(data.test_dataloader())["fixed_label"].shape == (1, 1, 16, 24, 20)


def test_learn2reg_official_training_list_is_a_switch(tmp_path, caplog):
    root = fixtures.learn2reg_unpaired(tmp_path)
    data = data_module("learn2reg", root, "split.val=0", "split.train_on_evaluation=true")
    assert len(data.split.train) == 6
    assert "also trained on" in caplog.text


def test_learn2reg_irregular_paired_descriptor(tmp_path, caplog):
    root = fixtures.learn2reg_paired(tmp_path)
    data = data_module("learn2reg", root, "split.val=0", "dataset.points=keypoints", "cache.kind=none")
    assert [pair.id for pair in data.pairs("train")] == [
        f"{c}_0001__{c}_0000" for c in ("0002", "0003", "0004")
    ]
    assert "Duo_TCIA0004_0000.nii.gz is listed" in caplog.text
    assert data.provides >= {"fixed_mask", "moving_mask", "fixed_keypoints", "moving_keypoints"}
    case = first(data.test_dataloader())
    # By index, as the challenge rules, although the headers say 1.25 and 1.0 mm.
    torch.testing.assert_close(case["fixed_keypoints"][0, 0], torch.tensor([8.0, 12.5, 10.0]))
    torch.testing.assert_close(case["moving_keypoints"][0, 0], torch.tensor([8.0, 12.0, 10.0]))
    torch.testing.assert_close(
        case["fixed_image"] + case["moving_image"], torch.ones_like(case["fixed_image"])
    )


def test_learn2reg_by_world_coordinates_would_move_the_image(tmp_path):
    """The planted error: trusting headers where the challenge counts voxels."""
    root = fixtures.learn2reg_paired(tmp_path)
    data = data_module("learn2reg", root, "split.val=0", "preprocess.alignment=world", "cache.kind=none")
    case = first(data.test_dataloader())
    assert (case["fixed_image"] + case["moving_image"] - 1).abs().max() > 0.1


def test_learn2reg_direction_can_be_turned(tmp_path):
    root = fixtures.learn2reg_paired(tmp_path)
    data = data_module("learn2reg", root, "split.val=0", "dataset.direction=[0,1]")
    assert [pair.id for pair in data.pairs("test")] == ["0001_0000__0001_0001"]


def test_learn2reg_missing_file_names_it(tmp_path):
    root = fixtures.learn2reg_unpaired(tmp_path)
    (root / "imagesTr/Toy_0002_0000.nii.gz").unlink()
    with pytest.raises(DataError, match=r"imagesTr.Toy_0002_0000\.nii\.gz is listed in the descriptor"):
        data_module("learn2reg", root).setup()


def test_learn2reg_without_descriptor_says_so(tmp_path):
    with pytest.raises(DatasetNotFound, match=r"LungCT_dataset\.json is expected, found none"):
        data_module("learn2reg", tmp_path, "dataset.task=LungCT").setup()


# folder


def test_folder_brings_different_grids_together(tmp_path):
    data = data_module("folder", fixtures.folder(tmp_path), "cache.kind=none", "preprocess.intensity=null")
    case = first(data.test_dataloader())
    assert case["case"] == ["case3"]
    assert data.labels == {"label3": 3, "label7": 7, "label21": 21, "label35": 35}
    inside = torch.zeros_like(case["fixed_image"], dtype=torch.bool)
    inside[:, :, 4::2, ::2, 2::2] = True  # voxels that both grids hold
    torch.testing.assert_close(case["moving_image"][inside], case["fixed_image"][inside])
    assert torch.equal(case["moving_label"][inside], case["fixed_label"][inside])
    torch.testing.assert_close(case["moving_keypoints"], case["fixed_keypoints"])


def test_folder_an_image_in_two_sets_is_caught(tmp_path):
    file = fixtures.folder(tmp_path)
    text = file.read_text().replace("img/p2_m.nii.gz", "img/p0_m.nii.gz")
    file.write_text(text)
    with pytest.raises(DataError, match="also occur in a row of another split"):
        Folder(file).records()


def test_folder_rows_that_share_an_image_stay_together(tmp_path):
    file = fixtures.folder(tmp_path, splits=("", "", "", ""))
    file.write_text(file.read_text().replace("img/p2_m.nii.gz", "img/p0_m.nii.gz"))
    data = data_module("folder", file, "split.val=0", "split.test=0.34")
    subjects = {pair.id: pair.fixed.subject for stage in ("train", "test") for pair in data.pairs(stage)}
    assert subjects["case0"] == subjects["case2"]
    assert len(data.pairs("train")) + len(data.pairs("test")) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fixed,moving,fixed_label", "fixed,moved,fixed_label", "unknown moved"),
        ("img/p1_m.nii.gz", "img/gone.nii.gz", "row case1 names missing files: img/gone.nii.gz"),
        (",val,", ",valid,", "split 'valid'"),
        ("case1", "case0", "occurs more than once"),
    ],
)
def test_folder_mistakes_in_the_csv_are_named(tmp_path, old, new, message):
    file = fixtures.folder(tmp_path)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        Folder(file).records()
