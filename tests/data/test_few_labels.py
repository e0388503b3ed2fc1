"""Few labelled subjects among many: who is labelled, what batches hold of the others, whose labels stay shut."""

from __future__ import annotations

import shutil

import data_fixtures as fixtures
import numpy as np
import pytest
import torch
from data_build import data_module
from recorded_fit import recorded_fit

from medreg.data.audit import audit
from medreg.data.folds import parts_of
from medreg.data.intensity import Intensity
from medreg.data.sample import CONTRACTS
from medreg.data.unlabelled_loader import StreamSampler
from medreg.errors import ConfigError, DataError
from medreg.runs.made_of import changes
from medreg.runs.seen import TrainedOn

SMALL = (
    "split.val=0.2", "split.test=0.2", "preprocess.spacing_mm=null", "preprocess.size=[16,16]", "loader.batch_size=4",
    "loader.repeat=3",
)  # fmt: skip
FEW = (*SMALL, "labelled=2", "unlabelled_batch_size=3")
SETS = ("train", "val", "test", "unlabelled")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acdc")
    for number in range(1, 11):
        fixtures.acdc_patient(folder, f"patient{number:03d}", (16, 16, 3), ed=1, es=2, frames=2)
    return folder


def sizes(split):
    return [len(split.subjects(stage)) for stage in SETS]


def batches(data, epoch=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def digest(batch):
    more = batch["unlabelled"]
    return [
        *batch["case"], *batch["slice_index"].tolist(), float(batch["image"].double().sum()),
        *more["case"], *more["slice_index"].tolist(), float(more["image"].double().sum()),
    ]  # fmt: skip


# -- who is labelled ---------------------------------------------------------------------------------


def test_the_rest_of_the_training_subjects_are_unlabelled(root):
    whole = data_module("acdc_segmentation", root, *SMALL).split
    assert sizes(whole) == [6, 2, 2, 0]
    sets = [data_module("acdc_segmentation", root, *SMALL, f"labelled={n}").split for n in (1, 3, 6)]
    assert [sizes(split) for split in sets] == [[1, 2, 2, 5], [3, 2, 2, 3], [6, 2, 2, 0]]
    assert {(split.val, split.test) for split in sets} == {(whole.val, whole.test)}
    assert set(sets[0].train) < set(sets[1].train) < set(sets[2].train) == set(whole.train)
    assert all(set(split.train) | set(split.unlabelled) == set(whole.train) for split in sets)


def test_a_fold_draws_other_labelled_subjects_for_the_same_test(root, caplog):
    sets = [
        data_module("acdc_segmentation", root, *SMALL, "labelled=2", f"split.fold={k}").split
        for k in range(5)
    ]
    assert len({split.test for split in sets}) == 1
    assert len({split.train for split in sets}) > 2
    again = data_module("acdc_segmentation", root, *SMALL, "labelled=2", "split.fold=3").split
    assert again == sets[3]
    assert not caplog.text
    assert data_module("acdc_segmentation", root, *SMALL, "split.fold=3").split.test == again.test
    assert "data.split.fold=3 has no effect" in caplog.text


def test_fewer_unlabelled_subjects_are_some_of_the_unlabelled(root):
    more, fewer = (
        data_module("acdc_segmentation", root, *SMALL, "labelled=1", f"unlabelled={n}").split
        for n in ("null", 2)
    )
    assert fewer.train == more.train
    assert (len(fewer.unlabelled), set(fewer.unlabelled) < set(more.unlabelled)) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["labelled=0"], r"data\.labelled is 0; give a number of training subjects of 1 or more"),
        (["labelled=7"], r"data\.labelled=7: only 6 training subjects have label maps"),
        (["labelled=2", "unlabelled=5"], r"data\.unlabelled=5: there are 4 unlabelled subjects"),
        (["unlabelled=1"], r"data\.unlabelled=1: there are 0 unlabelled subjects"),
        (["unlabelled=-1"], r"data\.unlabelled is -1"),
        (["unlabelled_batch_size=-1"], r"data\.unlabelled_batch_size is -1"),
        (["split.fold=-1"], r"data\.split\.fold is -1; it must be 0 or more"),
        (["split.folds=4", "split.fold=4"], r"data\.split\.fold is 4; it must be from 0 to 3"),
        (["split.folds=1"], r"data\.split\.folds is 1; give a number of 2 or more"),
        (["split.folds=11"], r"data\.split\.folds=11: there are 10 subjects"),
        (["labelled=2", "split.train_on_evaluation=true"], "exclude each other"),
        (["labelled=2", "images.modalities=[t1]"], r"none of the 6 training subjects has a label map"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_before_anything_is_read(root, options, message):
    with pytest.raises(ConfigError, match=message):
        data_module("acdc_segmentation", root, *SMALL, *options).setup()


# -- cross-validation --------------------------------------------------------------------------------


def test_every_subject_is_tested_in_one_fold(root):
    options = [*SMALL, "split.folds=5", "labelled=3"]
    sets = [data_module("acdc_segmentation", root, *options, f"split.fold={k}").split for k in range(5)]
    assert sorted(name for split in sets for name in split.test) == [f"patient{n:03d}" for n in range(1, 11)]
    assert {tuple(sizes(split)) for split in sets} == {(3, 2, 2, 3)}


def test_folds_are_alike_in_their_groups(root):
    records = data_module("acdc_segmentation", root).dataset.records()
    groups = {record.subject: "AB"[int(record.subject[-3:]) > 4] for record in records}
    told = [type(r)(r.subject, r.image, group=groups[r.subject], id=r.id) for r in records]
    parts = parts_of(told, 2, seed=3)
    assert sorted(name for part in parts for name in part) == sorted(groups)
    assert [sum(groups[name] == "A" for name in part) for part in parts] == [2, 2]
    assert parts != parts_of(told, 2, seed=4)


def test_folds_and_sets_that_the_data_set_names_exclude_each_other(tmp_path):
    folder = fixtures.acdc(tmp_path)
    with pytest.raises(
        ConfigError, match=r"names 1 validation or test subjects.*data\.split\.published=false"
    ):
        data_module("acdc_segmentation", folder, "split.folds=2").setup()
    free = data_module("acdc_segmentation", folder, "split.folds=2", "split.published=false", "split.val=0")
    assert sizes(free.split) == [2, 0, 2, 0]


# -- what batches hold -------------------------------------------------------------------------------


def test_training_batches_hold_a_batch_of_unlabelled_images(root):
    data = data_module("acdc_segmentation", root, *FEW)
    found = batches(data)
    assert len(found) == len(data.train_dataloader()) == 3  # 2 subjects, 2 phases, 3 passes, 4 in a batch
    always = set(CONTRACTS["images"].always)
    for batch in found:
        more = batch["unlabelled"]
        assert set(batch) >= data.provides >= {*always, "label", "unlabelled"}
        assert set(more) == {*always, "covariates"}
        assert more["image"].shape == (3, 1, 16, 16)
        assert {case[:10] for case in more["case"]} <= set(data.split.unlabelled)
        assert {case[:10] for case in batch["case"]} <= set(data.split.train)
    assert all("unlabelled" not in batch for batch in (*data.val_dataloader(), *data.test_dataloader()))


def test_nothing_is_loaded_where_nobody_asks_for_it(root):
    plain = data_module("acdc_segmentation", root, *SMALL, "labelled=2")
    assert "unlabelled" not in plain.provides
    assert "unlabelled" not in plain.contents()
    assert all("unlabelled" not in batch for batch in batches(plain))


def test_none_unlabelled_is_a_warning_and_no_key(root, caplog):
    data = data_module("acdc_segmentation", root, *SMALL, "unlabelled_batch_size=3")
    assert "unlabelled" not in data.provides
    assert "unlabelled" not in batches(data)[0]
    assert "data.unlabelled_batch_size=3 has no effect" in caplog.text


def test_label_maps_of_unlabelled_subjects_are_never_opened(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "acdc")
    before = batches(data_module("acdc_segmentation", root, *FEW))
    for name in data_module("acdc_segmentation", copy, *FEW).split.unlabelled:
        for file in (copy / "training" / name).glob("*_gt.nii.gz"):
            file.write_bytes(b"poison")
    data = data_module("acdc_segmentation", copy, *FEW)
    assert [digest(batch) for batch in batches(data)] == [digest(batch) for batch in before]
    assert not audit(data_module("acdc_segmentation", copy, *FEW)).failed
    with pytest.raises(DataError, match="cannot be read"):
        batches(data_module("acdc_segmentation", copy, *SMALL))
    for name in data.split.unlabelled:
        for file in (copy / "training" / name).glob("*_gt.nii.gz"):
            file.unlink()
    with pytest.raises(DataError, match=r"_gt\.nii\.gz is missing; data\.dataset\.unlabelled=true"):
        data_module("acdc_segmentation", copy, *FEW).setup()
    bare = data_module(
        "acdc_segmentation", copy, *SMALL, "unlabelled_batch_size=3", "dataset.unlabelled=true"
    )
    assert bare.split == data.split
    assert [digest(batch) for batch in batches(bare)] == [digest(batch) for batch in before]


def test_images_without_label_maps_are_unlabelled(tmp_path):
    rows = ["image,label,split"]
    for number in range(6):
        image, label = fixtures.heart((12, 12, 4), radius=3, seed=number)
        fixtures.write(tmp_path / f"{number}.nii.gz", image, np.eye(4))
        named = number % 2 == 0
        if named:
            fixtures.write(tmp_path / f"{number}_gt.nii.gz", label, np.eye(4))
        rows.append(
            f"{number}.nii.gz,{f'{number}_gt.nii.gz' if named else ''},{'test' if number == 4 else ''}"
        )
    (tmp_path / "images.csv").write_text("\n".join(rows) + "\n")
    options = ("cache.kind=none", "split.val=0", "unlabelled_batch_size=2", "loader.batch_size=2")
    data = data_module("folder_segmentation", tmp_path, *options)
    assert data.split.train == ("image001", "image003")
    assert data.split.unlabelled == ("image002", "image004", "image006")
    (batch,) = batches(data)
    assert batch["label"].shape == batch["image"].shape == (2, 1, 12, 12, 4)
    assert batch["unlabelled"]["image"].shape == (2, 1, 12, 12, 4)
    fewer = data_module("folder_segmentation", tmp_path, *options, "labelled=1")
    assert len(fewer.split.unlabelled) == 4
    with pytest.raises(ConfigError, match=r"only 2 training subjects have label maps \(3 have none\)"):
        data_module("folder_segmentation", tmp_path, *options, "labelled=3").setup()


def test_volumes_have_unlabelled_volumes(root):
    volumes = ("preprocess.spacing_mm=null", "preprocess.size=[16,16,8]", "split.val=0", "cache.kind=none")
    data = data_module("acdc_segmentation_volume", root, *volumes, "labelled=2", "unlabelled_batch_size=2")
    batch = batches(data)[0]
    assert batch["image"].shape == batch["label"].shape == (1, 1, 16, 16, 8)
    assert batch["unlabelled"]["image"].shape == (2, 1, 16, 16, 8)
    assert float(batch["image"][..., :2].abs().max()) == 0 < float(batch["image"].max())  # 3 slices, padded


def test_hearts_of_the_phantom_can_be_few(tmp_path):
    tiny = ("subjects=6", "testing=1", "frames=2", "slices=[2,2]", "size=[32,32]")
    options = (*(f"dataset.prepare.{word}" for word in tiny), "preprocess.size=[32,32]", "split.val=0.2")
    data = data_module(
        "cardiac_phantom_segmentation", tmp_path, *options, "labelled=1", "unlabelled_batch_size=2"
    )
    assert sizes(data.split) == [1, 1, 1, 3]
    assert batches(data)[0]["unlabelled"]["image"].shape == (2, 1, 32, 32)


# -- the stream --------------------------------------------------------------------------------------


def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(root, tmp_path):
    _, whole = recorded_fit(data_module("acdc_segmentation", root, *FEW), tmp_path / "a", digest, epochs=3)
    trainer, begun = recorded_fit(
        data_module("acdc_segmentation", root, *FEW), tmp_path / "b", digest, epochs=1
    )
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    torch.manual_seed(99)  # global random state must not matter
    resumed = data_module("acdc_segmentation", root, *FEW, "loader.num_workers=1")
    _, rest = recorded_fit(resumed, tmp_path / "b", digest, epochs=3, ckpt=tmp_path / "last.ckpt")
    assert len(whole) == 9
    assert begun + rest == whole


def test_an_epoch_ends_with_the_labelled_images(root):
    data = data_module("acdc_segmentation", root, *FEW, "loader.batch_size=5", "loader.drop_last=true")
    found = batches(data)
    assert [len(batch["case"]) for batch in found] == [5, 5]
    assert [len(batch["unlabelled"]["case"]) for batch in found] == [3, 3]


def test_the_stream_goes_on_through_the_epochs(root):
    data = data_module("acdc_segmentation", root, *FEW)
    items = len(data.items("unlabelled"))  # 4 subjects, 2 phases; 9 an epoch
    seen = [
        case for epoch in range(8) for batch in batches(data, epoch) for case in batch["unlabelled"]["case"]
    ]
    counts = {case: seen.count(case) for case in set(seen)}
    assert (items, len(counts), set(counts.values())) == (8, 8, {9})


def order(*, replicas=1, rank=0, epoch=0, items=7, count=6, shuffle=True):
    sampler = StreamSampler(
        range(items), seed=3, shuffle=shuffle, count=count, num_replicas=replicas, rank=rank
    )
    sampler.set_epoch(epoch)
    return list(sampler)


def test_processes_share_the_stream_of_one():
    one = order(count=12, epoch=2)
    first, second = (order(replicas=2, rank=rank, epoch=2) for rank in (0, 1))
    assert [access for both in zip(first, second, strict=True) for access in both] == one
    whole = [access for epoch in range(7) for access in order(epoch=epoch)]
    assert [sorted(a.index for a in whole[7 * k : 7 * k + 7]) for k in range(6)] == [list(range(7))] * 6
    assert [access.epoch for access in whole[::7]] == list(range(6))
    assert [access.index for access in order(shuffle=False, epoch=1)] == [6, 0, 1, 2, 3, 4]


def test_unreadable_unlabelled_images_are_left_out_and_counted(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "acdc")
    options = (*FEW, "on_corrupt=skip")
    names = data_module("acdc_segmentation", copy, *options).split.unlabelled
    (copy / f"training/{names[0]}/{names[0]}_frame01.nii.gz").write_bytes(b"not an image")
    data = data_module("acdc_segmentation", copy, *options)
    assert all(len(batch["unlabelled"]["case"]) == 3 for batch in batches(data))
    assert len(data.left_out) == 1
    for name in names:
        for file in (copy / "training" / name).glob("*_frame??.nii.gz"):
            file.write_bytes(b"not an image")
    with pytest.raises(DataError, match="None of the unlabelled images can be read"):
        batches(data_module("acdc_segmentation", copy, *options))


# -- what else asks about the sets -------------------------------------------------------------------


def test_unlabelled_images_count_as_trained_on(root):
    with_, without = (
        data_module("acdc_segmentation", root, *SMALL, "labelled=2", f"unlabelled_batch_size={n}")
        for n in (3, 0)
    )
    assert TrainedOn.of_data(with_).subjects == {*with_.split.train, *with_.split.unlabelled}
    assert TrainedOn.of_data(without).subjects == set(without.split.train)
    assert len(TrainedOn.of_data(with_).images) == 12
    assert with_.fingerprint()["images"] == {"train": 4, "val": 4, "test": 4, "unlabelled": 8}


def test_other_unlabelled_images_are_other_training_data(root, tmp_path, monkeypatch):
    now = data_module("acdc_segmentation", root, *FEW).contents()
    before = {**now, "unlabelled": {}}
    monkeypatch.setattr("medreg.runs.made_of.remembered", lambda folder: before)
    found = changes(tmp_path, {}, now)
    assert found.training[0].startswith("8 unlabelled cases are new")
    assert found.test == ()


def test_the_doctor_counts_unlabelled_subjects(root):
    found = audit(data_module("acdc_segmentation", root, *FEW))
    assert found.facts["subjects per set"] == "train 2, val 2, test 2, unlabelled 4"
    assert found.facts["images per set"] == "train 4, val 4, test 4, unlabelled 8"


def test_slices_can_be_stretched_after_limits_of_the_volume():
    image = torch.tensor([[0.0, 1.0, 2.0, 10.0], [5.0, 6.0, 7.0, 8.0]]).T.reshape(1, 2, 2, 2)
    options = {"percentiles": [0, 80], "window": None, "scope": "volume"}
    plain, stretched = (Intensity(**options, stretch_slices=on) for on in (False, True))
    limits = plain.limits(image)
    assert float(plain.applied(image, limits)[..., 1].min()) > 0.5
    found = stretched.applied(image, limits)
    assert found.amin((0, 1, 2)).tolist() == [0, 0]
    assert found.amax((0, 1, 2)).tolist() == [1, 1]
    torch.testing.assert_close(found[0, 0, 1, 0], torch.tensor(1.0) / limits[1, 0])
    with pytest.raises(ConfigError, match="joint=true has no effect"):
        Intensity(**options, joint=True, stretch_slices=True)


def test_limits_can_be_those_of_the_image_before_its_crop(root):
    """A wider crop pads with zeros, which count as the darkest voxels of the cropped volume."""
    darkest = {}
    for scope in ("image", "volume"):
        options = (
            "preprocess.spacing_mm=null",
            "preprocess.size=[48,48]",
            f"preprocess.intensity.scope={scope}",
        )
        data = data_module("acdc_segmentation", root, *options, "preprocess.intensity.percentiles=[20,100]")
        image = data.samples("train")[0]["image"]
        darkest[scope] = float((image[:, :, 16:32, 16:32] == 0).float().mean())
    assert 0.1 < darkest["image"] < 0.4
    assert darkest["volume"] == 0
