"""What a caller may give in place of files: exact, or refused in a sentence, as files are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from medreg.errors import DataError
from medreg.io.image import Volume, write_image
from medreg.registering.pair import load_pair
from medreg.registering.placement import initial_matrix

RANDOM = np.random.default_rng(0)
F, M = (gaussian_filter(RANDOM.normal(size=(12, 13, 11)), 2.0).astype("f4") * 1000 for _ in range(2))
INSIDE = np.median(F) < F
BIG = 2**24


def labelled(labels, other=None):
    return load_pair(F, M, labels=(labels, INSIDE.astype(int) if other is None else other))


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.uint64, np.float32, np.float64, bool])
def test_labels_of_any_type_are_exact(kind):
    pair = labelled(INSIDE.astype(kind), torch.from_numpy(INSIDE.astype("i8")))
    for volume in (pair.fixed_labels, pair.moving_labels):
        assert volume.array.dtype == np.int32
        np.testing.assert_array_equal(volume.array, INSIDE)


def test_codes_beyond_float_stay_apart():
    codes = np.where(INSIDE, BIG + 1, BIG).astype("i8")
    np.testing.assert_array_equal(labelled(codes).fixed_labels.array, codes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (INSIDE * 1.9, "up to 0.10 away from an integer"),
        (np.where(INSIDE, 1.0, np.nan), "NaN"),
        (np.where(INSIDE, 1.0, np.inf), "infinite"),
        (INSIDE * np.uint32(3_000_000_000), "32-bit integers"),
        (INSIDE * -(2**40), "32-bit integers"),
        (INSIDE * 1j, "type complex128"),
        (INSIDE.astype(str), "type <U5"),
        (INSIDE.astype(object), "type object"),
        (INSIDE[:-1], "has shape"),
        (INSIDE * 0, "holds no structure"),
        (INSIDE * -1, "holds no structure"),
    ],
)
def test_labels_that_are_none_are_refused(labels, message):
    with pytest.raises(DataError, match=f"the fixed labels.*{message}"):
        labelled(labels)


def test_a_masked_array_does_not_lose_its_mask_in_silence():
    masked = np.ma.masked_array(F, mask=F < 0)
    with pytest.raises(DataError, match="masked array"):
        load_pair(masked, M)
    np.testing.assert_array_equal(load_pair(np.ma.masked_array(F), M).fixed.array, F)


def test_labels_a_rounding_away_from_integers_are_those():
    np.testing.assert_array_equal(labelled(INSIDE * 1.9999).fixed_labels.array, INSIDE * 2)


@pytest.mark.parametrize("value", [1, 255, 1.0, True, np.uint16(7)])
def test_a_mask_is_inside_or_outside(value):
    pair = load_pair(F, M, masks=(INSIDE * value, None))
    np.testing.assert_array_equal(pair.fixed_mask.array, INSIDE)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.where(INSIDE, 0.95, 0.02), "mask of probabilities"),
        (np.where(INSIDE, 1.0, np.nan), "NaN"),
        (INSIDE * 0, "holds no voxel"),
        (INSIDE * -1, "holds no voxel"),
        (INSIDE * 1j, "type complex128"),
    ],
)
@pytest.mark.parametrize("side", [0, 1])
def test_a_mask_that_says_nothing_is_refused(tmp_path, mask, message, side):
    role = ("fixed", "moving")[side]
    masks = [None, None]
    masks[side] = mask
    with pytest.raises(DataError, match=f"the {role} mask.*{message}"):
        load_pair(F, M, masks=tuple(masks))
    if mask.dtype.kind != "c":
        masks[side] = write_image(tmp_path / "mask.nii.gz", mask, np.eye(4))
        with pytest.raises(DataError, match=rf"mask\.nii\.gz.*{message}"):
            load_pair(F, M, masks=tuple(masks))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (F * 1j, "complex64"),
        (F.astype(object), "type object"),
        (np.where(INSIDE, F, np.nan), "NaN or infinite"),
        (F.astype("f8") * 1e40, "NaN or infinite"),
        (F[:0], "holds no voxel"),
        (F[..., None, None], "2-D or 3-D"),
        (F * 0, "is constant"),
    ],
)
def test_images_that_are_none_are_refused(image, message):
    with pytest.raises(DataError, match=f"the moving image.*{message}"):
        load_pair(F, image)


FAR = np.eye(4)
FAR[0, 3] = 1e30


@pytest.mark.parametrize(
    "affine", [np.zeros((4, 4)), np.eye(3), np.full((4, 4), np.nan), np.diag([1e30, 1, 1, 1]), FAR]
)
def test_a_volume_without_a_place_is_refused(affine):
    with pytest.raises(DataError, match="the fixed image"):
        load_pair(Volume(F, affine, (1.0,) * 3), M)


@pytest.mark.parametrize(
    "points", [np.zeros((2, 4)), np.zeros(3), np.array([[1.0, np.nan, 2.0]]), np.array([["a", "b", "c"]])]
)
def test_points_that_are_none_are_refused(points):
    with pytest.raises(DataError, match="fixed points"):
        load_pair(F, M, points=(points, points))


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 1, 0)])
def test_labels_with_turned_axes_are_noticed_though_two_corners_agree(axes):
    cube = F[:11, :11, :11]
    labels = Volume((cube > 0).astype(int), np.eye(4)[[*axes, 3]], (1.0,) * 3)
    with pytest.raises(DataError, match=r"another place in the world .* 10\.0 voxels off"):
        load_pair(cube, cube[::-1], labels=(labels, labels))


def test_a_full_mask_has_its_mass_in_the_middle():
    shift = np.eye(4)
    shift[:3, 3] = (3, 0, -2)
    full = np.ones(F.shape, "u1")
    pair = load_pair(F, Volume(M, shift, (1.0,) * 3), masks=(full, full))
    torch.testing.assert_close(initial_matrix(pair, "mass")[:3, 3], torch.tensor([3.0, 0.0, -2.0]).double())


def test_masks_that_do_not_meet_are_refused():
    left, right = np.zeros(F.shape, "u1"), np.zeros(F.shape, "u1")
    left[:4], right[8:] = 1, 1
    with pytest.raises(DataError, match="leave nothing to compare"):
        initial_matrix(load_pair(F, M, masks=(left, right)), "world")
    initial_matrix(load_pair(F, M, masks=(left, right)), "mass")
