"""Placements: their ranges, their order, and what they are on grids whose sides differ."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from letter_phantom import chance

from medreg.augmentation.batch.placement import RandomPlacement
from medreg.errors import ConfigError
from medreg.geometry.affine_pose import matrix_pose, voxel_to_unit

ALL = RandomPlacement(rotation=15, scale=(0.8, 1.1), shift=0.1, turns=(), flip=0.0, across=False)
STILL = RandomPlacement(rotation=0, scale=(1, 1), shift=0, turns=(), flip=0, across=False)


def poses(placement, shape, count=4000, seed=0):
    maps = placement(torch.zeros(count, 1), shape, generator=chance(seed))
    half = (torch.tensor(shape, dtype=torch.float) - 1) / 2
    return matrix_pose(voxel_to_unit(maps, shape), half)


@pytest.mark.parametrize("shape", [(48, 48), (64, 30)])
def test_ranges_are_those_of_the_options_and_filled(shape):
    pose = poses(ALL, shape)
    angle, scale = pose[:, 0].rad2deg(), pose[:, 3:5].exp()
    assert 14.8 < float(angle.max()) < 15.01
    assert -15.01 < float(angle.min()) < -14.8
    assert 0.799 < float(scale.min()) < 0.802
    assert 1.098 < float(scale.max()) < 1.101
    assert abs(float(scale.mean()) - 0.95) < 0.01
    assert 0.198 < float(pose[:, 1:3].abs().max()) < 0.2001  # half-extents: 0.1 of the side
    assert float(pose[:, 5].abs().max()) < 1e-4  # a rotation shears nothing, whatever the sides
    assert abs(float(torch.corrcoef(pose[:, 3:5].T)[0, 1])) < 0.06


def test_turns_are_those_of_the_list_and_equally_frequent():
    placement = replace(STILL, turns=tuple(range(0, 360, 45)))
    eighths = (poses(placement, (40, 40))[:, 0] / (math.pi / 4)).round() % 8
    assert all(400 < int((eighths == number).sum()) < 600 for number in range(8))


def test_flips_reverse_each_axis_by_itself():
    maps = replace(STILL, flip=0.2)(torch.zeros(4000, 1), (9, 7), generator=chance())
    signs = maps[:, :2, :2].diagonal(dim1=1, dim2=2)
    assert set(signs.flatten().tolist()) == {1.0, -1.0}
    shares = (signs < 0).float().mean(0)
    assert all(0.18 < float(share) < 0.22 for share in shares)
    assert 0.03 < float((signs < 0).all(1).float().mean()) < 0.05


def test_a_flip_is_the_outermost_map():
    placement = replace(STILL, turns=(90,), flip=1.0)
    (found,) = placement(torch.zeros(1, 1), (5, 5), generator=chance())
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    torch.testing.assert_close(found[:2, :2], -turn, atol=1e-6, rtol=0)
    torch.testing.assert_close(found[:2, :2] @ torch.tensor([2.0, 2.0]) + found[:2, 2], torch.full((2,), 2.0))


def test_nothing_moves_across_slices_unless_told():
    shape = (20, 24, 6)
    still = replace(ALL, turns=(0, 45), flip=0.5)(torch.zeros(50, 1), shape, generator=chance())
    torch.testing.assert_close(still[:, 2], torch.tensor([0.0, 0, 1, 0]).expand(50, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(still[:, :2, 2], torch.zeros(50, 2), atol=1e-5, rtol=0)
    free = replace(ALL, turns=(0, 90), across=True)(torch.zeros(50, 1), shape, generator=chance())
    assert bool((free[:, :3, :3].abs() > 0.01).any(0).all())


def test_quarter_turns_in_space_are_about_all_three_axes():
    maps = replace(STILL, turns=(90,), across=True)(torch.zeros(300, 1), (8, 8, 8), generator=chance())
    fixed = (maps[:, :3, :3].diagonal(dim1=1, dim2=2) - 1).abs() < 1e-5
    assert bool((fixed.sum(1) == 1).all())
    assert all(70 < int(count) < 130 for count in fixed.sum(0))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("flip", 1.2),
        ("flip", -0.1),
        ("flip", float("nan")),
        ("scale", (1.1, 0.8)),
        ("scale", (0.0, 1.0)),
        ("scale", (1.0,)),
        ("rotation", -1),
        ("shift", float("inf")),
        ("turns", "45"),
        ("turns", (float("nan"),)),
    ],
)
def test_options_that_make_no_sense_are_named(option, value):
    with pytest.raises(ConfigError, match=rf"placement\.{option} is .*give"):
        replace(ALL, **{option: value})
