"""Swapped codes of the ventricles are noticed, since the left one lies inside the myocardium."""

from __future__ import annotations

import numpy as np
import pytest
from hearts_run import known_heart

from medreg.errors import DataError
from medreg.generating.enclosed import check_enclosed, walled


def test_the_left_ventricle_is_walled_the_right_one_is_not():
    heart = known_heart()[0]
    assert walled(heart, 1, 2) > 0.9
    assert walled(heart, 3, 2) < 0.5


def test_swapped_codes_are_refused_with_the_right_ones():
    heart = known_heart()[0]
    check_enclosed(heart, "ed.nii.gz", {"LV": 1, "MYO": 2, "RV": 3})
    swapped = np.array([0, 3, 2, 1], np.uint8)[heart]
    with pytest.raises(DataError, match=r"ed\.nii\.gz.*LV=3,MYO=2,RV=1"):
        check_enclosed(swapped, "ed.nii.gz", {"LV": 1, "MYO": 2, "RV": 3})
