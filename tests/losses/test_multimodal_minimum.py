"""Measures for two modalities have their minimum at alignment and ignore inversion of contrast."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medreg.geometry.affine_distance import half_extents
from medreg.geometry.affine_pose import pose_matrix, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp
from medreg.losses.similarity.mi import NMI
from medreg.losses.similarity.ngf import NGF

SHAPE = (32, 32)
MEASURES = [
    NMI(bins=32, sample_ratio=1.0, weight=1.0),
    NGF(eta=0.01, weight=1.0),
]


def _image() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 6, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, SHAPE, mode="bicubic", align_corners=True).clamp(0, 1)


@pytest.mark.parametrize("measure", MEASURES, ids=["nmi", "ngf"])
def test_an_image_with_itself_is_the_minimum_over_random_warps(measure):
    image = _image()
    poses = 0.2 * torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    matrices = unit_to_voxel(pose_matrix(poses, half_extents(SHAPE)), SHAPE)
    moved = warp(image.expand(50, -1, -1, -1), matrix_to_displacement(matrices, SHAPE), padding="zeros")
    assert (measure(moved, image.expand(50, -1, -1, -1)) > measure(image, image)).all()


@pytest.mark.parametrize("measure", MEASURES, ids=["nmi", "ngf"])
def test_inverted_contrast_changes_nothing(measure):
    image = _image()
    assert measure(1 - image, image).item() == pytest.approx(measure(image, image).item(), rel=0.02)


def test_parallel_edges_above_the_noise_cost_nothing():
    ramp = torch.linspace(0, 30, 32).reshape(1, 1, 32, 1).expand(1, 1, *SHAPE)
    cost = NGF(eta=1e-3, weight=1.0)(ramp, 5 - 2 * ramp)
    border = 2 / 32  # there gradients are zero by definition
    assert cost.item() == pytest.approx(border, abs=1e-4)
