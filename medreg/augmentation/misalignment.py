"""Two appearances of one image, misaligned by a known affine map: what a distance is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from medreg.augmentation.appearance import Appearance, Scaling
from medreg.augmentation.random_affine import RandomPose
from medreg.geometry.affine_distance import affine_distance, compose_matrices
from medreg.geometry.affine_pose import pose_matrix, unit_to_voxel
from medreg.geometry.grid import matrix_to_displacement
from medreg.geometry.warp import warp


@dataclass(frozen=True)
class Misaligned:
    """Pairs with known distance.

    Attributes:
        fixed: F (B, 1, N, …) in [0, 1].
        moving: M (B, 1, N, …) in [0, 1], with F(x) and M(T x) the same anatomy.
        distance: (B,) root mean square displacement of T, half-extents.
    """

    fixed: Tensor
    moving: Tensor
    distance: Tensor


@dataclass(frozen=True)
class Misalignment:
    """Makes pairs from single images: M = g₁(I ∘ G), F = g₂(I ∘ G ∘ T), with g₁ and g₂ independent.

    Images are warped once and convolved afterwards: the other way round the zeros beyond the border would show T.

    Attributes:
        poses: distribution of T.
        placement: distribution of G, where the anatomy lies.
        appearance: distribution of g.
    """

    poses: RandomPose
    placement: RandomPose
    appearance: Appearance

    def __call__(self, image: Tensor, *, scaling: Scaling, generator: torch.Generator) -> Misaligned:
        """Return a pair for every image.

        Args:
            image: (B, 1, N, …), a cubic frame, background 0.
            scaling: of intensities, that of the network.
            generator: source of chance, on the image's device.
        """
        count, ndim = len(image), image.ndim - 2
        unit = image.new_ones(ndim)
        placed = pose_matrix(self.placement(count, ndim=ndim, generator=generator), unit)
        apart = pose_matrix(self.poses(count, ndim=ndim, generator=generator), unit)
        both = moved(image.repeat(2, *[1] * (ndim + 1)), torch.cat((compose_matrices(placed, apart), placed)))
        fixed, moving = self.appearance(both, scaling=scaling, generator=generator).chunk(2)
        return Misaligned(fixed, moving, affine_distance(apart, unit))


def moved(image: Tensor, matrix: Tensor) -> Tensor:
    """Images warped by affine maps, I(A x + t), zeros beyond the border.

    Args:
        image: (B, C, *S).
        matrix: (B, D, D+1), [A | t], unit coordinates.
    """
    shape = tuple(image.shape[2:])
    return warp(image, matrix_to_displacement(unit_to_voxel(matrix, shape), shape), padding="zeros")
