"""Prepared stacks that are kept: the same batches, without preparing a pair twice."""

from __future__ import annotations

import data_fixtures as fixtures
import pytest
import torch
from data_build import data_module

from medreg.data.preprocess import Preprocess
from medreg.data.records import Pair
from medreg.data.stacks import KeptStacks

STACKS = (
    "split.val=0", "preprocess.spacing_mm=null", "preprocess.size=[16,16]", "preprocess.resize=[12,20]",
    "loader.batch_size=4", "loader.num_workers=0", "loader.repeat=5", "slices.among=labelled",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fixtures.acdc(tmp_path_factory.mktemp("acdc"))


@pytest.fixture
def prepared(monkeypatch):
    """The number of preparations so far."""
    calls, original = [], Preprocess.prepare

    def counted(self, *args, **kwargs):
        calls.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Preprocess, "prepare", counted)
    return calls


def batches(data, epoch):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    return list(loader)


def test_batches_are_those_of_preparing_every_time(root):
    kept, anew = (data_module("acdc", root, *STACKS, f"cache.kind={kind}") for kind in ("memory", "none"))
    for epoch in (0, 1):
        for one, other in zip(batches(kept, epoch), batches(anew, epoch), strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                if isinstance(value, torch.Tensor):
                    assert value.dtype == other[key].dtype
                    torch.testing.assert_close(value, other[key], rtol=0, atol=1e-6)
                else:
                    assert value == other[key]


def test_a_pair_is_prepared_once(root, prepared):
    data = data_module("acdc", root, *STACKS, "cache.kind=memory")
    samples = sum(len(batch["case"]) for batch in batches(data, 0))
    assert samples > len(prepared) == len(data.pairs("train"))


def test_a_batch_may_be_changed(root):
    data = data_module("acdc", root, *STACKS, "cache.kind=memory")
    loader = data.train_dataloader()
    first = [batch["fixed_image"].sum().item() for batch in loader]
    for batch in loader:
        batch["fixed_image"].zero_()
    assert [batch["fixed_image"].sum().item() for batch in loader] == first


def test_pairs_more_numerous_than_images_and_drawn_ones_are_not_kept(root):
    pairs = data_module("acdc", root, *STACKS).pairs("train")
    swapped = Pair(pairs[0].moving, pairs[0].fixed)
    kept = KeptStacks(pairs, images=len(pairs))
    assert kept.takes(pairs[0])
    assert not kept.takes(swapped)
    assert not KeptStacks([*pairs, swapped], images=len(pairs)).takes(pairs[0])
    assert not KeptStacks(pairs, images=0).takes(pairs[0])
