"""Corrupted copies of test images: active, repeatable, weaker and stronger, and never a silent no-op."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import data_fixtures as fixtures
import numpy as np
import pytest
import torch
from data_build import data_config, data_module
from monai.data.dataset import CacheDataset

from medreg.config.instantiate import build
from medreg.data.artefacts.base import Artefact
from medreg.data.corruption import LEAST, Corruption, Corruptions, changed_share
from medreg.errors import ConfigError, DataError, MissingExtra

KINDS = ("motion", "spike", "ghosting", "bias")
SMALL = ("preprocess.spacing_mm=null", "preprocess.size=[16,16]", "split.val=0.34", "cache.kind=none")
SPACING = (1.5, 1.5, 8.0)


@pytest.fixture(scope="module")
def torchio():
    return pytest.importorskip(
        "torchio", reason="corrupted images need TorchIO: pip install 'medreg[corruption]'"
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return fixtures.acdc(tmp_path_factory.mktemp("acdc"))


@pytest.fixture(scope="module")
def copies(torchio):
    """The first copy of each kind, as the configuration makes it."""
    made = build(data_config("acdc_corrupted", None).corruption).of("patient101_ED")
    return {found.kind: found for found in made if found.copy == 1}


def heart(depth):
    return torch.from_numpy(fixtures.heart((32, 28, depth), radius=6)[0]).float().unsqueeze(0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [5, 1])
def test_a_copy_differs_is_repeatable_and_grows_with_its_strength(copies, kind, depth):
    image, copy = heart(depth), copies[kind]
    made = copy(image, SPACING)
    assert made.shape == image.shape
    assert changed_share(image, made) > LEAST
    assert torch.equal(made, copy(image, SPACING))
    shares = [changed_share(image, replace(copy, strength=s)(image, SPACING)) for s in (0.0, 0.25, 0.5, 1.0)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert len(set(shares)) == 4


def test_a_single_slice_moves_and_has_ghosts_in_its_plane_only(copies):
    motion, ghosting = copies["motion"].artefact, copies["ghosting"].artefact
    flat, solid = (
        motion.draw((depth, 32, 28), generator=np.random.default_rng(1), strength=1.0) for depth in (1, 5)
    )
    assert not flat.degrees[:, 1:].any()
    assert not flat.translation[:, 0].any()
    assert flat.degrees[:, 0].all()
    assert solid.degrees.all()
    drawn = [
        ghosting.draw((1, 32, 28), generator=np.random.default_rng(n), strength=1.0).axis for n in range(20)
    ]
    assert set(drawn) == {1, 2}


def test_shifts_are_in_voxels_or_in_mm(copies):
    image, copy = heart(5), copies["motion"]
    coarse = (40.0, 40.0, 40.0)  # 10 mm are a quarter of a voxel
    in_mm = replace(copy, artefact=replace(copy.artefact, unit="mm", degrees=0.0))
    in_voxels = replace(copy, artefact=replace(copy.artefact, degrees=0.0))
    assert changed_share(image, in_mm(image, coarse)) < 0.5 * changed_share(image, in_voxels(image, coarse))
    assert torch.equal(in_voxels(image, coarse), in_voxels(image, SPACING))
    with pytest.raises(ConfigError, match=r"motion\.unit is 'cm'; choose mm or voxels"):
        replace(copy.artefact, unit="cm")


def test_copies_depend_on_seed_case_kind_and_number_only(copies):
    image, copy = heart(5), copies["bias"]
    state = torch.get_rng_state()
    made = copy(image, SPACING)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(5)
    assert torch.equal(copy(image, SPACING), made)
    for other in (
        replace(copy, seed=1),
        replace(copy, case="a"),
        replace(copy, kind="b"),
        replace(copy, copy=2),
    ):
        assert not torch.equal(other(image, SPACING), made)


class Nothing(Artefact):
    """As TorchIO 2 would do by default."""

    def draw(self, shape, *, generator, strength):
        raise AssertionError

    def __call__(self, image, **options):
        return image.clone()


def test_a_library_that_does_nothing_is_refused():
    copy = Corruption("p_ED", "motion", 1, Nothing(), 1.0, 0, "2.0.0")
    with pytest.raises(DataError, match=r"motion of p_ED changes the image by 0\.0e\+00.*perfect robustness"):
        copy(heart(3), SPACING)


def test_without_torchio_the_sentence_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchio", None)
    with pytest.raises(MissingExtra, match=r"data\.corruption.*pip install 'medreg\[corruption\]'"):
        data_module("acdc_corrupted", root, *SMALL).setup()
    clean = data_module("acdc_corrupted", root, *SMALL, "corruption.strength=0")
    assert len(clean.items("test")) == 2 * 4 * 3
    monkeypatch.setitem(sys.modules, "torchio", types.SimpleNamespace(__version__="2.0.0a1"))
    with pytest.raises(MissingExtra, match=r"TorchIO 2\.0\.0a1 is installed.*medreg\[corruption\]"):
        data_module("acdc_corrupted", root, *SMALL).setup()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("copies=0", "copies is 0"),
        ("strength=-1", "strength is -1"),
        ("seed=-1", "seed is -1"),
        ("kinds.spike.intensity=[3,1]", r"spike\.intensity is \[3, 1\]"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        build(data_config("acdc_corrupted", None, f"corruption.{change}").corruption)
    with pytest.raises(ConfigError, match="kinds is empty"):
        Corruptions({}, copies=1, strength=1.0, seed=0)


def test_test_images_come_in_named_copies_and_training_images_as_they_are(root, torchio):
    data, clean = (data_module(name, root, *SMALL) for name in ("acdc_corrupted", "acdc_segmentation"))
    assert [item.id for item in data.items("train")] == [item.id for item in clean.items("train")]
    assert [item.id for item in data.items("val")] == [item.id for item in clean.items("val")]
    names = [item.id for item in data.items("test")]
    phases = ("ED", "ES")
    assert names == [f"patient101_{p}_{kind}_{n}" for p in phases for kind in KINDS for n in (1, 2, 3)]
    originals = {case["case"][0]: case for case in clean.test_dataloader()}
    for case in data.test_dataloader():
        original = originals["_".join(case["case"][0].split("_")[:2])]
        assert torch.equal(case["label"], original["label"])
        assert float((case["image"] - original["image"]).abs().mean()) > LEAST
        assert float(case["image"].min()) >= 0
        assert float(case["image"].max()) <= 1


def test_strength_zero_is_the_clean_image_and_part_of_what_identifies_the_data(root, torchio):
    options = (*SMALL[:-1], "cache.kind=disk", f"cache.dir={root}/cache")
    one, zero = (
        data_module("acdc_corrupted", root, *options, f"corruption.strength={strength}")
        for strength in (1, 0)
    )
    assert one.fingerprint()["content"]["test"] != zero.fingerprint()["content"]["test"]
    assert one.fingerprint()["content"]["train"] == zero.fingerprint()["content"]["train"]
    assert [item.id for item in one.items("test")] == [item.id for item in zero.items("test")]
    clean = next(iter(data_module("acdc_segmentation", root, *SMALL).test_dataloader()))
    first, second = (next(iter(data.test_dataloader())) for data in (one, zero))
    assert torch.equal(second["image"], clean["image"])
    assert not torch.equal(first["image"], clean["image"])  # the cache has told them apart
    assert torch.equal(next(iter(one.test_dataloader()))["image"], first["image"])


def test_copies_are_not_kept_in_memory(root, torchio):
    data = data_module("acdc_corrupted", root, *SMALL[:-1], "corruption.copies=1")
    assert data.cache.kind == "memory"
    first, again = (next(iter(data.test_dataloader()))["image"] for _ in range(2))
    assert torch.equal(first, again)
    assert not isinstance(data.samples("test").store.dataset, CacheDataset)
    assert isinstance(data.samples("train").store.dataset, CacheDataset)


def test_volumes_and_the_phantom(tmp_path, torchio):
    tiny = ("subjects=3", "testing=1", "frames=2", "slices=[3,3]", "size=[48,48]")
    options = (*(f"dataset.prepare.{word}" for word in tiny), "split.val=0.34", "corruption.copies=1")
    flat = data_module("cardiac_phantom_corrupted", tmp_path, *options, "preprocess.size=[48,48]")
    assert [batch["case"][0] for batch in flat.test_dataloader()][:2] == [
        "patient003_ED_motion_1", "patient003_ED_spike_1",
    ]  # fmt: skip
    solid = data_module(
        "cardiac_phantom_corrupted", tmp_path, *options, "ndim=3", "slices=null", "preprocess.size=[48,48,null]",
        "preprocess.intensity.scope=volume",
    )  # fmt: skip
    images = [batch["image"] for batch in solid.test_dataloader()]
    assert {tuple(image.shape) for image in images} == {(1, 1, 48, 48, 3)}
    assert len({float(image.sum()) for image in images}) == len(images) == 8


@pytest.mark.data
def test_every_corrupted_image_of_acdc_differs_from_its_clean_one(shared_data, torchio):
    folder = shared_data / "acdc_official"
    if not folder.is_dir():
        pytest.skip("needs the official layout of ACDC")
    options = ("split.test=0.05", "corruption.copies=1", "cache.kind=none")
    data = data_module("acdc_corrupted", folder, *options)
    clean = data_module("acdc_segmentation", folder, *options[::2])
    originals = {case["case"][0]: case["image"] for case in clean.test_dataloader()}
    shares = [
        float((case["image"] - originals["_".join(case["case"][0].split("_")[:2])]).abs().mean())
        for case in data.test_dataloader()
    ]
    assert len(shares) == 4 * len(originals)
    assert np.min(shares) > LEAST
