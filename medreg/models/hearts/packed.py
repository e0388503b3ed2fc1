"""Many label maps in little memory, and in how many places any two of them agree."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Words = NDArray[np.uint64]
_WORD = 64  # bits


class PackedShapes:
    """Label maps as planes of bits: two bits a voxel for four classes.

    Args:
        classes: of the labels, which are 0 to classes − 1.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.bits = max(1, (classes - 1).bit_length())
        self._planes: list[Words] = []  # of a heart: (bits, words)
        self._shape: torch.Size = torch.Size()

    def __len__(self) -> int:
        return len(self._planes)

    def add(self, shape: Tensor) -> None:
        """Keep some label maps, (B, …) uint8, all of the same shape."""
        self._shape = shape.shape[1:]
        flat = shape.detach().cpu().numpy().reshape(len(shape), -1)
        missing = -flat.shape[1] % _WORD
        planes = [
            np.packbits(np.pad(flat >> bit & 1, ((0, 0), (0, missing))), axis=1) for bit in range(self.bits)
        ]
        self._planes.extend(np.stack(planes, 1).view(np.uint64))

    def agreement(self) -> NDArray[np.int64]:
        """Return the number of voxels in which every two maps have the same label, (N, N).

        It is the inner product of the maps as ones and zeros, class by class, which are never made.
        """
        planes = np.stack(self._planes)  # (N, bits, words)
        planes = planes[..., _differing(planes)].transpose(1, 0, 2).copy()
        differ = np.zeros((len(self), len(self)), np.int64)
        for first in range(len(self) - 1):
            others = planes[0, first + 1 :] ^ planes[0, first]
            for plane in planes[1:]:
                others |= plane[first + 1 :] ^ plane[first]
            differ[first, first + 1 :] = np.bitwise_count(others).sum(1, dtype=np.int64)
        return self._shape.numel() - differ - differ.T

    def frame(self, number: int) -> Tensor:
        """Return all maps at one place of their first axis, (N, …) uint8."""
        voxels = self._shape[1:].numel()
        begin = number * voxels // 8 * 8  # a byte holds eight voxels
        found = np.zeros((len(self), voxels), np.uint8)
        for row, planes in zip(found, self._planes, strict=True):
            inside = planes.view(np.uint8)[:, begin // 8 : -(-(number + 1) * voxels // 8)]
            flat = np.unpackbits(inside, axis=1)[:, number * voxels - begin :][:, :voxels]
            row[:] = sum(flat[bit] << bit for bit in range(self.bits))
        return torch.from_numpy(found).view(len(self), *self._shape[1:])


def _differing(planes: Words) -> NDArray[np.bool_]:
    """Words in which not all maps are the same; most of a heart's surroundings are not among them."""
    different: NDArray[np.bool_] = (planes != planes[:1]).any((0, 1))
    return different
