"""ACDC in its official layout, from the folder to batches."""

from __future__ import annotations

import shutil

import data_fixtures as fixtures
import pytest
import torch
from data_build import data_module

from medreg.data.datasets.acdc import ACDC
from medreg.errors import DataError, DatasetNotFound
from medreg.io.image import read_image


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fixtures.acdc(tmp_path_factory.mktemp("acdc"))


def test_frames_come_from_info_cfg_and_patient090_has_no_frame01(root):
    records = {record.id: record for record in ACDC(root).records()}
    assert records["patient090_ED"].image.name == "patient090_frame04.nii.gz"
    assert records["patient090_ES"].image.name == "patient090_frame11.nii.gz"
    assert {record.split for record in records.values() if record.subject == "patient101"} == {"test"}
    assert len(records) == 8


def test_spacing_is_that_of_the_zooms_not_of_the_unit_sform(root):
    record = ACDC(root).records()[0]
    assert read_image(record.image).spacing_mm == pytest.approx((1.5625, 1.5625, 10.0))
    batch = next(iter(data_module("acdc", root, "preprocess.spacing_mm=null").train_dataloader()))
    torch.testing.assert_close(batch["spacing_mm"][0], torch.tensor([1.5625, 1.5625]))


def test_resampling_in_plane_keeps_slices_and_codes(root):
    data = data_module("acdc", root, "preprocess.size=[16,16]", "slices.evaluate=all")
    case = next(iter(data.test_dataloader()))
    assert case["fixed_image"].shape == (2, 1, 16, 16)
    torch.testing.assert_close(case["spacing_mm"], torch.full((2, 2), 1.8))
    assert set(case["fixed_label"].unique().tolist()) == {0, 1, 2, 3}
    assert case["fixed_label"].dtype == torch.int64
    assert float(case["fixed_image"].min()) == 0
    assert float(case["fixed_image"].max()) == 1


def test_the_left_ventricle_shrinks_and_swapped_codes_are_noticed(root):
    data = data_module("acdc", root)
    case = next(iter(data.test_dataloader()))
    code = data.labels["LV"]
    assert (case["fixed_label"] == code).sum() > (case["moving_label"] == code).sum()
    # The planted error: with LV and RV swapped the brightest ring-filling structure is no longer the cavity.
    centre = case["fixed_label"].shape[-1] // 2
    assert case["fixed_label"][0, 0, centre, centre] == code != data.labels["RV"]


def test_an_older_release_without_test_labels_loads(tmp_path):
    fixtures.acdc(tmp_path, test_labels=False)
    data = data_module("acdc", tmp_path)
    assert "fixed_label" not in next(iter(data.test_dataloader()))
    assert "fixed_label" in next(iter(data.train_dataloader()))


def test_all_frames_of_the_cine_are_registered_to_ed(root):
    data = data_module("acdc_cine", root, "split.val=0.0")
    pairs = [pair for pair in data.pairs("train") if pair.fixed.subject == "patient090"]
    assert len(pairs) == 11
    assert {pair.fixed.phase for pair in pairs} == {"ED"}
    assert next(pair for pair in pairs if pair.moving.phase == "t05").moving.frame == 4
    assert len(next(iter(data.train_dataloader()))["case"]) == 10


def test_missing_frame_is_an_error_that_names_it_or_is_counted(tmp_path):
    fixtures.acdc(tmp_path)
    (tmp_path / "training/patient090/patient090_frame04.nii.gz").unlink()
    with pytest.raises(DataError, match=r"patient090_frame04\.nii\.gz is missing.*ED is frame 4"):
        ACDC(tmp_path).records()
    tolerant = ACDC(tmp_path, skip_bad=True)
    assert {record.subject for record in tolerant.records()} == {"patient001", "patient002", "patient101"}
    assert len(tolerant.left_out) == 1


def test_a_missing_data_set_says_where_and_what_to_do(tmp_path):
    with pytest.raises(DatasetNotFound) as caught:
        ACDC(tmp_path / "nowhere").records()
    for part in (
        str(tmp_path / "nowhere"),
        "data.dataset.root",
        "MEDREG_DATA",
        "creatis",
        "data=cardiac_phantom",
    ):
        assert part in str(caught.value)


def test_a_label_code_outside_the_map_names_the_file(tmp_path):
    fixtures.acdc(tmp_path)
    shutil.copy(
        tmp_path / "training/patient001/patient001_frame01.nii.gz",
        tmp_path / "training/patient001/patient001_frame01_gt.nii.gz",
    )
    data = data_module("acdc", tmp_path, "split.val=0.0")
    with pytest.raises(DataError, match=r"patient001_frame01_gt\.nii\.gz holds label"):
        list(data.train_dataloader())


def test_other_contrasts_are_modalities_with_the_same_motion(tmp_path):
    fixtures.acdc(tmp_path)
    for file in tmp_path.rglob("*_frame??.nii.gz"):
        shutil.copy(file, file.with_name(file.name.replace(".nii", "_t1.nii")))
    truth = tmp_path / "testing/patient101/truth/patient101_frame01__patient101_frame03_displacement.nii.gz"
    truth.parent.mkdir()
    truth.touch()
    multi = ("dataset.contrasts=[t1]", "pairing.fixed_modality=cine", "pairing.moving_modality=t1")
    pairs = data_module("acdc", tmp_path, *multi).pairs("test")
    assert [pair.id for pair in pairs] == ["patient101_cine_ED__patient101_t1_ES"]
    assert pairs[0].truth == truth
    (tmp_path / "training/patient002/patient002_frame05_t1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"patient002_frame05_t1\.nii\.gz is missing"):
        data_module("acdc", tmp_path, *multi).setup()
