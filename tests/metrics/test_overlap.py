"""Dice: closed forms, SimpleITK, and the rules for structures that are missing or lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from medreg.errors import ConfigError
from medreg.metrics.overlap import dice, joint_histogram, label_index, voxel_counts


def blocks(*pairs, shape=(1, 1, 12, 10)):
    """Label map with rectangles: (code, rows, columns)."""
    labels = torch.zeros(shape, dtype=torch.int64)
    for code, rows, columns in pairs:
        labels[..., slice(*rows), slice(*columns)] = code
    return labels


def random_labels(shape, high, seed):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, high, shape))


def test_dice_of_shifted_squares_is_the_shared_part():
    fixed = blocks((3, (0, 4), (0, 4)))
    warped = blocks((3, (0, 4), (1, 5)))
    assert dice(fixed, warped, {"LV": 3}) == {"LV": pytest.approx(0.75)}


def test_dice_equals_simpleitk_for_every_structure():
    fixed, warped = random_labels((1, 1, 9, 8, 7), 5, 0), random_labels((1, 1, 9, 8, 7), 5, 1)
    reference = sitk.LabelOverlapMeasuresImageFilter()
    reference.Execute(
        *(sitk.GetImageFromArray(part[0, 0].numpy().astype(np.uint8)) for part in (fixed, warped))
    )
    found = dice(fixed, warped, {"a": 4, "b": 1, "c": 3})
    for name, code in (("a", 4), ("b", 1), ("c", 3)):
        assert found[name] == pytest.approx(reference.GetDiceCoefficient(code), abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_dice_takes_any_integer_and_sparse_codes(dtype):
    small = random_labels((1, 1, 8, 8), 3, 2).to(dtype)
    assert dice(small, small, {"a": 1, "b": 2}) == {"a": 1.0, "b": 1.0}
    sparse = torch.tensor([0, 614454277])[random_labels((1, 1, 8, 8), 2, 3)]
    assert dice(sparse, sparse, {"nucleus": 614454277, "absent": 5})["nucleus"] == 1.0


@pytest.mark.parametrize("codes", [[7, 0, 3], [7, -2, 3], [7, 614454277, 3]])
def test_label_index_is_the_place_in_the_list_and_zero_for_others(codes):
    values = [7, 3, 0, -2, -1, 4, 8, 70000, 614454277]
    expected = [codes.index(value) + 1 if value in codes else 0 for value in values]
    assert label_index(torch.tensor(values), codes).tolist() == expected


def test_dice_follows_names_so_that_swapped_codes_show():
    fixed = blocks((1, (0, 4), (0, 4)), (3, (6, 12), (0, 10)))
    warped = blocks((1, (0, 4), (0, 2)), (3, (6, 12), (0, 10)))
    assert dice(fixed, warped, {"RV": 1, "LV": 3}) == {"RV": pytest.approx(2 / 3), "LV": 1.0}
    assert dice(fixed, warped, {"RV": 3, "LV": 1}) == {"RV": 1.0, "LV": pytest.approx(2 / 3)}


def test_structure_lost_in_warping_is_zero_or_skipped():
    fixed, warped = blocks((1, (0, 4), (0, 4))), blocks()
    moving = blocks((1, (5, 9), (0, 4)))
    assert dice(fixed, warped, {"LV": 1}, moving_labels=moving) == {"LV": 0.0}
    assert math.isnan(dice(fixed, warped, {"LV": 1}, moving_labels=moving, vanished="skip")["LV"])


def test_structure_that_one_rater_did_not_draw_is_not_scored():
    drawn, empty = blocks((1, (0, 4), (0, 4))), blocks()
    assert math.isnan(dice(empty, drawn, {"LV": 1}, moving_labels=drawn)["LV"])
    assert math.isnan(dice(drawn, empty, {"LV": 1}, moving_labels=empty)["LV"])
    assert math.isnan(dice(empty, empty, {"LV": 1}, moving_labels=empty)["LV"])
    assert dice(empty, drawn, {"LV": 1}, moving_labels=drawn, vanished="skip") == {"LV": 0.0}


def test_stack_is_pooled_per_volume_or_averaged_per_slice():
    fixed = torch.cat([blocks((1, (0, 8), (0, 8))), blocks((1, (0, 2), (0, 2)))])
    warped = torch.cat([blocks((1, (0, 8), (0, 8))), blocks((1, (1, 3), (0, 2)))])
    assert dice(fixed, warped, {"LV": 1})["LV"] == pytest.approx(2 * 66 / 136)
    assert dice(fixed, warped, {"LV": 1}, aggregate="per_slice")["LV"] == pytest.approx((1 + 0.5) / 2)


def test_slice_without_the_structure_does_not_enter_the_slice_mean():
    fixed = torch.cat([blocks((1, (0, 2), (0, 2))), blocks()])
    found = dice(fixed, fixed, {"LV": 1}, moving_labels=fixed, aggregate="per_slice")
    assert found == {"LV": 1.0}


def test_joint_histogram_counts_every_voxel_once():
    fixed, warped = random_labels((2, 6, 5), 4, 4), random_labels((2, 6, 5), 4, 5)
    found = joint_histogram(label_index(fixed, [1, 2, 3]), label_index(warped, [1, 2, 3]), 3)
    for item in range(2):
        for i in range(4):
            for j in range(4):
                assert found[item, i, j] == ((fixed[item] == i) & (warped[item] == j)).sum()


def test_voxel_counts_are_per_item():
    labels = torch.tensor([[0, 7, 7], [9, 9, 9]])
    assert voxel_counts(label_index(labels, [9, 7]), 2).tolist() == [[0, 2], [3, 0]]


def test_two_structures_with_one_code_are_refused():
    with pytest.raises(ConfigError, match="same label code"):
        dice(blocks(), blocks(), {"LV": 1, "RV": 1})


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_compiled_and_torch_counts_agree(monkeypatch, dtype):
    fixed, warped = (random_labels((2, 1, 9, 11, 7), 90, seed).to(dtype) for seed in (0, 1))
    codes = [3, 17, 88, 40]

    def counted():
        first, second = label_index(fixed[:, 0], codes), label_index(warped[:, 0].mT, codes).mT
        return first, joint_histogram(first, second, len(codes)), voxel_counts(second, len(codes))

    found = counted()
    monkeypatch.setenv("MEDREG_KERNELS", "off")
    assert all(a.equal(b) for a, b in zip(found, counted(), strict=True))


def test_positions_that_label_index_never_gives_are_refused():
    with pytest.raises((ValueError, RuntimeError)):
        joint_histogram(torch.full((1, 4), 9), torch.zeros(1, 4, dtype=torch.int64), 3)
