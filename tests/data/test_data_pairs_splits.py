"""Pairing schemes and splits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medreg.data.pairing import Atlas, InterSubject, IntraSubject
from medreg.data.records import Record
from medreg.data.splits import SubjectSplit, assert_disjoint, kept_by, repeat_to
from medreg.errors import ConfigError, DataError


def people(count, *, modalities=("",), splits=()):
    return [
        Record(f"s{i:02d}", Path(f"s{i:02d}{m}.nii.gz"), modality=m, split=splits[i] if splits else None)
        for i in range(count)
        for m in modalities
    ]


def ids(pairs):
    return [(pair.fixed.subject, pair.moving.subject) for pair in pairs]


def test_next_is_a_ring_and_all_is_every_ordered_pair():
    rule = InterSubject("next", "all")
    assert ids(rule.pairs(people(3), listed=(), training=True)) == [
        ("s00", "s01"),
        ("s01", "s02"),
        ("s02", "s00"),
    ]
    assert len(rule.pairs(people(4), listed=(), training=False)) == 12
    assert rule.pairs(people(1), listed=(), training=True) == []


def test_multi_modal_pairs_have_fixed_and_moving_modalities():
    records = people(3, modalities=("T1", "T2"))
    rule = InterSubject("next", "next", fixed_modality="T1", moving_modality="T2")
    pairs = rule.pairs(records, listed=(), training=True)
    assert {(pair.fixed.modality, pair.moving.modality) for pair in pairs} == {("T1", "T2")}
    same = IntraSubject(fixed_modality="T2", moving_modality="T1").pairs(records, listed=(), training=True)
    assert ids(same) == [(f"s0{i}", f"s0{i}") for i in range(3)]
    with pytest.raises(ConfigError, match="set fixed_phase or fixed_modality"):
        IntraSubject().pairs(records, listed=(), training=True)


def test_random_partners_follow_the_generator_and_are_never_oneself():
    records = people(5)
    rule = InterSubject("random", "next")
    pair = rule.pairs(records, listed=(), training=True)[2]
    drawn = [
        rule.draw(pair, records, np.random.default_rng([1, epoch, 2])).moving.subject for epoch in range(60)
    ]
    assert set(drawn) == {"s00", "s01", "s03", "s04"}
    assert drawn == [
        rule.draw(pair, records, np.random.default_rng([1, e, 2])).moving.subject for e in range(60)
    ]
    himself = InterSubject("random", "next", allow_self=True)
    assert "s02" in {himself.draw(pair, records, np.random.default_rng(e)).moving.subject for e in range(60)}


def test_atlas_meets_everybody():
    pairs = Atlas("s01", "fixed").pairs(people(4), listed=(), training=True)
    assert ids(pairs) == [("s01", "s00"), ("s01", "s02"), ("s01", "s03")]
    assert ids(Atlas("s01", "moving").pairs(people(2), listed=(), training=True)) == [("s00", "s01")]
    with pytest.raises(DataError, match="does not hold"):
        Atlas("s09", "fixed").pairs(people(2), listed=(), training=True)


def test_split_is_by_subject_seeded_and_disjoint():
    records = people(20, modalities=("T1", "T2"))
    split = SubjectSplit(True, 0.1, 0.25, seed=4).assign(records)
    assert [len(split.subjects(stage)) for stage in ("train", "val", "test")] == [13, 2, 5]
    assert split == SubjectSplit(True, 0.1, 0.25, seed=4).assign(records[::-1])
    assert split != SubjectSplit(True, 0.1, 0.25, seed=5).assign(records)
    assert_disjoint({stage: set(split.subjects(stage)) for stage in ("train", "val", "test")})
    with pytest.raises(DataError, match="s00"):
        assert_disjoint({"train": {"s00"}, "val": {"s00"}, "test": set()})


def test_published_sets_stay_and_fractions_fill_the_rest():
    records = people(12, splits=["train"] * 10 + ["test"] * 2)
    split = SubjectSplit(True, 0.2, 0.5, seed=0).assign(records)
    assert split.test == ("s10", "s11")
    assert (len(split.val), len(split.train)) == (2, 8)
    assert len(SubjectSplit(False, 0.0, 0.5, seed=0).assign(records).test) == 6


def test_a_saved_split_is_read_back(tmp_path):
    records = people(10)
    split = SubjectSplit(True, 0.2, 0.2, seed=1).assign(records)
    file = split.save(tmp_path / "run" / "split.csv")
    again = SubjectSplit(True, 0.5, 0.0, seed=9, file=str(file)).assign(records)
    assert again == split
    for content in (
        {s: stage for stage in ("train", "val", "test") for s in split.subjects(stage)},
        {stage: list(split.subjects(stage)) for stage in ("train", "val", "test")},
    ):
        (tmp_path / "split.json").write_text(json.dumps(content))
        assert (
            SubjectSplit(True, 0.5, 0.0, seed=9, file=str(tmp_path / "split.json")).assign(records) == split
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject,split\ns00,train\ns00,test\n", "in both train and test"),
        ("subject,split\ns77,train\n", "does not hold"),
        ("subject,split\ns00,training\n", "choose train, val or test"),
        ("name,split\ns00,train\n", "needs the columns"),
    ],
)
def test_mistakes_in_a_split_file_are_named(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        SubjectSplit(True, 0.0, 0.0, seed=0, file=str(tmp_path / "s.csv")).assign(people(2))


def test_limited_training_keeps_the_number_of_steps():
    names = [f"s{i}" for i in range(10)]
    assert repeat_to(kept_by(names, 0.3), 10) == ["s0", "s1", "s2"] * 3 + ["s0"]
    assert kept_by(names, 1.0) == names
    assert len(set(kept_by([str(i) for i in range(100)], 0.29))) == 29
    with pytest.raises(ConfigError, match="leaves none"):
        kept_by(names, 0.05)
    with pytest.raises(ConfigError, match=r"lies in \(0, 1\]"):
        kept_by(names, 0.0)
