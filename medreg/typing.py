"""Names for what an array means; the shape is in the comment because torch has one tensor type.

B batch, C channels, D spatial dimensions (2 or 3), S = (X, Y) or (X, Y, Z), N points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    Image: TypeAlias = Tensor  # (B, C, *S) float
    Labels: TypeAlias = Tensor  # (B, 1, *S) integer
    Mask: TypeAlias = Tensor  # (B, 1, *S) bool, uint8 or float in [0, 1]
    Displacement: TypeAlias = Tensor  # (B, D, *S) voxels of the fixed grid, pull direction
    Velocity: TypeAlias = Tensor  # (B, D, *S) voxels of the fixed grid
    Points: TypeAlias = Tensor  # (B, N, D) voxel coordinates

Shape: TypeAlias = Sequence[int]
