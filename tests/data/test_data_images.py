"""Single images and sequences of frames: labels, covariates, slices, frames, and the contract of every kind."""

from __future__ import annotations

import data_fixtures as fixtures
import numpy as np
import pytest
import torch
from data_build import data_module
from data_fixtures import write

from medreg.data.datasets.mnms import MnMs
from medreg.data.images_dataset import Access
from medreg.data.sample import CONTRACTS, collate
from medreg.errors import ConfigError, DataError

SMALL = (
    "split.val=0.34", "preprocess.spacing_mm=null", "preprocess.size=[16,16]", "loader.batch_size=4",
    "loader.repeat=2",
)  # fmt: skip
KINDS = {"images": "acdc_segmentation", "pairs": "acdc", "sequences": "acdc_sequences"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fixtures.acdc(tmp_path_factory.mktemp("acdc"))


def epoch(data, number):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_keep_the_contract_of_their_kind(root, kind):
    data = data_module(KINDS[kind], root, *SMALL)
    assert data.kind == kind
    contract = CONTRACTS[kind]
    for batch in (*data.train_dataloader(), *data.val_dataloader(), *data.test_dataloader()):
        assert set(contract.always) <= set(data.provides) <= set(batch) <= set(contract.keys)
        count = len(batch["case"])
        for key, value in batch.items():
            assert isinstance(value, dict) or len(value) == count
            if isinstance(value, torch.Tensor):
                assert str(value.dtype).removeprefix("torch.") in contract.keys[key]


def test_an_image_is_a_case_with_its_labels_phase_and_place_in_the_cine(root):
    data = data_module("acdc_segmentation", root, *SMALL)
    ed, es = data.test_dataloader()
    assert ed["case"] == ed["image_id"] == ["patient101_ED"] * 2
    assert es["phase"] == ["ES"] * 2
    assert es["frame"].tolist() == [2, 2]  # frame 3 of Info.cfg
    assert ed["slice_index"].tolist() == [0, 1]
    assert ed["image"].shape == ed["label"].shape == (2, 1, 16, 16)
    assert set(ed["label"].unique().tolist()) == {0, 1, 2, 3}
    torch.testing.assert_close(ed["spacing_mm"], torch.full((2, 2), 1.5625))
    pair = next(iter(data_module("acdc", root, *SMALL, "slices.evaluate=all").test_dataloader()))
    for one, other in (("image", "fixed_image"), ("label", "fixed_label"), ("affine", "affine")):
        torch.testing.assert_close(ed[one], pair[other], rtol=0, atol=0)


def test_covariates_are_numbers_and_places_among_the_categories(root):
    data = data_module("acdc_segmentation", root, *SMALL)
    told = next(iter(data.test_dataloader()))["covariates"]
    assert {name: value.tolist() for name, value in told.items()} == {
        "group": [0, 0], "height_cm": [180.0, 180.0], "weight_kg": [80.0, 80.0],
    }  # fmt: skip
    assert data.categories == {"group": ("NOR",)}
    assert (told["group"].dtype, told["height_cm"].dtype) == (torch.int64, torch.float32)


def test_the_table_of_mnms_tells_of_its_subjects(tmp_path):
    record = MnMs(fixtures.mnms(tmp_path)).records()[0]
    assert dict(record.covariates) == {
        "age_years": 50.0, "height_cm": 170.0, "weight_kg": 70.0, "sex": "M", "pathology": "NOR",
        "vendor": "Siemens", "centre": "1",
    }  # fmt: skip


def test_images_of_the_phantom_come_with_height_weight_and_group(tmp_path):
    tiny = ("subjects=5", "testing=1", "frames=4", "slices=[3,3]", "size=[48,48]")
    options = (*(f"dataset.prepare.{word}" for word in tiny), "preprocess.size=[48,48]", "split.val=0.25")
    data = data_module("cardiac_phantom_segmentation", tmp_path, *options)
    batch = epoch(data, 0)[0]
    assert len(data.categories["group"]) == 5
    assert float(batch["covariates"]["height_cm"].min()) > 120
    assert set(batch["label"].unique().tolist()) <= {0, 1, 2, 3}
    assert {"label", "covariates"} <= data.provides
    frames = data_module("cardiac_phantom_sequences", tmp_path, *options, "frames=null")
    batch = epoch(frames, 0)[0]
    assert batch["image"].shape[1:] == (4, 1, 48, 48)
    assert batch["frame"][0].tolist() == [0, 1, 2, 3]
    assert batch["labelled"].sum(1).tolist() == [2] * len(batch["case"])


def test_slices_follow_seed_epoch_and_index_only(root):
    data = [
        data_module("acdc_segmentation", root, *SMALL, f"cache.kind={kind}") for kind in ("memory", "none")
    ]
    first, second = ([(b["case"], b["slice_index"].tolist()) for b in epoch(d, 3)] for d in data)
    assert first == second
    assert first != [(b["case"], b["slice_index"].tolist()) for b in epoch(data[0], 4)]
    dataset = data[0].train_dataloader().dataset
    assert len({int(dataset[Access(number, 0)]["slice_index"]) for number in range(40)}) > 1


def test_scored_images_are_left_out_and_the_fingerprint_counts_images(root):
    data = data_module("acdc_segmentation", root, *SMALL)
    assert data.fingerprint()["images"] == {"train": 4, "val": 2, "test": 2}
    data.skip_cases(["patient101_ED"])
    assert [item.id for item in data.items("test")] == ["patient101_ES"]
    pairs = data_module("acdc", root, *SMALL)
    assert data.split == pairs.split
    assert "covariates" in data.fingerprint().keys() - pairs.fingerprint().keys()


def test_only_the_chosen_images_take_part(root):
    data = data_module("acdc_segmentation", root, *SMALL, "images.phases=[ED]")
    assert {record.phase for stage in ("train", "val", "test") for record in data.items(stage)} == {"ED"}
    none = data_module("acdc_segmentation", root, *SMALL, "images.phases=[XX]")
    with pytest.raises(DataError, match=r"has no train images \(subjects.*data\.images"):
        none.train_dataloader()


def test_volumes_are_images_too(root):
    volume = ("ndim=3", "slices=null", "preprocess.size=[16,16,null]", "loader.batch_size=1")
    data = data_module("acdc_segmentation", root, "split.val=0.34", *volume)
    case = next(iter(data.test_dataloader()))
    assert case["image"].shape == case["label"].shape == (1, 1, 16, 16, 2)
    assert case["slice_index"].tolist() == [-1]


def test_a_sequence_holds_the_frames_of_the_cine_in_order(root):
    data = data_module(
        "acdc_sequences", root, *SMALL, "frames=null", "loader.batch_size=1", "slices.evaluate=all"
    )
    case = next(iter(data.test_dataloader()))
    assert case["case"] == ["patient101"] * 2
    assert case["image"].shape == case["label"].shape == (2, 6, 1, 16, 16)
    assert case["frame"].tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert case["labelled"].tolist() == [[True, False, True, False, False, False]] * 2  # ED 1, ES 3
    assert case["label"][:, 1].sum() == 0 < case["label"][:, 2].sum()
    area = (case["label"] == data.labels["LV"]).flatten(2).sum(2)
    assert bool((area[:, 0] > area[:, 2]).all())


def test_a_sequence_of_few_frames_is_spread_over_the_cine(root):
    data = data_module("acdc_sequences", root, *SMALL, "frames=3")
    batch = epoch(data, 0)[0]
    assert batch["image"].shape[1] == 3
    found = {case: frames.tolist() for case, frames in zip(batch["case"], batch["frame"], strict=True)}
    assert set(map(tuple, found.values())) <= {(0, 2, 4), (0, 4, 8)}


def test_frames_share_their_limits_where_that_is_asked_for(root):
    joint, apart = (
        next(
            iter(
                data_module(
                    "acdc_sequences", root, *SMALL, f"preprocess.intensity.joint={word}"
                ).test_dataloader()
            )
        )
        for word in ("true", "false")
    )
    least = [float(batch["image"].amax((2, 3, 4)).min()) for batch in (joint, apart)]
    assert least[0] < 1 == least[1]


def test_sequences_of_different_length_cannot_share_a_batch(root):
    data = data_module("acdc_sequences", root, *SMALL, "frames=null", "split.val=0")
    with pytest.raises(ConfigError, match=r"6 to 12 frames.*data\.frames"):
        data.train_dataloader()
    with pytest.raises(ConfigError, match=r"data\.frames is 0"):
        data_module("acdc_sequences", root, "frames=0")


def images_table(folder, rows):
    for number in range(4):
        image, label = fixtures.heart((12, 12, 6), radius=3, seed=number)
        write(folder / f"{number}.nii.gz", image, np.eye(4))
        write(folder / f"{number}_gt.nii.gz", label, np.eye(4))
    (folder / "images.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_a_list_of_images_is_a_data_set_and_its_other_columns_are_covariates(tmp_path):
    rows = ["image,label,subject,split,age,sex"]
    rows += [
        f"{n}.nii.gz,{n}_gt.nii.gz,person{n // 2},{'test' if n // 2 else 'train'},{30 + n},{'FM'[n % 2]}"
        for n in range(4)
    ]
    data = data_module("folder_segmentation", images_table(tmp_path, rows), "cache.kind=none", "split.val=0")
    case = next(iter(data.test_dataloader()))
    assert case["case"] == ["image003"]
    assert case["image"].shape == (1, 1, 12, 12, 6)
    assert case["covariates"]["age"].tolist() == [32.0]
    assert case["covariates"]["sex"].tolist() == [data.categories["sex"].index("F")]
    assert data.labels == {"label1": 1, "label2": 2, "label3": 3}
    rows[2] = rows[2].replace("train", "test")
    images_table(tmp_path, rows)
    with pytest.raises(DataError, match="'person0' is in two sets"):
        data_module("folder_segmentation", tmp_path).setup()


def test_collating_joins_covariates():
    def item(value):
        return {"case": ["a"], "covariates": {"age": torch.tensor([value])}}

    assert collate([item(1.0), item(2.0)])["covariates"]["age"].tolist() == [1.0, 2.0]
