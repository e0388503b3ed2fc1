"""Copies of training hearts are found; hearts that only spread too little are no copies."""

from __future__ import annotations

import numpy as np
import pytest

from medreg.metrics.hearts.memorisation import MOST_VOXELS, distances_between, memorisation, outline

SIZE = 24


def hearts(count, seed, spread=1.0):
    """First frames with a box of LV in a box of MYO and one of RV, of random places and sizes."""
    generator, made = np.random.default_rng(seed), []
    for _ in range(count):
        shape = np.zeros((1, SIZE, SIZE, SIZE), np.uint8)
        at, size = 9 + spread * generator.normal(0, 1.5, 3), 7 + spread * generator.normal(0, 1.2, 3)
        low, high = np.round(at - size / 2).astype(int), np.round(at + size / 2).astype(int)
        shape[0][tuple(slice(max(a - 2, 0), b + 2) for a, b in zip(low, high, strict=True))] = 2
        shape[0][tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))] = 1
        place = int(18 + spread * generator.normal(0, 1))
        shape[0, place : place + 4, 8:14, 8:14] = 3
        made.append(outline(shape))
    return made


def judged(modelled, held_out, training):
    return memorisation(
        modelled, held_out, training, 3, own=[i % len(held_out) for i in range(len(modelled))], seed=1
    )


def test_distance_is_one_less_the_mean_dice():
    one, other = np.zeros((2, 1, 4, 4, 4), np.uint8)
    one[0, :2], other[0, 1:3] = 1, 1
    one[0, 3], other[0, 3] = 2, 2
    found = distances_between([outline(one)], [outline(other), outline(one)], 3)
    assert found[0] == pytest.approx([1 - (0.5 + 1.0) / 2, 0.0])


def test_new_hearts_of_the_same_law_are_no_copies():
    found = judged(hearts(80, 1), hearts(60, 2), hearts(300, 3))
    assert found.ratio == pytest.approx(1.0, abs=0.15)
    assert found.p > 0.01
    assert found.against_held_out == pytest.approx(1.0, abs=0.15)
    assert found.against_held_out_p > 0.01


def test_copies_are_found():
    training = hearts(300, 3)
    found = judged(training[:80], hearts(60, 2), training)
    assert found.ratio == 0.0
    assert found.copies_percent > 90
    assert found.p < 1e-6
    assert found.against_held_out_p < 1e-3


def test_a_few_copies_among_many_new_hearts_are_counted():
    training = hearts(300, 3)
    found = judged([*hearts(90, 1), *training[:10]], hearts(60, 2), training)
    assert found.ratio > 0.8
    assert found.copies_percent >= 9


def test_hearts_that_spread_too_little_are_near_both_kinds():
    found = judged(hearts(80, 1, spread=0.3), hearts(60, 2), hearts(300, 3))
    assert found.ratio < 0.9  # nearer to training hearts than real ones are
    assert found.against_held_out == pytest.approx(1.0, abs=0.12)  # and as near to held-out ones


def test_large_grids_are_thinned_out():
    assert outline(np.zeros((2, 16, 16, 8), np.uint8)).size == 16 * 16 * 8
    assert outline(np.zeros((1, 128, 128, 64), np.uint8)).size <= MOST_VOXELS


def test_too_few_hearts_say_nothing():
    assert judged(hearts(2, 1), hearts(5, 2), hearts(5, 3)) is None


def test_fewer_training_than_held_out_hearts_are_compared_with_as_many():
    found = judged(hearts(30, 1), hearts(40, 2), hearts(12, 3))
    assert found.against_held_out == pytest.approx(1.0, abs=0.2)
