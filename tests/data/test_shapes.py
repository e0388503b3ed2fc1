"""Hearts as batches: frames, visits, categories, what is told of people, and the same samples after a resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from data_build import data_module
from heart_data import CODES, population, tiny_volume, write_heart

from medreg.data.audit import audit
from medreg.data.hearts import hearts_of
from medreg.data.sample import SHAPES, collate
from medreg.data.shape_loading import FrameChoice
from medreg.errors import ConfigError, DataError

LAYOUT = (
    "dataset.files=['hearts/{subject}_v{visit}.nii.gz','hearts/{subject}.nii.gz']",
    "dataset.visit=visit", "dataset.split=split", "labels={LV: 1, MYO: 2, RV: 4}", "frames=4",
    "loader.batch_size=2", "cache.kind=memory",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return population(tmp_path_factory.mktemp("made"), people=8, second=(0, 3, 7))


def shapes(root, *changes):
    return data_module("heart_folder", root, *LAYOUT, *changes)


def test_batches_follow_the_contract(made):
    data = shapes(made)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == set(data.provides) == {*SHAPES.always, "covariates"}
    assert batch["shape"].shape == (2, 4, 32, 32, 16)
    assert batch["shape"].dtype == torch.uint8
    assert batch["shape"].unique().tolist() == [0, 1, 2, 3]
    assert batch["frame"].tolist() == [[0, 1, 2, 3]] * 2
    assert batch["spacing_mm"].tolist() == [[5.0, 5.0, 8.0]] * 2
    assert batch["affine"].shape == (2, 4, 4)
    assert batch["affine"].dtype == torch.float64
    assert batch["slice_index"].tolist() == [-1, -1]
    assert batch["case"] == batch["subject"]
    expected = {"age_years", "sex", "height_cm", "weight_kg", "sbp_mmhg"}
    assert set(batch["covariates"]) == expected
    number = int(batch["case"][0][1:])
    assert float(batch["covariates"]["height_cm"][0]) == 165 + number
    assert float(batch["covariates"]["sex"][0]) == number % 2


def test_structures_are_in_one_order_whatever_the_codes(tmp_path):
    codes = {"RV": 1, "MYO": 2, "LV": 3}
    write_heart(tmp_path / "A.nii.gz", tiny_volume(codes=codes))
    options = (
        "split.val=0",
        "split.test=1.0",
        "dataset.table=null",
        "frames=4",
        "labels={LV: 3, MYO: 2, RV: 1}",
    )
    data = data_module("heart_folder", tmp_path, "cache.kind=none", *options)
    assert list(data.labels.items()) == [("LV", 3), ("MYO", 2), ("RV", 1)]
    shape = next(iter(data.test_dataloader()))["shape"][0].numpy()
    expected = np.moveaxis(np.array([0, 1, 2, 0, 3])[tiny_volume(codes=CODES).array], 3, 0)
    np.testing.assert_array_equal(shape, expected)


@pytest.mark.parametrize(
    ("count", "frames", "places"),
    [(10, 10, list(range(10))), (50, 20, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
     (25, 10, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23]), (7, None, list(range(7))), (3, 2, [0, 2])],
)  # fmt: skip
def test_a_cycle_is_resampled_by_phase_to_the_nearest_frame(count, frames, places):
    assert FrameChoice("cycle", frames).of_cycle(count, "x") == places


def test_a_cycle_that_is_too_short_is_refused(made):
    with pytest.raises(
        DataError, match=r"has 4 frames, fewer than data.frames=10. Set data.frames=4, or data.phases=edes"
    ):
        next(iter(shapes(made, "frames=10").train_dataloader()))


def test_ed_and_es_are_frame_0_and_that_of_the_smallest_cavity(made):
    data = shapes(made, "phases=edes", "frames=2")
    case = next(iter(data.test_dataloader()))
    whole = next(iter(shapes(made).test_dataloader()))
    assert case["frame"].tolist() == [[0, 2]]
    assert torch.equal(case["shape"], whole["shape"][:, [0, 2]])
    assert data.frames == 2
    assert data.phases == "edes"


@pytest.mark.parametrize(
    "changes", [("phases=all",), ("frames=1",), ("phases=edes", "frames=10"), ("visits=all",), ("classes=5",),
                ("placing.size=[8,8,8]",), ("labels={LV: 1, MYO: 2, RV: 2}",)],
)  # fmt: skip
def test_options_that_mean_nothing(made, changes):
    with pytest.raises(ConfigError, match=r"data\.(phases|frames|visits|classes|size|labels)"):
        shapes(made, *changes)


def test_grids_by_name(tmp_path):
    sizes = {}
    for grid in ("tiny", "lite", "full"):
        data = data_module("heart_folder", tmp_path, f"grid={grid}")
        sizes[grid] = (data.size, data.spacing_mm, data.frames, data.n_down, data.classes)
        assert tuple(data.placing.size) == data.size
    assert sizes == {
        "tiny": ((32, 32, 16), (5.0, 5.0, 8.0), 10, 3, 4),
        "lite": ((64, 64, 32), (2.5, 2.5, 4.0), 20, 4, 4),
        "full": ((128, 128, 64), (1.25, 1.25, 2.0), 20, 4, 4),
    }
    assert data_module("heart_folder", tmp_path, "phases=edes").frames == 2


def test_first_visits_alone_or_pairs_for_testing(made):
    single = shapes(made)
    assert [heart.id for heart in single.items("test")] == ["S03", "S07"]
    assert all(heart.later is None for stage in single.stages for heart in single.items(stage))
    data = shapes(made, "visits=pairs")
    assert [heart.id for heart in data.items("train")] == ["S00", "S01", "S04", "S05"]
    assert all(heart.later is None for heart in data.items("train"))
    assert data.split == single.split
    case = next(iter(data.test_dataloader()))
    assert case["case"] == ["S03"]
    assert case["later"]["case"] == ["S03_v2"]
    assert case["later"]["subject"] == case["subject"] == ["S03"]
    gap = case["later"]["covariates"]["age_years"] - case["covariates"]["age_years"]
    assert gap.tolist() == [8.0]
    assert case["later"]["shape"].shape == case["shape"].shape
    assert (case["later"]["shape"] == 1).sum() < (case["shape"] == 1).sum()
    assert "later" not in data.provides  # of training batches
    assert set(data.contents()["test"]["S03"]) >= {"0_label", "later_0_label"}


def test_nested_batches_are_put_together(made):
    samples = shapes(made, "visits=pairs").samples("test")
    batch = collate([samples[0], samples[1]])
    assert batch["later"]["case"] == ["S03_v2", "S07_v2"]
    assert batch["later"]["covariates"]["age_years"].shape == (2,)
    assert batch["later"]["shape"].shape == batch["shape"].shape == (2, 4, 32, 32, 16)


def test_unknown_values_are_nan_and_categories_keep_their_order(tmp_path):
    root = population(tmp_path, people=4)
    text = (root / "conditions.csv").read_text().splitlines()
    groups = ("group", "NOR", "", "DCM", "NOR")
    rows = [f"{line},{group}" for line, group in zip(text, groups, strict=True)]
    rows[1] = rows[1].replace(",130,", ",,")
    (root / "conditions.csv").write_text("\n".join(rows))
    column = "+dataset.columns.group=group"
    data = shapes(root, column, "+categories.group=[HCM,NOR,DCM]")
    assert data.categories == {"group": ("HCM", "NOR", "DCM")}
    told = data.training_covariates()
    assert told["group"].tolist() == [1, -1]
    assert torch.isnan(told["sbp_mmhg"]).tolist() == [True, False]
    assert shapes(root, column).categories == {"group": ("DCM", "NOR")}
    with pytest.raises(DataError, match=r"data.categories.group is HCM, NOR, but the data set also has DCM"):
        shapes(root, column, "+categories.group=[HCM,NOR]").setup()


def test_training_covariates_are_those_of_the_items_and_need_no_heart(made):
    data = shapes(made, "visits=pairs")
    told = data.training_covariates()
    assert data._stores == {}
    batches = list(data.train_dataloader())
    for name, values in told.items():
        seen = torch.cat([batch["covariates"][name] for batch in batches])
        assert sorted(seen.tolist()) == sorted(values.tolist())
    assert len(told["age_years"]) == 4


def test_the_same_seed_and_epoch_give_the_same_batches(made):
    def epoch(data, number):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(number)
        return [(batch["case"], batch["shape"]) for batch in loader]

    data = shapes(made)
    first, again = epoch(data, 3), epoch(shapes(made), 3)
    assert [case for case, _ in first] == [case for case, _ in again]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert {c for case, _ in epoch(data, 0) for c in case} == {c for case, _ in first for c in case}


def test_hearts_are_read_once_and_then_come_from_memory(made, monkeypatch):
    data = shapes(made)
    first = {
        case: shape
        for batch in data.train_dataloader()
        for case, shape in zip(batch["case"], batch["shape"], strict=True)
    }

    def read(*_, **__):
        raise AssertionError("read again")

    monkeypatch.setattr("medreg.data.shape_loading.read_label_sequence", read)
    for batch in data.train_dataloader():
        assert all(
            torch.equal(first[case], shape) for case, shape in zip(batch["case"], batch["shape"], strict=True)
        )
    assert data._stores["train"].dataset[0]["shape"].dtype == torch.uint8


def test_workers_and_the_disk_cache_give_the_same(made, tmp_path):
    expected = next(iter(shapes(made, "loader.shuffle=false").train_dataloader()))
    changes = ("loader.shuffle=false", "loader.num_workers=1", "cache.kind=disk", f"cache.dir={tmp_path}")
    for _ in range(2):
        found = next(iter(shapes(made, *changes).train_dataloader()))
        assert torch.equal(found["shape"], expected["shape"])
        assert torch.equal(found["affine"], expected["affine"])
    assert list(tmp_path.glob("*.pt"))


def test_another_preparation_is_another_key_and_fingerprint(made):
    one, other = shapes(made), shapes(made, "placing.interpolate=nearest")
    assert one._settings() != other._settings()
    assert one.fingerprint()["preprocess"] != other.fingerprint()["preprocess"]
    same = shapes(made).fingerprint()
    assert same == one.fingerprint()
    assert same["shapes"] == {"train": 4, "val": 2, "test": 2}


def test_inventory_and_split_are_written(made, tmp_path):
    data = shapes(made, "visits=pairs")
    rows = data.save_inventory(tmp_path / "inventory.csv").read_text().splitlines()
    assert len(rows) == 1 + 8 + 2
    assert rows[-1].startswith("S07_v2,S07,")
    assert "32x32x16x4,5x5x8,RAS,uint8" in rows[-1]
    assert "S03,test" in data.save_split(tmp_path / "split.csv").read_text()


def test_the_doctor_finds_hearts_in_order(made):
    found = audit(shapes(made))
    assert not found.failed
    assert found.facts["shapes per set"] == "train 4, val 2, test 2"
    assert found.facts["images"] == "11"
    assert found.facts["label codes"] == "LV 1, MYO 2, RV 4"


def test_the_doctor_tells_hearts_that_training_would_refuse(tmp_path):
    root = population(tmp_path, people=4)
    volume = tiny_volume()
    reversed_in_time = volume.array[..., [2, 1, 0, 3]]
    write_heart(
        root / "hearts" / "S00.nii.gz", type(volume)(reversed_in_time, volume.affine, volume.spacing_mm)
    )
    volume.array[0, 0, 0, 2] = 9
    write_heart(root / "hearts" / "S01.nii.gz", volume)
    found = audit(shapes(root))
    assert found.failed
    said = {issue.severity: issue.message for issue in found.issues if issue.severity in ("error", "warning")}
    assert "holds label 9, which data.labels does not name" in said["error"]
    assert "frame 0 should be end-diastole" in said["warning"]


def test_a_heart_that_cannot_be_used_stops_or_is_left_out(tmp_path):
    root = population(tmp_path, people=6)
    (root / "hearts" / "S04.nii.gz").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"S04.nii.gz cannot be read"):
        list(shapes(root).train_dataloader())
    data = shapes(root, "on_corrupt=skip")
    seen = [case for batch in data.train_dataloader() for case in batch["case"]]
    assert "S04" not in seen
    assert len(seen) == 4
    assert any("S04" in message for message in data.left_out)


def test_frames_on_different_grids_are_refused(tmp_path):
    one = tiny_volume((0.0,))
    write_heart(tmp_path / "P_ED.nii.gz", one)
    moved = one.affine.copy()
    moved[:3, 3] += 9.0
    write_heart(tmp_path / "P_ES.nii.gz", type(one)(one.array, moved, one.spacing_mm))
    data = data_module(
        "heart_folder", tmp_path, "dataset.files=['{subject}_{phase}.nii.gz']", "dataset.table=null", "phases=edes",
        "labels.RV=4", "split.val=0", "split.test=1.0", "cache.kind=none",
    )  # fmt: skip
    with pytest.raises(DataError, match=r"P_ES.nii.gz lies on another grid than .*P_ED.nii.gz"):
        next(iter(data.test_dataloader()))
    cycle = data_module("heart_folder", tmp_path, "dataset.files=['{subject}_{phase}.nii.gz']", "dataset.table=null",
                        "labels.RV=4", "split.val=0", "split.test=1.0", "cache.kind=none")  # fmt: skip
    assert hearts_of(cycle.dataset.records())[0].phases_only
    write_heart(tmp_path / "P_ES.nii.gz", one)
    with pytest.raises(DataError, match=r"P has ED and ES only, no cycle. Set data.phases=edes"):
        next(iter(cycle.test_dataloader()))
