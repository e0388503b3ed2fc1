"""Made hearts in any file come to the grid of a model as the same heart, and go back."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from heart_data import CODES, centred, dice, heart_volume, places_at, tiny_volume

from medreg.data.shape_grid import ShapeGrid, ordered_codes
from medreg.errors import ConfigError, DataError

TINY = ShapeGrid([32, 32, 16], [5.0, 5.0, 8.0], "auto", "shape", 1.0)
LITE = ShapeGrid([64, 64, 32], [2.5, 2.5, 4.0], "auto", "shape", 1.0)
ACDC = {"LV": 3, "MYO": 2, "RV": 1}
SCANNER = np.linalg.qr(np.array([[0.8, 0.3, -0.4], [-0.2, 0.9, 0.5], [0.5, -0.3, 0.7]]))[0]
SCANNER = SCANNER * np.sign(np.linalg.det(SCANNER))
SHAPE, SPACING = (36, 38, 19), (5.0, 5.0, 8.0)


def turned(degrees, axis=2):
    c, s = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    matrix[[first, first, second, second], [first, second, first, second]] = c, -s, s, c
    return matrix


def reference(grid=TINY):
    """The heart centred on its mass, as voxels of the grid."""
    return grid.to_grid(heart_volume(SHAPE, centred(SPACING, SHAPE)), CODES).shape


def test_a_file_on_the_grid_passes_through_voxel_by_voxel():
    volume = tiny_volume()
    found = TINY.to_grid(volume, CODES)
    expected = np.moveaxis(np.array([0, 1, 2, 0, 3])[volume.array], 3, 0)
    assert found.shape.dtype == np.uint8
    np.testing.assert_array_equal(found.shape, expected)
    np.testing.assert_array_equal(found.placement.affine, volume.affine)
    assert found.notes == ()
    np.testing.assert_array_equal(TINY.back(found.shape, found.placement), volume.array)


def test_every_order_and_direction_of_the_axes_of_a_file_gives_the_same_heart():
    expected = reference()
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        directions = SCANNER @ (np.eye(3)[list(order)] * np.array(signs)[:, None]).T
        shape = [SHAPE[axis] for axis in order]
        spacing = [SPACING[axis] for axis in order]
        volume = heart_volume(shape, centred(spacing, shape, directions.T), turn=SCANNER)
        found = TINY.to_grid(volume, CODES)
        np.testing.assert_array_equal(found.shape, expected)
        np.testing.assert_array_equal(TINY.back(found.shape, found.placement), volume.array)
        # The affine says where in the scanner the heart is: the same point for every file.
        world = found.placement.affine @ [5.0, 10.0, 6.0, 1.0]
        plain = TINY.to_grid(heart_volume(SHAPE, centred(SPACING, SHAPE)), CODES).placement.affine
        np.testing.assert_allclose(SCANNER.T @ world[:3], (plain @ [5.0, 10.0, 6.0, 1.0])[:3], atol=1e-6)


@pytest.mark.parametrize("turn", [turned(90), turned(180), turned(270), turned(180, 0), turned(180, 1)])
def test_a_heart_that_was_turned_comes_back_and_none_is_mirrored(turn):
    found = TINY.to_grid(heart_volume(SHAPE, centred(SPACING, SHAPE), turn=turn), CODES)
    step = np.zeros((3, 3))
    for axis, (source, length) in enumerate(zip(found.placement.order, found.placement.step, strict=True)):
        step[source, axis] = np.sign(length)
    assert np.linalg.det(step) == pytest.approx(1)
    if turn[2, 2] == 1:
        np.testing.assert_array_equal(found.shape, reference())
    # Turned about an in-plane axis, a quarter turn about the long axis is left, chosen by the side of the RV.
    left, right = (np.argwhere(found.shape[0] == place).mean(0) for place in (1, 3))
    assert right[0] < left[0]
    assert right[1] < left[1]
    counts = (found.shape[0] == 1).sum((0, 1))
    layers = np.flatnonzero(counts)
    assert counts[layers[-1]] > 2 * counts[layers[0]]  # base at high Z


def test_a_mirrored_heart_stays_mirrored():
    mirror = np.diag([-1.0, 1.0, 1.0])
    found = TINY.to_grid(heart_volume(SHAPE, centred(SPACING, SHAPE), turn=mirror), CODES).shape[0]
    original = reference()[0]
    assert dice(found, np.swapaxes(original, 0, 1), 3) > 0.97
    assert dice(found, original, 3) < 0.93


@pytest.mark.parametrize(
    ("spacing", "shape", "least"),
    [((1.5, 1.5, 10.0), (120, 128, 14), 0.88), ((2.0, 2.0, 2.0), (84, 84, 66), 0.92)],
)
def test_other_spacings_and_codes_give_the_same_heart_within_a_voxel(spacing, shape, least):
    volume = heart_volume(shape, centred(spacing, shape), codes=ACDC)
    found = LITE.to_grid(volume, ACDC)
    expected = LITE.to_grid(heart_volume(SHAPE, centred(SPACING, SHAPE)), CODES)
    # Compare at the same points of the world.
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in LITE.size), indexing="ij"), -1)
    world = grid @ found.placement.affine[:3, :3].T + found.placement.affine[:3, 3]
    truth = places_at(world)
    for place, code in ((1, 3), (2, 2), (3, 1)):
        assert dice(found.shape[0], truth, place) > least
        ratio = (found.shape[0] == place).sum() * 25 / ((volume.array == code).sum() * np.prod(spacing))
        assert ratio == pytest.approx(1, abs=0.04)
    assert np.abs(np.argwhere(found.shape[0]).mean(0) - np.argwhere(expected.shape[0]).mean(0)).max() < 1
    back = LITE.back(found.shape, found.placement)
    assert back.shape == volume.array.shape
    assert min(dice(back, volume.array, code) for code in ACDC.values()) > 0.93


def test_thick_slices_are_joined_by_shape_not_by_steps():
    shape, spacing = (120, 128, 14), (1.5, 1.5, 10.0)
    volume = heart_volume(shape, centred(spacing, shape))
    truth = {}
    for how in ("shape", "nearest"):
        found = replace(LITE, interpolate=how).to_grid(volume, CODES)
        grid = np.stack(np.meshgrid(*(np.arange(n) for n in LITE.size), indexing="ij"), -1)
        world = grid @ found.placement.affine[:3, :3].T + found.placement.affine[:3, 3]
        truth[how] = dice(found.shape[0], places_at(world), 2)
    assert truth["shape"] > truth["nearest"] + 0.01


def test_all_frames_stay_where_they_are_and_the_first_one_is_centred():
    shape = (40, 44, 20)
    volume = heart_volume(shape, centred((5.0, 5.0, 8.0), shape), contractions=(0.0, 1.0))
    moved = replace(volume, array=np.roll(volume.array, (3, -2, 0), (0, 1, 2)))
    first, second = TINY.to_grid(volume, CODES), TINY.to_grid(moved, CODES)
    np.testing.assert_array_equal(first.shape, second.shape)
    middle = np.argwhere(first.shape[0]).mean(0)
    np.testing.assert_allclose(middle, [15.5, 15.5, 7.5], atol=0.51)
    # The base does not move in the made heart, nor may its layer on the grid.
    top = [np.flatnonzero(frame.any((0, 1)))[-1] for frame in first.shape]
    assert top[0] == top[1]


def test_a_heart_that_would_leave_the_grid_is_shifted_as_little_as_needed():
    grid = replace(TINY, size=[32, 32, 14])
    shape = (32, 32, 20)
    found = grid.to_grid(heart_volume(shape, centred((5.0, 5.0, 8.0), shape), size=1.3), CODES)
    layers = np.flatnonzero(found.shape[0].any((0, 1)))
    assert layers.tolist() == list(range(1, 13))


def test_what_is_larger_than_the_grid_is_refused_with_the_size_that_it_needs():
    shape = (48, 48, 28)
    volume = heart_volume(shape, centred((5.0, 5.0, 8.0), shape), size=2.4)
    with pytest.raises(
        DataError, match=r"is larger than the grid: .* % of its \w+ lies beyond .* voxels would hold it"
    ):
        TINY.to_grid(volume, CODES)
    found = replace(TINY, most_cut_percent=60.0).to_grid(volume, CODES)
    assert [kind for kind, _ in found.notes] == ["cut"]


def test_a_heart_at_the_border_of_the_grid_is_told():
    volume = tiny_volume()
    shifted = replace(
        volume, array=np.roll(volume.array, -int(np.argwhere(volume.array[..., 0])[:, 0].min()), 0)
    )
    assert [kind for kind, _ in TINY.to_grid(shifted, CODES).notes] == ["border"]


def test_unknown_codes_are_refused_and_ignored_ones_are_background():
    volume = tiny_volume()
    volume.array[0, 0, 0, 1] = 7
    with pytest.raises(
        DataError, match=r"holds label 7, which data.labels does not name .*data.placing.ignored_codes"
    ):
        TINY.to_grid(volume, CODES)
    found = replace(TINY, ignored_codes=[7]).to_grid(volume, CODES)
    assert found.shape[1, 0, 0, 0] == 0


def test_missing_structures_and_frames():
    volume = tiny_volume()
    lacking = replace(volume, array=np.where(volume.array == 4, 0, volume.array))
    with pytest.raises(DataError, match=r"holds no RV in its first frame.*data.placing.orient=stored"):
        TINY.to_grid(lacking, CODES)
    found = replace(TINY, orient="stored").to_grid(lacking, CODES)
    assert found.notes == (("missing", "there is no RV in 4 of 4 frames"),)
    empty = replace(volume, array=volume.array * np.array([1, 1, 0, 1], np.int32))
    with pytest.raises(DataError, match=r"no labelled voxel in frame 2 \(0-based\)"):
        TINY.to_grid(empty, CODES)
    flat = replace(volume, array=np.where(np.arange(16)[:, None] > 6, volume.array, 0))
    flat.array[:, :, 9:] = 0
    with pytest.raises(DataError, match="in 2 layers along its long axis; 3 are needed"):
        TINY.to_grid(flat, CODES)


def test_a_left_ventricle_that_lies_oblique_in_a_cubic_file_is_refused():
    c = np.cos(np.radians(45))
    tilt = np.array([[1, 0, 0], [0, c, -c], [0, c, c]])
    with pytest.raises(DataError, match=r"lies 4\d degrees off the nearest axis"):
        TINY.to_grid(heart_volume((70,) * 3, centred((2.5,) * 3, (70,) * 3), turn=tilt), CODES)


def test_stored_axes_are_left_alone():
    volume = heart_volume((32, 32, 16), centred((5.0, 5.0, 8.0), (32, 32, 16)), turn=turned(180))
    stored = replace(TINY, orient="stored").to_grid(volume, CODES)
    assert stored.placement.order == (0, 1, 2)
    assert stored.placement.step == (1.0, 1.0, 1.0)


def test_the_grid_has_its_middle_at_the_origin():
    np.testing.assert_allclose(TINY.affine @ [15.5, 15.5, 7.5, 1], [0, 0, 0, 1])


@pytest.mark.parametrize(
    "labels",
    [{"LV": 1, "MYO": 2}, {"LV": 1, "MYO": 2, "RV": 2}, {"LV": 0, "MYO": 2, "RV": 3}, {**CODES, "LA": 5}],
)
def test_labels_must_be_the_three_structures(labels):
    with pytest.raises(ConfigError, match="hearts need the three codes of LV, MYO and RV"):
        ordered_codes(labels)


@pytest.mark.parametrize("changes", [{"orient": "ras"}, {"interpolate": "linear"}, {"size": [32, 32]}])
def test_options_that_mean_nothing(changes):
    with pytest.raises(ConfigError, match=r"data\.(placing|size)"):
        replace(TINY, **changes)
