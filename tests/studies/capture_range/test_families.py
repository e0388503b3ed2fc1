"""Known misalignments of a given kind and size."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.errors import ConfigError
from medreg.geometry.affine_distance import affine_distance
from medreg.geometry.affine_pose import PoseRange, pose_matrix
from medreg.studies.capture_range.families import Joint, Rotation, Scale, Shear, Translation

HALF = torch.tensor([31.5, 31.5])
RANGES = PoseRange(rotation=1.57, translation=0.5, scale=0.25, shear=0.25)


@pytest.mark.parametrize(
    ("family", "part", "unit"),
    [(Rotation, slice(0, 1), math.pi / 180), (Translation, slice(1, 3), 1.0), (Shear, slice(5, 6), 1.0)],
)
def test_one_kind_of_motion_of_a_length_in_the_bin(family, part, unit):
    poses = family(edges=[0, 10, 20], line=[]).draw((10.0, 20.0), count=50, half=HALF, seed=3)
    size = poses[:, part].norm(dim=1) / unit
    assert size.min() >= 10 - 1e-4
    assert size.max() <= 20 + 1e-4
    assert (poses[:, part][:, 0] > 0).any()
    assert (poses[:, part][:, 0] < 0).any()
    poses[:, part] = 0
    assert not poses.any()


def test_scale_has_one_magnitude_and_random_signs():
    poses = Scale(edges=[0, 0.1], line=[]).draw((0.05, 0.1), count=40, half=HALF, seed=0)
    assert torch.allclose(poses[:, 3].abs(), poses[:, 4].abs())
    assert len({tuple(row) for row in poses[:, 3:5].sign().tolist()}) == 4


def test_joint_motions_displace_by_what_their_bin_says_and_stay_in_the_box():
    poses = Joint(edges=[8, 12, 30, 32], ranges=RANGES).draw((8.0, 12.0), count=30, half=HALF, seed=1)
    distance = affine_distance(pose_matrix(poses, HALF), HALF)
    assert distance.min() >= 8 - 0.01
    assert distance.max() <= 12 + 0.01
    assert distance.std() > 0.5
    assert (poses.abs() <= RANGES.vector(2, like=poses) + 1e-5).all()


def test_a_bin_beyond_the_box_is_named():
    with pytest.raises(ConfigError, match="100 to 110"):
        Joint(edges=[100, 110], ranges=RANGES).draw((100.0, 110.0), count=5, half=HALF, seed=1)


def test_starts_depend_on_the_seed_alone():
    family = Joint(edges=[0, 4], ranges=RANGES)
    first, second = (family.draw((0.0, 4.0), count=4, half=HALF, seed=7) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, family.draw((0.0, 4.0), count=4, half=HALF, seed=8))


def test_lines_go_through_the_identity_in_the_unit_of_the_family():
    poses = Rotation(edges=[0, 1], line=[-90, 0, 90]).along(torch.tensor([-90.0, 0.0, 90.0]), ndim=2)
    assert torch.allclose(poses[:, 0], torch.tensor([-math.pi / 2, 0.0, math.pi / 2]))
    grown = Scale(edges=[0, 1], line=[0.1]).along(torch.tensor([0.1]), ndim=3)
    assert grown[0, 6:9].tolist() == pytest.approx([0.1] * 3)


def test_edges_must_rise():
    with pytest.raises(ConfigError, match="rise"):
        Rotation(edges=[10, 0], line=[])
