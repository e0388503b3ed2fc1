"""Batches: order, resume, workers, several processes, unreadable files, caches."""

from __future__ import annotations

import os
import shutil

import data_fixtures as fixtures
import pytest
import torch
from data_build import data_module
from recorded_fit import recorded_fit

from medreg.data.images_dataset import Access
from medreg.data.loader import CaseSampler, EpochSampler
from medreg.data.pairing import Atlas
from medreg.errors import DataError

SMALL = ("split.val=0", "preprocess.spacing_mm=null", "preprocess.size=[16,16]", "loader.batch_size=4")

TINY = (*SMALL[1:], "split.val=0.3", "loader.repeat=4")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fixtures.acdc(tmp_path_factory.mktemp("acdc"))


def digest(batch):
    return [*batch["case"], *batch["slice_index"].tolist(), float(batch["fixed_image"].double().sum())]


def epoch_batches(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return [digest(batch) for batch in loader]


def test_a_resumed_run_sees_the_batches_of_an_uninterrupted_one(root, tmp_path):
    _, whole = recorded_fit(data_module("acdc", root, *TINY), tmp_path / "a", digest, epochs=3)
    trainer, begun = recorded_fit(data_module("acdc", root, *TINY), tmp_path / "b", digest, epochs=1)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    torch.manual_seed(99)  # global random state must not matter
    resumed = data_module("acdc", root, *TINY, "loader.num_workers=2")
    _, rest = recorded_fit(resumed, tmp_path / "b", digest, epochs=3, ckpt=tmp_path / "last.ckpt")
    assert begun + rest == whole
    assert whole[0][1:] != next(row for row in whole if row[0] == 1)[1:]  # epochs differ


def test_workers_give_the_same_batches_and_the_same_message(root, tmp_path):
    alone = epoch_batches(data_module("acdc", root, *SMALL), 1)
    assert epoch_batches(data_module("acdc", root, *SMALL, "loader.num_workers=2"), 1) == alone
    damaged = shutil.copytree(root, tmp_path / "acdc")
    file = damaged / "training/patient002/patient002_frame05.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    messages = []
    for workers in (0, 1):
        data = data_module("acdc", damaged, *SMALL, f"loader.num_workers={workers}")
        with pytest.raises(DataError) as caught:
            list(data.train_dataloader())
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert str(file) in messages[0]
    assert "Traceback" not in messages[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_pairs_can_be_left_out_and_are_counted(root, tmp_path, workers, caplog):
    damaged = shutil.copytree(root, tmp_path / "acdc")
    (damaged / "training/patient002/patient002_frame01.nii.gz").write_bytes(b"not an image")
    (damaged / "testing/patient101/patient101_frame01.nii.gz").write_bytes(b"not an image")
    data = data_module("acdc", damaged, *SMALL, "on_corrupt=skip", f"loader.num_workers={workers}")
    batches = list(data.train_dataloader())
    cases = [name for batch in batches for name in batch["case"]]
    assert len(cases) == 30  # 3 subjects, 10 passes: another pair takes the place of the bad one
    assert not any("patient002" in name for name in cases)
    assert list(data.test_dataloader()) == []
    assert sorted(data.left_out.values()) == [1, 10]
    assert caplog.text.count("Left out") == 2


def test_a_file_that_breaks_between_epochs_is_named(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "acdc")
    data = data_module("acdc", copy, *SMALL, "cache.kind=none")
    loader = data.train_dataloader()
    assert len(list(loader)) == 8
    (copy / "training/patient090/patient090_frame11_gt.nii.gz").unlink()
    with pytest.raises(DataError, match=r"patient090_frame11_gt\.nii\.gz"):
        list(loader)


def test_several_processes_share_cases_without_repeating_one(root):
    dataset = data_module("acdc", root, *SMALL).train_dataloader().dataset
    shares = [list(CaseSampler(dataset, num_replicas=2, rank=rank)) for rank in (0, 1)]
    assert sorted(access.index for share in shares for access in share) == [0, 1, 2]
    assert [len(CaseSampler(dataset, num_replicas=2, rank=rank)) for rank in (0, 1)] == [2, 1]


def test_several_processes_divide_the_epoch_of_one(root):
    dataset = data_module("acdc", root, *SMALL).train_dataloader().dataset

    def order(replicas, rank):
        sampler = EpochSampler(dataset, seed=3, shuffle=True, repeat=2, num_replicas=replicas, rank=rank)
        sampler.set_epoch(5)
        return list(sampler)

    one, (first, second) = order(1, 0), (order(2, 0), order(2, 1))
    assert [access for both in zip(first, second, strict=True) for access in both] == one
    assert sorted(access.index for access in one) == list(range(6))
    assert {access.epoch for access in one} == {5}


def test_more_processes_than_pairs_still_take_equal_steps(root):
    dataset = data_module("acdc", root, *SMALL).train_dataloader().dataset
    options = {"seed": 3, "shuffle": False, "repeat": 1, "num_replicas": 7}
    assert {len(list(EpochSampler(dataset, rank=rank, **options))) for rank in range(7)} == {1}


def test_a_broken_or_outdated_cache_file_is_made_anew(root, tmp_path, caplog):
    copy = shutil.copytree(root, tmp_path / "acdc")
    cache = tmp_path / "cache"
    options = (*SMALL, "cache.kind=disk", f"cache.dir={cache}", "loader.shuffle=false", "loader.repeat=1")
    before = epoch_batches(data_module("acdc", copy, *options), 0)
    files = sorted(cache.glob("*.pt"))
    assert len(files) == 6
    files[0].write_bytes(files[0].read_bytes()[:500])
    assert epoch_batches(data_module("acdc", copy, *options), 0) == before
    assert "is broken" in caplog.text
    image = copy / "training/patient001/patient001_frame01.nii.gz"
    shutil.copy(copy / "training/patient001/patient001_frame04.nii.gz", image)
    os.utime(image, ns=(1, 1))
    assert epoch_batches(data_module("acdc", copy, *options), 0) != before
    assert len(list(cache.glob("*.pt"))) == 7
    epoch_batches(data_module("acdc", copy, *options, "preprocess.spacing_mm=[2,2,null]"), 0)
    assert len(list(cache.glob("*.pt"))) == 13


def test_a_cache_that_cannot_be_written_does_not_end_the_run(root, tmp_path, caplog, monkeypatch):
    def no_space(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("medreg.data.store.torch.save", no_space)
    data = data_module("acdc", root, *SMALL, "cache.kind=disk", f"cache.dir={tmp_path}")
    assert len(list(data.train_dataloader())) == 8
    assert "No space left" in caplog.text


def test_evaluation_does_not_depend_on_the_epoch(root):
    loader = data_module("acdc", root, *SMALL).test_dataloader()
    first = [digest(batch) for batch in loader]
    loader.sampler.set_epoch(7)
    assert [digest(batch) for batch in loader] == first


def test_random_slices_follow_seed_epoch_and_index_only(root):
    dataset = data_module("acdc", root, *SMALL, "seed=5").train_dataloader().dataset
    slices = [int(dataset[Access(epoch, 0)]["slice_index"]) for epoch in range(40)]
    assert set(slices) == {0, 1, 2, 3}  # the empty ones too
    assert slices == [int(dataset[Access(epoch, 0)]["slice_index"]) for epoch in range(40)]


def test_several_slices_per_access_do_not_repeat(root):
    dataset = data_module("acdc", root, *SMALL, "slices.train_count=3").train_dataloader().dataset
    item = dataset[Access(0, 0)]
    assert item["fixed_image"].shape == (3, 1, 16, 16)
    assert len(set(item["slice_index"].tolist())) == 3


def test_fingerprint_changes_with_content_and_settings_only(root, tmp_path):
    first = data_module("acdc", root, *SMALL).fingerprint()
    assert first == data_module("acdc", root, *SMALL).fingerprint()
    assert first["pairs"] == {"train": 3, "val": 0, "test": 1}
    other = data_module("acdc", root, *SMALL, "preprocess.size=[20,20]").fingerprint()
    assert {key for key in first if first[key] != other[key]} == {"preprocess"}
    moved = data_module("acdc", shutil.copytree(root, tmp_path / "x"), *SMALL).fingerprint()
    assert {key for key in first if first[key] != moved[key]} <= {"times"}
    (tmp_path / "x/training/patient001/patient001_frame01.nii.gz").write_bytes(b"x")
    assert data_module("acdc", tmp_path / "x", *SMALL).fingerprint()["files"] != first["files"]


def test_no_pairs_is_a_sentence_that_names_the_options(root):
    data = data_module("acdc", root, "split.val=0", "split.test=1.0", "split.published=false")
    with pytest.raises(DataError, match=r"no train pairs \(subjects: 0 train, 0 val, 4 test\).*data\.split"):
        data.train_dataloader()
    assert data.val_dataloader() == []


def test_a_share_of_the_training_subjects_takes_as_many_steps(root):
    options = ("split.published=false", "split.test=0", *SMALL)
    whole = data_module("acdc", root, *options)
    half = data_module("acdc", root, *options, "limit_train_fraction=0.5")
    assert len(half.pairs("train")) == len(whole.pairs("train")) == 4
    assert {pair.fixed.subject for pair in half.pairs("train")} == {"patient001", "patient002"}
    assert len(half.train_dataloader()) == len(whole.train_dataloader())


def test_an_atlas_takes_part_in_every_set(tmp_path):
    data = data_module("learn2reg", fixtures.learn2reg_unpaired(tmp_path), "split.val=0.25")
    data.pairing = Atlas("0001", "fixed")
    for stage in ("train", "val", "test"):
        pairs = data.pairs(stage)
        assert pairs
        assert {pair.fixed.subject for pair in pairs} == {"0001"}
        assert {pair.moving.subject for pair in pairs} <= set(data.split.subjects(stage))


def test_inventory_lists_what_the_headers_say(root, tmp_path):
    rows = data_module("acdc", root, *SMALL).save_inventory(tmp_path / "data.csv").read_text().splitlines()
    assert len(rows) == 9
    assert "patient101_ES,patient101,ES,,NOR,20x20x2,1.562x1.562x10,LPS,int16" in rows
