"""Targets that move with images: hard, complete, true to the shape."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from letter_phantom import chance, letters

from medreg.augmentation.batch.labelled_warp import centred, hardened, warp_labelled
from medreg.geometry.affine_pose import pose_matrix, unit_to_voxel
from medreg.geometry.grid import identity_grid, matrix_to_displacement
from medreg.geometry.warp import warp


def ring(places, thickness):
    """One-hot disc and ring around it, drawn at voxel coordinates (N, 2, *S)."""
    radius = (places - 39.5).square().sum(1).sqrt()
    codes = torch.where(radius < 12, 1, torch.where(radius < 12 + thickness, 2, 0))
    return F.one_hot(codes, 3).movedim(-1, 1).float()


def dice(first, second):
    return 2 * (first * second).sum((2, 3)) / (first + second).sum((2, 3))


def test_a_hard_target_is_an_argmax_with_the_first_of_equals():
    shares = torch.randint(0, 3, (4, 5, 6, 7), generator=chance()).float()
    expected = torch.zeros_like(shares).scatter_(1, shares.argmax(1, keepdim=True), 1.0)
    assert torch.equal(hardened(shares), expected)


def test_linear_shares_are_truer_to_a_thin_ring_than_nearest_codes():
    pose = torch.zeros(40, 6)
    pose[:, 0] = (2 * torch.rand(40, generator=chance()) - 1) * math.pi
    pose[:, 1:3] = 0.2 * torch.rand(40, 2, generator=chance(1))
    move = matrix_to_displacement(unit_to_voxel(pose_matrix(pose, torch.ones(2)), (80, 80)), (80, 80))
    grid = identity_grid((80, 80))
    truth, still = ring(grid + move, 2.0), ring(grid, 2.0).expand(40, -1, -1, -1)
    _, linear = warp_labelled(torch.zeros(40, 1, 80, 80), still, move)
    nearest = warp(still.argmax(1, keepdim=True), move, mode="nearest", padding="zeros")
    nearest = F.one_hot(nearest[:, 0], 3).movedim(-1, 1).float()
    ours, theirs = dice(linear, truth).mean(0), dice(nearest, truth).mean(0)
    assert float(ours[2] - theirs[2]) > 0.015
    assert float(ours[1] - theirs[1]) > 0.002


def test_what_comes_in_from_outside_is_black_and_background():
    image, target = torch.ones(1, 1, 8, 6), torch.zeros(1, 3, 8, 6)
    target[:, 2] = 1
    move = torch.zeros(1, 2, 8, 6)
    move[:, 0] = 3
    image, target = warp_labelled(image, target, move)
    assert float(image[:, :, 5:].max()) == 0
    assert bool((target[:, 0, 5:] == 1).all())
    assert bool((target[:, 2, :5] == 1).all())


def test_another_size_about_the_same_centre():
    image, target = letters(2, (20, 17))
    smaller, part = centred(image, target, (12, 9))
    assert torch.equal(smaller, image[:, :, 4:16, 4:13])
    assert torch.equal(part, target[:, :, 4:16, 4:13])
    larger, whole = centred(smaller, part, (20, 17))
    assert float(larger[:, :, :4].abs().max()) == 0
    assert bool((whole.sum(1) == 1).all())
    assert bool((whole[:, 0, :4] == 1).all())
    assert torch.equal(larger[:, :, 4:16, 4:13], smaller)


def test_precision_and_arguments_are_kept():
    image, target = letters(2, (12, 10))
    copies = image.clone(), target.clone()
    pictures, structures = warp_labelled(image.double(), target, torch.full((2, 2, 12, 10), 0.5))
    assert pictures.dtype == torch.float64
    assert structures.dtype == torch.float32
    assert torch.equal(image, copies[0])
    assert torch.equal(target, copies[1])
