"""What a crop cuts off is told, stacks are cut across their slices, and no landmark is dropped in silence."""

from __future__ import annotations

import csv
import logging

import data_fixtures as fixtures
import numpy as np
import pytest
import torch
from data_build import data_module

from medreg.data.audit import audit
from medreg.data.failures import PointsBetweenSlices
from medreg.data.grids import centre_crop, share_outside
from medreg.geometry.grid import Grid
from medreg.io.image import write_image, write_labels
from medreg.io.points import write_points
from medreg.io.stack import across_slices
from medreg.metrics.evaluator import CaseEvaluator


def test_the_share_that_a_crop_cuts_off_is_counted():
    labels = torch.zeros(1, 10, 10, 4, dtype=torch.int32)
    labels[:, :4] = 1  # rows 0 to 3, of which a crop of 6 rows keeps 2 and 3
    labels[:, 4:6] = 2
    grid = Grid((10, 10, 4), torch.diag(torch.tensor([2.0, 1.0, 5.0, 1.0], dtype=torch.float64)))
    assert share_outside(labels, grid, centre_crop(grid, [6, 10])) == {1: 0.5, 2: 0.0}
    assert share_outside(torch.zeros(1, 10, 10, 4), grid, centre_crop(grid, [6, 10])) == {}


def test_a_crop_through_a_structure_is_told_everywhere(tmp_path, caplog):
    root = fixtures.acdc(tmp_path / "acdc")
    changes = ("preprocess.size=[10,10]", "preprocess.spacing_mm=null", "slices.evaluate=all")
    found = audit(data_module("acdc", root, *changes))
    assert any("cuts off up to" in i.message and "of MYO" in i.message for i in found.issues)
    data = data_module("acdc", root, *changes)
    data.setup()
    with caplog.at_level(logging.WARNING):
        batch = next(iter(data.test_dataloader()))
    assert "cuts off" in caplog.text
    rows = CaseEvaluator(data.labels)(batch, torch.zeros(len(batch["fixed_image"]), 2, 10, 10))
    shares = {row.structure: row.value for row in rows if row.metric == "cut_percent"}
    assert shares["MYO"] > 10
    whole = data_module("acdc", root, "preprocess.size=[32,32]", "preprocess.spacing_mm=null")
    whole.setup()
    assert "cut_percent" not in next(iter(whole.test_dataloader()))
    assert not any("cuts off" in issue.message for issue in audit(whole).issues)


@pytest.mark.parametrize(
    ("shape", "spacing", "axis"),
    [
        ((20, 4, 22), (1.0, 8.0, 1.0), 1),
        ((4, 20, 22), (8.0, 1.0, 1.0), 0),
        ((20, 22, 4), (1.0, 1.0, 8.0), 2),
        ((20, 22, 1), (1.0, 1.0, 1.0), 2),
        ((1, 20, 22), (1.0, 1.0, 9.0), 0),
        ((20, 22, 18), (1.0, 1.0, 1.2), None),
    ],
)
def test_the_axis_across_slices(shape, spacing, axis):
    assert across_slices(shape, spacing) == axis


def listed(folder, axis, *, points=False, depth=4):
    """A CSV of one pair whose slices lie across an axis, each slice with its own constant."""
    shape, spacing = [20, 22], [1.0, 1.5]
    shape.insert(axis, depth)
    spacing.insert(axis, 8.0)
    affine = np.diag([*spacing, 1.0])
    level = np.indices(shape)[axis]
    inside = (np.indices(shape)[(axis + 1) % 3] > 8).astype(np.int32)
    columns = {}
    for side in ("fixed", "moving"):
        write_image(folder / f"{side}.nii.gz", (10.0 * level + inside).astype(np.float32), affine)
        write_labels(folder / f"{side}_seg.nii.gz", inside, affine)
        columns |= {side: f"{side}.nii.gz", f"{side}_label": f"{side}_seg.nii.gz"}
        if points:
            write_points(folder / f"{side}.csv", np.array([[5.0, 6.0, 0.0], [9.0, 4.0, 0.0]]))
            columns[f"{side}_landmarks"] = f"{side}.csv"
    table = folder / "pairs.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "split"])
        writer.writerow([*columns.values(), "test"])
    return table


def only_batch(table, *changes):
    data = data_module("folder_slices", table, "cache.kind=none", "preprocess.intensity=null", *changes)
    data.setup()
    return next(iter(data.test_dataloader()))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_stacks_are_cut_across_their_slices(tmp_path, axis):
    batch = only_batch(listed(tmp_path, axis))
    assert batch["fixed_image"].shape == (4, 1, 20, 22)
    assert torch.equal(batch["spacing_mm"][0], torch.tensor([1.0, 1.5]))
    assert torch.equal((batch["fixed_image"] / 10).floor().amax((1, 2, 3)), torch.arange(4.0))
    step = batch["affine"][1, :3, 3] - batch["affine"][0, :3, 3]
    assert step.abs().argmax() == axis
    assert step.norm() == pytest.approx(8.0)


def test_the_axis_of_the_file_can_be_asked_for(tmp_path):
    batch = only_batch(listed(tmp_path, 0), "preprocess.orientation=stored")
    assert batch["fixed_image"].shape == (22, 1, 4, 20)


def test_landmarks_of_a_slice_are_kept_and_of_a_stack_refused(tmp_path):
    (tmp_path / "flat").mkdir()
    batch = only_batch(listed(tmp_path / "flat", 2, points=True, depth=1))
    assert batch["fixed_keypoints"].tolist() == [[[5.0, 6.0], [9.0, 4.0]]]
    shift = torch.zeros(1, 2, 20, 22)
    shift[:, 1] = 2.0
    error = next(row.value for row in CaseEvaluator({})(batch, shift) if row.metric == "tre_mm")
    assert error == pytest.approx(2 * 1.5)
    with pytest.raises(PointsBetweenSlices, match="landmarks and 4 slices"):
        only_batch(listed(tmp_path, 2, points=True))
