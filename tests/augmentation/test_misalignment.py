"""Pairs with known distance: one warp, the right label, poses in their ranges."""

from __future__ import annotations

import math

import pytest
import torch

from medreg.augmentation.appearance import Appearance, Scaling
from medreg.augmentation.misalignment import Misalignment, moved
from medreg.augmentation.random_affine import RandomPose, kinds_of
from medreg.augmentation.random_convolution import Unchanged
from medreg.geometry.affine_distance import compose_matrices
from medreg.geometry.affine_pose import PoseRange, pose_matrix

RANGES = PoseRange(rotation=math.pi / 2, translation=0.5, scale=0.25, shear=0.2)
SCALING = Scaling(low=0.0, high=100.0, foreground=0.02)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def blobs(size=48):
    axis = torch.linspace(-1, 1, size)
    x, y = torch.meshgrid(axis, axis, indexing="ij")
    image = torch.exp(-((x - 0.2) ** 2 + y**2) / 0.05) + 0.6 * torch.exp(
        -((x + 0.2) ** 2 + (y - 0.2) ** 2) / 0.02
    )
    return image[None, None]


@pytest.mark.parametrize("ndim", [2, 3])
def test_poses_lie_in_their_ranges_and_small_ones_are_frequent(ndim):
    pose = RandomPose(RANGES, full=0.0, identity=0.0, single=0.0)(20_000, ndim=ndim, generator=chance())
    limits = RANGES.vector(ndim, like=pose)
    share = (pose / limits).abs()
    assert float(share.max()) <= 1
    assert float(share.mean()) == pytest.approx(0.25, abs=0.005)  # E|σ v| = ¼


def test_a_share_of_poses_fills_the_whole_range():
    pose = RandomPose(RANGES, full=0.5, identity=0.0, single=0.0)(20_000, ndim=2, generator=chance())
    share = (pose / RANGES.vector(2, like=pose)).abs()
    assert float(share.mean()) == pytest.approx(0.375, abs=0.005)  # between ¼ and ½


def test_shares_of_identities_and_of_single_motions():
    pose = RandomPose(RANGES, full=0.0, identity=0.1, single=0.4)(20_000, ndim=3, generator=chance())
    still = (pose == 0).all(1)
    assert float(still.float().mean()) == pytest.approx(0.1, abs=0.01)
    kinds = kinds_of(3)
    moving = torch.stack([(pose[:, kinds == kind] != 0).any(1) for kind in range(4)], 1)[~still]
    assert float((moving.sum(1) == 1).float().mean()) == pytest.approx(0.4, abs=0.015)
    alone = moving[moving.sum(1) == 1].float().mean(0)
    torch.testing.assert_close(alone, torch.full((4,), 0.25), rtol=0, atol=0.03)


def test_two_warps_are_one_of_the_composition():
    """The residual of the true pose is tested with the affine distance."""
    image = blobs()
    poses = torch.tensor([[0.3, 0.1, -0.1, 0.1, 0.0, 0.1], [0.4, -0.1, 0.1, -0.1, 0.1, 0.0]])
    first, second = pose_matrix(poses, torch.ones(2)).split(1)
    twice = moved(moved(image, first), second)
    once = moved(image, compose_matrices(first, second))
    assert float((twice - once).abs().max()) < 0.03


def test_the_label_aligns_the_pair():
    """F(x) = M(T x): warping M by T gives F, and the distance is that of T, not of the placement."""
    drawn = []

    class Recording(RandomPose):
        def __call__(self, count, *, ndim, generator):
            drawn.append(super().__call__(count, ndim=ndim, generator=generator))
            return drawn[-1]

    small = PoseRange(rotation=0.4, translation=0.1, scale=0.1, shear=0.1)
    plain = Appearance(Unchanged(), least_sd=0.0, redraws=0, blank=0.0)
    make = Misalignment(
        Recording(small, full=0.0, identity=0.5, single=0.0),
        RandomPose(small, full=0.0, identity=0.0, single=0.0),
        plain,
    )
    made = make(blobs().repeat(8, 1, 1, 1), scaling=SCALING, generator=chance(1))
    matrix = pose_matrix(drawn[0], torch.ones(2))
    aligned = moved(made.moving, matrix)
    assert float((aligned - made.fixed).abs().mean()) < 0.01
    points = 2 * torch.rand(200_000, 2, generator=chance(2)) - 1
    moved_points = points @ matrix[:, :, :2].mT + matrix[:, None, :, 2]
    rms = (moved_points - points).square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(made.distance, rms, rtol=0.01, atol=1e-6)
    assert (made.distance == 0).any()
