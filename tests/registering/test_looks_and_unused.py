"""Label maps in place of images, names of codes that are not there, and options without effect are told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medreg.errors import ConfigError, DataError
from medreg.geometry.grid import Grid
from medreg.io.image import Volume
from medreg.registering.applying import WorldField, warp_volume
from medreg.registering.looks import codes_of
from medreg.registering.measure import label_names
from medreg.registering.pair import load_pair
from medreg.registering.unused import check_used

RANDOM = np.random.default_rng(0)
SMOOTH = gaussian_filter(RANDOM.normal(size=(14, 13, 12)), 2.0) * 1000
IMAGE = np.rint(SMOOTH).astype("f4")
LABELS = np.digitize(SMOOTH, np.quantile(SMOOTH, [0.4, 0.6, 0.8])).astype("f4")


@pytest.mark.parametrize(
    ("array", "codes"),
    [
        (LABELS, 4),
        (LABELS[..., 5], 4),
        ((LABELS > 1) * 255.0, 2),
        (LABELS * 1000, 4),
        (IMAGE, None),
        (SMOOTH, None),
        (np.rint(SMOOTH / SMOOTH.max() * 127), None),
        (RANDOM.integers(0, 6, (14, 13, 12)), None),
    ],
)
def test_label_maps_are_told_from_images(array, codes):
    assert codes_of(np.asarray(array)) == codes


def test_a_label_map_in_place_of_one_image_is_refused():
    with pytest.raises(DataError, match=r"the moving image looks like a label map \(4 whole numbers"):
        load_pair(IMAGE, LABELS)
    with pytest.raises(DataError, match="the fixed image looks like a label map"):
        load_pair(LABELS, IMAGE)


def test_two_label_maps_are_registered_with_a_note():
    assert "both images look like label maps" in load_pair(LABELS, LABELS[::-1]).notes[0]
    assert load_pair(IMAGE, IMAGE[::-1]).notes == ()


def test_names_of_codes_that_no_map_holds_are_refused():
    pair = load_pair(IMAGE, IMAGE[::-1], labels=(LABELS, LABELS[::-1]))
    assert label_names(pair, {"one": 1, "three": 3}) == {"one": 1, "three": 3}
    with pytest.raises(ConfigError, match="RV=7: no label map holds that code; there is 1, 2, 3"):
        label_names(pair, {"LV": 3, "RV": 7})
    with pytest.raises(ConfigError, match="needs --fixed-labels and --moving-labels"):
        label_names(load_pair(IMAGE, IMAGE[::-1]), {"LV": 3})


def test_names_of_the_moving_labels_alone_are_for_a_posterior():
    pair = load_pair(IMAGE, IMAGE[::-1], labels=(None, LABELS), labels_alone=(False, True))
    assert label_names(pair, {"LV": 3}, moving_alone=True) == {}  # nothing to compare, and no refusal
    with pytest.raises(ConfigError, match="RV=7: no label map"):
        label_names(pair, {"RV": 7}, moving_alone=True)
    with pytest.raises(ConfigError, match="needs --fixed-labels"):
        label_names(pair, {"LV": 3})


USED = {
    "preset_asked": False,
    "mode_asked": False,
    "by_run": False,
    "refined": False,
    "affine": True,
    "own_model": False,
}


@pytest.mark.parametrize(
    ("overrides", "changed", "message"),
    [
        (["affine.tolerance=1"], {"affine": False}, "affine stage does not run"),
        (["finest_voxels.affine=1"], {"affine": False}, "affine stage does not run"),
        (["model.smoothing=1"], {"by_run": True}, "add --refine"),
        ([], {"by_run": True, "preset_asked": True}, "--preset changes .* add --refine"),
        (["initialise=mass"], {"by_run": True, "refined": True}, "places the images as in its training"),
        (["affine.tolerance=1"], {"by_run": True, "refined": True}, "places the images"),
        ([], {"by_run": True, "mode_asked": True}, "--slices and --volume"),
        (["model.smoothing=1"], {"own_model": True}, "the model given"),
    ],
)
def test_options_without_effect_are_refused(overrides, changed, message):
    with pytest.raises(ConfigError, match=message):
        check_used(overrides, **{**USED, **changed})


def test_options_with_effect_pass():
    check_used(["affine.tolerance=1", "model.smoothing=1", "initialise=mass"], **USED)
    check_used(["model.smoothing=1"], **{**USED, "affine": False, "preset_asked": True, "mode_asked": True})
    check_used(["model.smoothing=1"], **{**USED, "by_run": True, "refined": True, "preset_asked": True})


def test_a_warped_label_map_is_told_from_an_image():
    grid = Grid(LABELS.shape, torch.eye(4, dtype=torch.float64))
    field = WorldField(grid, torch.full((1, 3, *LABELS.shape), 0.5, dtype=torch.float64))
    volume = Volume(LABELS, np.eye(4), (1.0,) * 3)
    assert "warp it as labels" in warp_volume(field, volume).notes[0]
    assert warp_volume(field, Volume(IMAGE, np.eye(4), (1.0,) * 3)).notes == ()


def test_a_slice_is_not_warped_by_the_field_of_a_volume():
    grid = Grid((6, 7, 4), torch.eye(4, dtype=torch.float64))
    field = WorldField(grid, torch.zeros((1, 3, 6, 7, 4), dtype=torch.float64))
    with pytest.raises(DataError, match=r"is a slice \(6, 7\), but the result would be a volume \(6, 7, 4\)"):
        warp_volume(field, Volume(np.ones((6, 7), "f4"), np.eye(4), (1.0, 1.0, 1.0)))
