"""Clinical measures of hand-made hearts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hearts_by_hand import LABELS, evaluator

from medreg.errors import ConfigError, DataError
from medreg.metrics.hearts.measures import FURTHER, MEASURES
from medreg.metrics.overlap import label_index

SPACING = (1.25, 1.25, 2.0)  # mm; a voxel has 3.125 µL
VOXEL = 1.25 * 1.25 * 2.0 / 1000


def two_frames():
    """Codes of the released data, 4 the right ventricle: 100, 60 and 80 voxels at ED, 40, 70 and 30 at ES."""
    codes = np.zeros((2, 8, 8, 8), np.uint8)
    for frame, counts in enumerate(((100, 60, 80), (40, 70, 30))):
        codes[frame].reshape(-1)[: sum(counts)] = np.repeat([1, 2, 4], counts)
    return label_index(torch.from_numpy(codes), list(LABELS.values())).to(torch.uint8)


def test_a_heart_of_two_frames_by_hand():
    found = evaluator().measures(two_frames(), SPACING)
    expected = {
        "lvedv_ml": 100 * VOXEL, "lvesv_ml": 40 * VOXEL, "lvm_g": 1.05 * 60 * VOXEL, "lvesm_g": 1.05 * 70 * VOXEL,
        "rvedv_ml": 80 * VOXEL, "rvesv_ml": 30 * VOXEL, "lvsv_ml": 60 * VOXEL, "rvsv_ml": 50 * VOXEL,
        "lvef_percent": 60.0, "rvef_percent": 62.5, "lvco_l_min": 60 * VOXEL * 0.06, "rvco_l_min": 50 * VOXEL * 0.06,
    }  # fmt: skip
    assert {name: found[name] for name in MEASURES} == pytest.approx(expected, rel=1e-12)
    assert (found["es_frame"], found["largest_frame"]) == (1.0, 0.0)
    assert found["wrap_ml"] == pytest.approx(60 * VOXEL)
    assert set(found) == {*MEASURES, *FURTHER}


def test_ed_is_the_first_frame_and_es_the_smallest_of_the_same_heart():
    turned = two_frames().flip(0)
    found = evaluator().measures(turned, SPACING)
    assert found["lvedv_ml"] == pytest.approx(40 * VOXEL)  # never the largest frame
    assert (found["es_frame"], found["largest_frame"]) == (0.0, 1.0)
    assert found["lvef_percent"] == 0.0
    given = evaluator(phases="edes").measures(turned, SPACING)
    assert given["es_frame"] == 1.0
    assert given["lvef_percent"] == pytest.approx(-150.0)
    assert np.isnan(given["wrap_ml"])


def test_a_heart_without_a_ventricle_has_no_ejection_fraction():
    found = evaluator().measures(torch.zeros(2, 4, 4, 4, dtype=torch.uint8), SPACING)
    assert np.isnan(found["lvef_percent"])
    assert found["lvedv_ml"] == 0.0


def test_a_structure_that_the_data_lack_has_no_measure():
    alone = evaluator()
    alone.labels = {"LV": 1, "MYO": 2}
    found = alone.measures(two_frames() % 3, SPACING)
    assert np.isnan(found["rvedv_ml"])
    assert found["lvedv_ml"] == pytest.approx(100 * VOXEL)


@pytest.mark.parametrize(("where", "degrees"), [((1, 4), 180.0), ((4, 1), -90.0), ((1, 1), -135.0)])
def test_the_septum_looks_to_where_the_right_ventricle_is(where, degrees):
    shape = np.zeros((2, 8, 8, 4), np.uint8)
    shape[:, 4, 4] = 1
    shape[:, where[0], where[1]] = 3
    assert evaluator().measures(shape, SPACING)["septal_angle_deg"] == pytest.approx(degrees)


def test_other_axes_and_phases_are_refused():
    with pytest.raises(DataError, match="time, X, Y and Z"):
        evaluator().measures(torch.zeros(4, 4, 4, dtype=torch.uint8), SPACING)
    with pytest.raises(ConfigError, match="phases='beat'"):
        evaluator(phases="beat")
