"""Layouts of labelled images for segmentation: the Decathlon, pairs of names, and the hearts of other centres."""

from __future__ import annotations

import json
from pathlib import Path

import data_fixtures as fixtures
import numpy as np
import pytest
from data_build import data_module

from medreg.data.datasets import decathlon
from medreg.data.datasets.decathlon import Decathlon
from medreg.data.datasets.named import NamedImages
from medreg.data.published_splits import read_published
from medreg.errors import ConfigError, DataError, DatasetNotFound

SMALL = ("preprocess.spacing_mm=null", "preprocess.size=[16,16]", "cache.kind=none")


def cases(data):
    return [batch["case"][0] for batch in data.test_dataloader()]


# The Decathlon


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return fixtures.decathlon(tmp_path_factory.mktemp("decathlon"))


def test_one_contrast_of_the_decathlon_is_read_with_its_labels(task):
    data = data_module("prostate_decathlon", task, *SMALL, "split.published=true", "split.test=0.5")
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == batch["label"].shape == (4, 1, 16, 16)
    assert float(batch["image"].max()) == 1  # the second contrast is constant
    assert set(batch["label"].unique().tolist()) == {0, 1, 2}
    assert batch["frame"].tolist() == [-1] * 4  # contrasts are no frames in time
    assert data.labels == {"PZ": 1, "TZ": 2}
    dark = data_module(
        "prostate_decathlon", task, *SMALL, "split.published=true", "split.test=0.5", "dataset.modality=ADC"
    )
    assert float(next(iter(dark.test_dataloader()))["image"].max()) == 0


def test_any_task_says_its_structures_and_may_give_its_unlabelled_images(task):
    source = Decathlon(task, modality="T2", unlabelled=True)
    assert [record.id for record in source.records()] == [
        "prostate_00", "prostate_04", "prostate_08", "prostate_13", "prostate_16",
    ]  # fmt: skip
    assert [record.id for record in source.records() if record.label is None] == ["prostate_08"]
    data = data_module(
        "decathlon", task, "dataset.modality=T2", "preprocess.size=[16,16,4]", "cache.kind=none"
    )
    assert data.labels == {"PZ": 1, "TZ": 2}
    assert next(iter(data.test_dataloader()))["image"].shape == (1, 1, 16, 16, 4)


def test_what_is_wrong_with_a_task_is_a_sentence(tmp_path):
    task = fixtures.decathlon(tmp_path)
    for modality in (None, "T1"):
        with pytest.raises(ConfigError, match=r"data\.dataset\.modality is .* has T2, ADC; choose one"):
            Decathlon(task, modality=modality).records()
    (task / "labelsTr/prostate_04.nii.gz").unlink()
    with pytest.raises(
        DataError, match=r"labelsTr/prostate_04\.nii\.gz, which dataset\.json lists, is missing"
    ):
        Decathlon(task, modality="T2").records()
    assert len(Decathlon(task, modality="T2", skip_bad=True).records()) == 3
    (task / "dataset.json").write_text(json.dumps(["prostate_00"]))
    with pytest.raises(DataError, match="no descriptor of the Decathlon"):
        Decathlon(task, modality="T2").records()
    (task / "dataset.json").unlink()
    with pytest.raises(DatasetNotFound, match=r"there is no file dataset\.json"):
        Decathlon(task, modality="T2").records()


def drawn(names, first, second, seed):
    """What scikit-learn's train_test_split draws: the numbers of the second set come first of a permutation."""
    order = [names[place] for place in np.random.RandomState(seed).permutation(len(names))]
    return order[second : second + first], order[:second]


def test_published_patients_of_the_prostate_are_what_the_release_draws():
    file = Path(decathlon.__file__).with_name("decathlon_prostate_splits.yaml")
    splits = read_published(file)
    every = [
        0,
        1,
        2,
        4,
        6,
        7,
        10,
        13,
        14,
        16,
        17,
        18,
        20,
        21,
        24,
        25,
        28,
        29,
        31,
        32,
        34,
        35,
        37,
        38,
        39,
        40,
        41,
    ]
    every += [42, 43, 44, 46, 47]
    test = {37, 35, 40, 43, 13, 29, 4}
    pool = [number for number in every if number not in test]

    def named(numbers):
        return {f"prostate_{number:02d}" for number in numbers}

    for fold in range(5):
        train, val = drawn(pool, 22, 3, fold)
        few, _ = drawn(train[:11], 3, 8, fold + 1)
        whole, shots = (splits["advchain"].sets(labelled, fold) for labelled in (None, 3))
        assert whole["test"] == shots["test"] == named(test)
        assert whole["val"] == shots["val"] == named(val)
        assert whole["unlabelled"] == named(train[11:])
        assert whole["train"] == named(train[:11])
        assert shots["train"] == named(few)
        sets = [whole[name] for name in ("train", "val", "test", "unlabelled")]
        assert sum(map(len, sets)) == len(set().union(*sets)) == 32
        assert splits["advchain_upper_bound"].sets(None, fold)["train"] == named(train)


def test_the_published_split_is_taken_as_far_as_its_patients_are_there(task):
    split = data_module("prostate_decathlon", task, *SMALL, "split.fold=1").split
    assert (split.train, split.test) == (("prostate_16",), ("prostate_04", "prostate_13"))
    assert split.unlabelled == ("prostate_00",)


# Pairs of names


def save(path, array):
    sitk = pytest.importorskip("SimpleITK", reason="MetaImage needs SimpleITK: pip install 'medreg[itk]'")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose()))
    image.SetSpacing((0.625, 0.625, 3.6))
    sitk.WriteImage(image, str(path))


def test_promise12_as_it_is_unpacked(tmp_path):
    for number, folder in enumerate(("TrainingData_Part1", "TrainingData_Part1", "TrainingData_Part2")):
        image, label = fixtures.heart((20, 18, 3), radius=4, codes=(1, 1, 1), seed=number)
        save(tmp_path / folder / f"Case{number:02d}.mhd", image)
        save(tmp_path / folder / f"Case{number:02d}_segmentation.mhd", label)
    save(tmp_path / "TestData/Case03.mhd", image)
    data = data_module("promise12", tmp_path, *SMALL, "split.test=1.0", "split.val=0")
    assert cases(data) == ["Case00", "Case01", "Case02"]
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (3, 1, 16, 16)
    assert set(batch["label"].unique().tolist()) == {0, 1}
    assert data.dataset.notes() == ["1 people (Case03) have no labels and are left out"]


def test_nci_isbi_takes_whichever_name_the_label_map_has(tmp_path):
    for number, ending in enumerate(("_truth.nii.gz", "_segmentation.nii.gz")):
        image, label = fixtures.heart((20, 18, 3), radius=4, codes=(1, 2, 2), seed=number)
        for name, array in ((".nii.gz", image), (ending, label)):
            fixtures.write(
                tmp_path / f"Training/ProstateDx-01-000{number}{name}",
                array,
                np.diag([0.625, 0.625, 3.6, 1.0]),
            )
    data = data_module("nci_isbi", tmp_path, *SMALL, "split.test=1.0", "split.val=0")
    assert cases(data) == ["ProstateDx-01-0000", "ProstateDx-01-0001"]
    assert set(next(iter(data.test_dataloader()))["label"].unique().tolist()) == {0, 1, 2}


def test_fields_of_names_are_kept_or_tell_files_apart(tmp_path):
    """As Sunnybrook's slices: subject, series and number of an image in its name, labels in another folder."""
    for site in ("A", "B"):
        for number in (7, 18):
            image, label = fixtures.heart((20, 18, 1), radius=4, codes=(1, 0, 0), seed=number)
            for folder, array in (("images", image), ("labels", label)):
                fixtures.write(tmp_path / f"{site}/{folder}/SC-09-IM-{number:04d}.nii.gz", array, np.eye(4))
    names = (
        "dataset.image='{group}/images/{subject}-IM-{slice}.nii.gz'",
        "dataset.label=['{group}/labels/{subject}-IM-{slice}.nii.gz']",
    )
    data = data_module(
        "named_segmentation_slices", tmp_path, *names, *SMALL[1:],
        "labels={LV: 1}", "split.test=0.5", "split.val=0",
    )  # fmt: skip
    records = data.dataset.records()
    assert [(record.subject, record.group, record.id) for record in records] == [
        (f"{site}_SC-09", site, f"{site}_SC-09_{number}") for site in "AB" for number in ("0007", "0018")
    ]
    assert len(data.split.test) == 1
    assert {batch["label"].max().item() for batch in data.test_dataloader()} == {1}


def test_published_folders_and_patterns_that_cannot_be_meant(tmp_path):
    for split in ("training", "testing"):
        image, label = fixtures.heart((12, 12, 2), radius=3)
        for name, array in (("p.nii.gz", image), ("p_gt.nii.gz", label)):
            fixtures.write(tmp_path / split / split[:4] / name, array, np.eye(4))
    folders = {"train": "training", "test": "testing"}
    source = NamedImages(
        tmp_path, image="{group}/{subject}.nii.gz", label=["{group}/{subject}_gt.nii.gz"], folders=folders
    )
    assert [(record.id, record.split) for record in source.records()] == [
        ("test_p", "test"),
        ("trai_p", "train"),
    ]
    for image, label, message in (
        ("{case}.nii.gz", "x", r"must hold \{subject\}"),
        ("{subject}.nii.gz", "{subject}.nii.gz", "must differ"),
        ("{subject}.nii.gz", "{subject}_{phase}.nii.gz", "no other fields"),
        ("{subject.nii.gz", "x", "not in order"),
    ):
        with pytest.raises(ConfigError, match=message):
            NamedImages(tmp_path, image=image, label=[label])


# Hearts of other centres


def test_mnms_and_ukbb_come_as_single_labelled_slices(tmp_path):
    data = data_module("mnms_segmentation", fixtures.mnms(tmp_path / "mnms"), *SMALL)
    assert cases(data) == ["T9T9T9_ED", "T9T9T9_ES"]
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == batch["label"].shape == (3, 1, 16, 16)
    assert data.labels == {"LV": 1, "MYO": 2, "RV": 3}
    assert "vendor" in data.categories
    root = fixtures.ukbb(tmp_path / "ukbb")
    data = data_module("ukbb_segmentation", root, *SMALL, "split.test=0.5", "split.val=0")
    batch = next(iter(data.test_dataloader()))
    assert batch["image"].shape == (4, 1, 16, 16)
    assert len(batch["case"][0].split("_")[0]) == 12  # hashed
    assert data.split.test + data.split.train == tuple(
        r for r in data.split.test + data.split.train if r.isalnum()
    )


def test_the_same_hearts_on_another_scanner(tmp_path):
    tiny = ("subjects=3", "testing=1", "frames=2", "slices=[2,2]")
    options = (*(f"dataset.prepare.{word}" for word in tiny), "split.val=0.34", "cache.kind=none")
    names = ("cardiac_phantom_segmentation", "cardiac_phantom_segmentation_shifted")
    usual, shifted = (data_module(name, tmp_path, *options) for name in names)
    assert usual.split == shifted.split
    contrast, size = [], []
    for data in (usual, shifted):
        batch = next(iter(data.test_dataloader()))
        image, label = batch["image"][0], batch["label"][0]
        contrast.append(float(image[label == 2].mean() / image[label == 3].mean()))
        size.append(float((label > 0).sum() * batch["spacing_mm"][0].prod()))
    assert contrast[1] > contrast[0] + 0.03
    assert size[1] == pytest.approx(size[0], rel=0.02)
