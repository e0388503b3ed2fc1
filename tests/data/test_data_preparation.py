"""Grids, intensities, slices, truth: the preparation of a pair against independent references."""

from __future__ import annotations

import data_fixtures as fixtures
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from data_build import data_module

from medreg.data.grids import aligned, centre_crop, crop_pad, crop_start, field_to_grid, resized, to_grid
from medreg.data.intensity import Intensity, scale
from medreg.data.sample import collate
from medreg.data.slices import Slices, empty_without_overlap
from medreg.errors import CompositionError, ConfigError, DataError
from medreg.geometry.grid import Grid
from medreg.io.field import write_itk_field

FLIP = np.diag([-1.0, -1.0, 1.0])


def turned(shape, *, angle, zooms, origin):
    """Grid turned about the third axis."""
    c, s = np.cos(angle), np.sin(angle)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(zooms)
    affine[:3, 3] = origin
    return Grid(shape, torch.from_numpy(affine))


def as_sitk(array, grid):
    image = sitk.GetImageFromArray(array.numpy().transpose(2, 1, 0))
    spacing = grid.spacing_mm.numpy()
    affine = grid.affine.numpy()
    image.SetSpacing(spacing.tolist())
    image.SetOrigin((FLIP @ affine[:3, 3]).tolist())
    image.SetDirection((FLIP @ affine[:3, :3] / spacing).flatten().tolist())
    return image


@pytest.mark.parametrize(
    ("mode", "interpolator"), [("linear", sitk.sitkLinear), ("nearest", sitk.sitkNearestNeighbor)]
)
def test_resampling_by_world_coordinates_agrees_with_simpleitk(mode, interpolator):
    moving = turned((9, 12, 7), angle=0.3, zooms=(1.5, 1.1, 3.0), origin=(2, -4, 1))
    fixed = turned((11, 8, 6), angle=-0.2, zooms=(1.2, -1.4, 2.5), origin=(0, 7, 1.9))
    array = torch.rand(1, 9, 12, 7)
    ours = to_grid(array, moving, fixed, mode=mode)[0].numpy()
    reference = sitk.Resample(
        as_sitk(array[0], moving), as_sitk(torch.zeros(fixed.shape), fixed), sitk.Transform(), interpolator
    )
    theirs = sitk.GetArrayFromImage(reference).transpose(2, 1, 0)
    # Only where all neighbours exist: half a voxel beyond the last centre ITK repeats the border.
    core = to_grid(torch.ones(1, 9, 12, 7), moving, fixed, mode="linear")[0].numpy() > 0.9999
    assert core.sum() > 50
    np.testing.assert_allclose(ours[core], theirs[core], atol=2e-5)


@pytest.mark.parametrize(("old", "new"), [(11, 8), (8, 11), (10, 5), (5, 10), (7, 7), (6, 3)])
def test_centre_crop_and_padding_follow_the_papers_rounding(old, new):
    start = crop_start([old], [new])[0]
    assert start == ((old - new) // 2 if old >= new else -((new - old) // 2))
    line = torch.arange(1.0, old + 1).reshape(1, old, 1, 1)
    out = crop_pad(line, (start, 0, 0), (new, 1, 1), value=-1.0).flatten()
    expected = [line.flatten()[i].item() if 0 <= i < old else -1.0 for i in range(start, start + new)]
    assert out.tolist() == expected


def test_a_window_outside_the_image_is_background():
    assert crop_pad(torch.ones(1, 3, 3, 3), (5, -9, 0), (2, 2, 2), value=4.0).unique().tolist() == [4.0]


def test_cropped_and_resized_grids_keep_their_place_in_the_world():
    grid = turned((20, 18, 10), angle=0.4, zooms=(1.0, 2.0, 5.0), origin=(3, 4, 5))
    crop = centre_crop(grid, [10, 24])
    assert crop.shape == (10, 24, 10)
    point = torch.tensor([2.0, 7.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        crop.voxel_to_world(point),
        grid.voxel_to_world(point + torch.tensor([5.0, -3.0, 0.0], dtype=torch.float64)),
    )
    small = resized(crop, [5, 12, None])
    for corner in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)):
        ends = [
            torch.tensor(corner, dtype=torch.float64) * (torch.tensor(g.shape) - 1) for g in (crop, small)
        ]
        torch.testing.assert_close(crop.voxel_to_world(ends[0]), small.voxel_to_world(ends[1]))


def test_alignments_place_the_moving_grid():
    fixed = turned((10, 10, 10), angle=0.1, zooms=(1, 1, 1), origin=(0, 0, 0))
    moving = turned((6, 8, 10), angle=0.5, zooms=(2, 2, 2), origin=(50, 0, 0))
    assert aligned(moving, fixed, "world") is moving
    assert torch.equal(aligned(moving, fixed, "index").affine, fixed.affine)
    centred = aligned(moving, fixed, "centre")
    middles = [
        g.voxel_to_world((torch.tensor(g.shape, dtype=torch.float64) - 1) / 2) for g in (fixed, centred)
    ]
    torch.testing.assert_close(*middles)
    with pytest.raises(ConfigError, match="choose world, index, centre or mask"):
        aligned(moving, fixed, "nearby")


def test_known_motion_changes_units_with_the_grid():
    source = Grid((8, 8, 8), torch.diag(torch.tensor([1.5, 1.5, 4.0, 1.0], dtype=torch.float64)))
    flipped = torch.diag(torch.tensor([-3.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    flipped[0, 3] = 9.0
    target = Grid((4, 4, 8), flipped)
    field = torch.ones(3, 8, 8, 8) * torch.tensor([1.0, 2.0, 0.5]).reshape(3, 1, 1, 1)
    moved = field_to_grid(field, source, target)
    torch.testing.assert_close(moved[:, 1, 1, 1], torch.tensor([-0.5, 1.0, 0.5]))


def test_known_motion_travels_from_the_file_to_the_batch(tmp_path):
    root = fixtures.acdc(tmp_path)
    for name, ed, es, shape in (
        ("training/patient001", 1, 4, (20, 24, 4)),
        ("testing/patient101", 1, 3, (20, 20, 2)),
    ):
        patient = name.split("/")[1]
        truth = (
            root / name / "truth" / f"{patient}_frame{ed:02d}__{patient}_frame{es:02d}_displacement.nii.gz"
        )
        truth.parent.mkdir()
        field = np.zeros((3, *shape), np.float32)
        field[0], field[1] = np.indices(shape)[0], 2.0
        write_itk_field(truth, field, np.diag([-1.5625, -1.5625, 10.0, 1.0]))
    options = ("preprocess.spacing_mm=null", "preprocess.size=[16,16]", "slices.evaluate=all", "split.val=0")
    data = data_module("acdc", root, *options, "dataset.exclude=[patient002,patient090]")
    assert "displacement" in data.provides
    case = next(iter(data.test_dataloader()))
    assert case["displacement"].shape == (2, 2, 16, 16)
    expected = torch.arange(2.0, 18.0).reshape(16, 1).expand(16, 16)
    torch.testing.assert_close(case["displacement"][0, 0], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(case["displacement"][1, 1], torch.full((16, 16), 2.0), atol=1e-4, rtol=0)
    coarse = data_module("acdc", root, *options, "preprocess.spacing_mm=[3.125,3.125,null]").test_dataloader()
    torch.testing.assert_close(
        next(iter(coarse))["displacement"][0, 1, 8, 8], torch.tensor(1.0), atol=1e-3, rtol=0
    )


def test_intensities_are_clipped_at_the_percentiles_of_every_slice():
    image = torch.rand(1, 40, 50, 3) * torch.tensor([1.0, 10.0, 100.0])
    image[0, 0, 0] = 1e6
    rule = Intensity((0.05, 99.95), None, "slice")
    out = scale(image, rule.limits(image))
    for k in range(3):
        plane = image[0, :, :, k].numpy()
        low, high = np.percentile(plane, [0.05, 99.95])
        np.testing.assert_allclose(
            out[0, :, :, k], (np.clip(plane, low, high) - low) / (high - low), atol=1e-5
        )
    assert float(out.min()) == 0
    assert float(out.max()) == 1


def test_intensity_scopes_windows_and_constant_slices():
    image = torch.zeros(1, 4, 4, 2)
    image[..., 1] = torch.arange(16.0).reshape(1, 4, 4)
    by_slice = scale(image, Intensity(None, None, "slice").limits(image))
    assert torch.equal(by_slice[..., 0], torch.zeros(1, 4, 4))
    assert float(scale(image + 5, Intensity(None, (0, 10), "volume").limits(image))[..., 0].mean()) == 0.5
    fixed, moving = Intensity(None, None, "volume", joint=True).common_limits([image, image * 2])
    assert fixed.tolist() == moving.tolist() == [[0, 0], [30, 30]]
    with pytest.raises(ConfigError, match="low < high"):
        Intensity((99, 1), None, "slice")


def test_slices_can_be_limited_to_those_with_every_structure():
    label = torch.zeros(1, 6, 6, 5, dtype=torch.int32)
    label[0, :3, :, 1:5] = 1
    label[0, 3:, :2, 2:4] = 2
    rules = [Slices(1, "all", among, min_voxels=0) for among in ("all", "labelled", "complete")]
    found = [rule.candidates(5, [label, label], (1, 2)) for rule in rules]
    assert found == [[0, 1, 2, 3, 4], [1, 2, 3, 4], [2, 3]]
    assert Slices(1, "all", "complete", min_voxels=6).candidates(5, [label], (1, 2)) == [0, 1, 2, 3, 4]
    assert Slices(1, [0.25, 0.5, 0.75], "all").for_evaluation(list(range(9))) == [2, 4, 6]


def test_labels_without_overlap_are_emptied():
    fixed = torch.tensor([[[[0, 1], [2, 2]]], [[[0, 1], [2, 2]]]])
    moving = torch.tensor([[[[0, 1], [0, 2]]], [[[0, 2], [1, 2]]]])
    first, second = empty_without_overlap(fixed, moving, (1, 2))
    assert first.flatten(1).sum(1).tolist() == [5, 0]
    assert second.flatten(1).sum(1).tolist() == [3, 0]


def test_collate_keeps_what_all_items_share():
    def item(size, **extra):
        return {"fixed_image": torch.zeros(1, 1, size, size), "case": ["a"], **extra}

    batch = collate([item(4, fixed_label=torch.zeros(1, 1, 4, 4)), item(4)])
    assert set(batch) == {"fixed_image", "case"}
    assert batch["case"] == ["a", "a"]
    with pytest.raises(DataError, match=r"data\.preprocess\.size"):
        collate([item(4), item(5)])


def test_impossible_combinations_are_refused(tmp_path):
    with pytest.raises(CompositionError, match="needs slices"):
        data_module("acdc", tmp_path, "slices=null")
    with pytest.raises(CompositionError, match="is for volumes"):
        data_module("acdc", tmp_path, "preprocess.orientation=ras")
    with pytest.raises(ConfigError, match="must be positive"):
        data_module("acdc", tmp_path, "preprocess.size=[0,16]")


def test_volumes_of_a_stack_keep_their_thick_slices(tmp_path):
    data = data_module("acdc_volume", fixtures.acdc(tmp_path), "preprocess.size=[16,16,null]", "split.val=0")
    case = next(iter(data.test_dataloader()))
    assert case["fixed_image"].shape == (1, 1, 16, 16, 2)
    torch.testing.assert_close(case["spacing_mm"], torch.tensor([[1.8, 1.8, 10.0]]))
    assert case["slice_index"].tolist() == [-1]


def test_crop_can_follow_a_structure(tmp_path):
    root = fixtures.acdc(tmp_path)
    options = ("preprocess.spacing_mm=null", "preprocess.size=[10,10]", "slices.evaluate=all", "split.val=0")
    plain = next(iter(data_module("acdc", root, *options).test_dataloader()))
    led = next(iter(data_module("acdc", root, *options, "preprocess.crop_label=1").test_dataloader()))
    assert (led["fixed_label"] == 1).sum() > (plain["fixed_label"] == 1).sum()
