"""Agreement of hearts that are shifted cubes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hearts_by_hand import evaluator

from medreg.errors import ConfigError, DataError

SPACING = (2.0, 1.0, 3.0)


def cubes(*starts, size=4):
    """Frames with a cube of LV of 4 voxels a side from (start, 2, 2), and fixed cubes of MYO and RV."""
    shape = np.zeros((len(starts), 16, 20, 10), np.uint8)
    for frame, start in enumerate(starts):
        shape[frame, start : start + size, 2:6, 2:6] = 1
        shape[frame, 2:6, 8:12, 2:6] = 2
        shape[frame, 2:6, 14:18, 2:6] = 3
    return shape


def value(rows, structure, metric):
    (found,) = [row.value for row in rows if (row.structure, row.metric) == (structure, metric)]
    return found


def test_shifted_cubes_have_the_numbers_of_geometry():
    rows = evaluator().completion(cubes(2, 2, 2, 2), cubes(2, 3, 4, 2), SPACING)
    dice = [1.0, 0.75, 0.5, 1.0]  # shifts of 0, 1, 2 and 0 voxels of a cube of 4
    assert value(rows, "LV", "dice") == pytest.approx(np.mean(dice))
    assert value(rows, "LV", "dice_later") == pytest.approx(np.mean(dice[1:]))
    assert value(rows, "LV", "dice_ed") == 1.0
    assert value(rows, "LV", "hd_mm") == pytest.approx(
        np.mean([0.0, 2.0, 4.0, 0.0])
    )  # voxels of 2 mm along X
    assert value(rows, "LV", "hd_later_mm") == pytest.approx(2.0)
    assert value(rows, "MYO", "dice") == value(rows, "RV", "dice") == 1.0
    assert value(rows, "mean", "dice") == pytest.approx((np.mean(dice) + 2) / 3)
    assert value(rows, "all", "lost_structures") == 0


def test_the_average_distance_is_that_of_all_surface_voxels():
    # Two slabs one voxel thick, 3 voxels apart along Z (9 mm): every voxel is on the surface, as far from the other.
    one, other = np.zeros((2, 2, 12, 12, 8), np.uint8)
    one[:, 2:6, 2:6, 1], other[:, 2:6, 2:6, 4] = 1, 1
    rows = evaluator().completion(one, other, SPACING)
    assert value(rows, "LV", "assd_mm") == pytest.approx(9.0)
    assert value(rows, "LV", "hd_mm") == pytest.approx(9.0)
    assert value(rows, "LV", "dice") == 0.0


def test_a_lost_structure_is_counted_and_has_no_distance():
    truth, found = cubes(2, 2), cubes(2, 2)
    found[1][found[1] == 3] = 0
    rows = evaluator().completion(truth, found, SPACING)
    assert value(rows, "RV", "dice") == 0.5
    assert value(rows, "RV", "hd_mm") == 0.0  # of the frame that has it
    assert value(rows, "all", "lost_structures") == 1
    assert value(rows, "all", "invented_structures") == 0
    released = evaluator(lost="released").completion(truth, found, SPACING)
    assert value(released, "RV", "hd_mm") == pytest.approx(11.5 / 2)
    assert value(released, "RV", "assd_mm") == pytest.approx(3.5 / 2)


def test_an_invented_structure_is_counted_and_not_punished():
    truth, found = cubes(2, 2), cubes(2, 2)
    truth[1][truth[1] == 3] = 0
    rows = evaluator().completion(truth, found, SPACING)
    assert value(rows, "RV", "dice") == 1.0
    assert value(rows, "all", "invented_structures") == 1


def sizes(*counts):
    shape = np.zeros((len(counts), 10, 10, 10), np.uint8)
    for frame, count in enumerate(counts):
        shape[frame].reshape(-1)[:count] = 1
    return shape


def test_frames_of_ed_and_es_are_right_within_one_frame():
    truth = sizes(90, 70, 40, 60, 80, 88)
    near = evaluator().completion(truth, sizes(89, 60, 50, 45, 70, 90), SPACING)
    assert value(near, "all", "es_frame_percent") == 100
    assert value(near, "all", "largest_first_percent") == 0
    assert value(near, "all", "largest_frame_percent") == 100  # the last frame is beside the first
    far = evaluator().completion(truth, sizes(80, 70, 90, 60, 40, 30), SPACING)
    assert value(far, "all", "es_frame_percent") == 0
    assert value(far, "all", "largest_frame_percent") == 0
    assert not [
        row for row in evaluator(phases="edes").completion(truth, truth, SPACING) if "frame" in row.metric
    ]


def test_a_heart_without_a_left_ventricle_has_no_right_frame():
    truth = sizes(90, 70, 40, 60)
    rows = evaluator().completion(truth, np.zeros_like(truth), SPACING)
    for metric in ("largest_first_percent", "largest_frame_percent", "es_frame_percent"):
        assert value(rows, "all", metric) == 0
    assert np.isnan(evaluator().measures(np.zeros_like(truth), SPACING)["es_frame"])


def test_errors_of_measures_and_curves_are_in_their_units():
    rows = evaluator().completion(sizes(90, 40, 60), sizes(80, 50, 60), (10.0, 10.0, 10.0))
    assert value(rows, "lvedv_ml", "measure_error") == pytest.approx(10.0)
    assert value(rows, "lvedv_ml", "measure_bias") == pytest.approx(-10.0)
    assert value(rows, "lvesv_ml", "measure_error") == pytest.approx(10.0)
    assert value(rows, "LV", "curve_error") == pytest.approx(20 / 3)
    units = {row.structure: row.unit for row in rows if row.metric == "measure_error"}
    assert (units["lvm_g"], units["lvef_percent"]) == ("g", "%")


def test_samples_have_mean_spread_best_and_worst():
    truth = cubes(2, 2)
    samples = np.stack([cubes(2, 2), cubes(3, 3), cubes(4, 4)])
    rows = evaluator().agreement(truth, samples, SPACING)
    assert value(rows, "LV", "dice") == pytest.approx(0.75)
    assert value(rows, "LV", "sample_sd_dice") == pytest.approx(0.25)
    assert value(rows, "LV", "sample_best_dice") == 1.0
    assert value(rows, "LV", "sample_worst_dice") == 0.5
    assert value(rows, "LV", "sample_best_hd_mm") == 0.0
    assert value(rows, "LV", "sample_worst_hd_mm") == pytest.approx(4.0)
    assert value(rows, "lvedv_ml", "measure_error") == 0.0
    assert not [row for row in rows if row.metric == "sample_best_measure_bias"]
    fast = evaluator(surface_of_samples=False).agreement(truth, samples, SPACING)
    assert not [row for row in fast if row.metric.endswith("_mm")]


def test_hearts_of_another_grid_are_refused():
    with pytest.raises(DataError, match="same frames on the same grid"):
        evaluator().completion(cubes(2, 2), cubes(2, 2, 2), SPACING)
    with pytest.raises(ConfigError, match="lost='no'"):
        evaluator(lost="no")
